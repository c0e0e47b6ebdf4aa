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
        self.linked = 0
        #: Objects and libraries that were there from an earlier build.
        self.reused = 0
        #: Sources that were compiled ahead, and again since something had changed meanwhile.
        self.recompiled = 0
        self.elapsed = 0.0
        #: How long commands ran, all together.
        self.busy = 0.0
        self._depth = 0

    def count(self, kind: str, *, reused: bool = False) -> None:
        """Count a command of the serial build that has succeeded, once."""
        if kind not in ("compile", "link"):
            return
        if reused:
            self.reused += 1
        elif kind == "compile":
            self.compiled += 1
        else:
            self.linked += 1

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
        if not self.compiled + self.linked + self.reused:
            return None
        average = self.busy / self.elapsed if self.elapsed else 0.0
        recompiled = f", {self.recompiled} recompiled" if self.recompiled else ""
        jobs = "1 job" if slots == 1 else f"{slots} jobs"
        return (
            f"parallel-backend: {self.compiled} compiled, {self.linked} linked, "
            f"{self.reused} reused{recompiled} in {self.elapsed:.1f} s on {jobs} "
            f"({average:.1f} busy)"
        )
