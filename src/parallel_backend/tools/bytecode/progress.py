"""A progress bar for a terminal."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

__all__ = ["Progress"]

_PERIOD = 0.1  # seconds between two pictures
_BAR = 24  # columns


class Progress:
    """Draws how many files are done, how fast, and how long the rest takes; on one line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._drawn = 0.0

    def __call__(self, done: int, found: int, is_final: bool) -> None:
        """Draw it, not too often. `is_final`: no more files will be found."""
        now = time.monotonic()
        if now - self._drawn < _PERIOD:
            return
        self._drawn = now
        rate = done / (now - self._began)
        parts = [f"{done}/{found}{'' if is_final else '+'} files", f"{rate:.0f}/s"]
        if is_final:
            full = _BAR * done // found if found else _BAR
            parts.insert(0, f"[{'#' * full}{'.' * (_BAR - full)}]")
            if rate:
                parts.append(f"{(found - done) / rate:.0f} s left")
        line = "  ".join(parts)[: shutil.get_terminal_size().columns - 1]
        self._show(f"\r{line}\x1b[K")

    def clear(self) -> None:
        """Leave an empty line."""
        if self._drawn:
            self._show("\r\x1b[K")

    def _show(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
