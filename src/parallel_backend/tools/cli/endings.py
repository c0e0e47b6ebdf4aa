"""Signals that ask this process to end: noted, so that it ends tidily."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Self

__all__ = ["Endings"]

_NUMBERS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Endings:
    """Within its ``with`` block SIGINT, SIGTERM and SIGHUP are noted, and raise nothing.

    Those that are ignored, as SIGHUP is under nohup, stay so. Only for the main thread.
    """

    def __init__(self) -> None:
        #: The first signal that came, 0 without one.
        self.number = 0
        #: How many came.
        self.count = 0
        self._saved: dict[int, object] = {}
        self._reader = self._writer = -1

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        for number in _NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._saved[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._saved.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.close(self._reader)
        os.close(self._writer)

    def fileno(self) -> int:
        """Readable when something happened: a signal, or a `wake`."""
        return self._reader

    def wake(self) -> None:
        """Make `fileno` readable; any thread may."""
        with contextlib.suppress(BlockingIOError):  # it is readable anyway
            os.write(self._writer, b".")

    def clear(self) -> None:
        """Let `fileno` wait for what happens next."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 1 << 12)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.number = self.number or number
        self.count += 1
        self.wake()
