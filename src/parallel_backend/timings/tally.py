"""What ran, and for how long; the closing line."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

__all__ = ["Tally"]


class Tally:
    """Counts of one hook call. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.compiled = 0
        self.reused = 0
        #: Compiled for an extension that was built again.
        self.in_vain = 0
        self.extensions = 0
        self.elapsed = 0.0
        #: Job slots that were in use, times the seconds that they were.
        self.busy = 0.0
        self._depth = 0

    def count(self, *, compiled: int, reused: int) -> None:
        """Count objects: those that were compiled, and those that were there already."""
        self.compiled += compiled
        self.reused += reused

    def retract(self, *, compiled: int, reused: int) -> None:
        """What was counted is built again."""
        self.compiled -= compiled
        self.reused -= reused
        self.in_vain += compiled

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of this ``with`` block; one within another counts once."""
        began = time.monotonic()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self.elapsed += time.monotonic() - began

    def closing_line(self, *, slots: int) -> str | None:
        """One line for the end of a hook; None where nothing was compiled and nothing linked."""
        objects = self.compiled + self.reused
        if not objects and not self.extensions:
            return None
        average = self.busy / self.elapsed if self.elapsed else 0.0
        in_vain = f", {self.in_vain} compiled in vain" if self.in_vain else ""
        return (
            f"parallel-backend: {_count(objects, 'object')} and "
            f"{_count(self.extensions, 'extension')} in {self.elapsed:.1f} s "
            f"on {_count(slots, 'job')} ({average:.1f} busy): "
            f"{self.compiled} compiled, {self.reused} reused{in_vain}"
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
