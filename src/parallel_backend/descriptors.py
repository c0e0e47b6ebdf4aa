"""Descriptors of ours, kept out of the way of a project's own.

A ``setup.py`` may close every descriptor above 2, and a caller may have none of 0 to 2: what is
opened next would be taken for a standard stream. So ours lie high, are told by what they are, and
never by their number alone.
"""

from __future__ import annotations

import contextlib
import os

__all__ = ["Private", "moved_up", "open_null", "open_standard_descriptors"]

# Above what `os.closerange(3, 256)` reaches, and below the usual soft limit of 1,024.
_LOWEST = 900


class Private:
    """A descriptor of ours, closed when it is not ours any more: a project may have closed it."""

    def __init__(self, descriptor: int) -> None:
        self.number = moved_up(descriptor)
        self._identity = _identity(self.number)

    def is_open(self) -> bool:
        """Whether the number still stands for what was opened."""
        return self.number >= 0 and _identity(self.number) == self._identity

    def close(self) -> None:
        """Close it, if it is ours still; once."""
        if self.is_open():
            os.close(self.number)
        self.number = -1


def open_standard_descriptors() -> None:
    """Open those of the descriptors 0 to 2 that are closed, on the null device."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _open_null(number)


def open_null() -> int:
    """Open the null device; an empty file without a name where there is none, as in a chroot."""
    try:
        return os.open(os.devnull, os.O_RDWR)
    except OSError:
        import tempfile

        with tempfile.TemporaryFile(buffering=0) as file:
            return os.dup(file.fileno())


def _open_null(number: int) -> None:
    opened = open_null()
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    os.set_inheritable(number, True)


def moved_up(descriptor: int) -> int:
    """Move a descriptor out of the way; its number from now on."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Linux has it
        return descriptor
    for lowest in (_LOWEST, 10):  # the limit may be lower
        if descriptor >= lowest:
            return descriptor
        with contextlib.suppress(OSError):
            moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
            os.close(descriptor)
            return moved
    return descriptor


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
