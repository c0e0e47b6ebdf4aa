"""What a process has printed, and not shown yet, kept where it is found if the process dies."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["CrashOutput", "read_crash_output"]


class CrashOutput:
    """A file in a hook's private directory that holds what this process still has to show."""

    def __init__(self, private: Path) -> None:
        self.process = os.getpid()
        path = _path(private, self.process)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, data: bytes) -> None:
        """Keep some more."""
        os.write(self._descriptor, data)

    def shown(self) -> None:
        """Forget what was kept: it is shown."""
        os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """End: this process has nothing more to show."""
        os.close(self._descriptor)


def read_crash_output(private: Path, process: int | None = None) -> str:
    """What a process that has died had still to show (default: any process of the hook)."""
    pattern = _path(private, "*" if process is None else process).name
    texts = [path.read_text(errors="backslashreplace") for path in sorted(private.glob(pattern))]
    return "".join(texts)


def _path(private: Path, process: int | str) -> Path:
    return private / f"crash-output-{process}"
