"""The descriptors that messages come and go by, out of the way of hooks."""

from __future__ import annotations

import os
import sys

__all__ = ["empty_stdin", "high_copy", "move_away", "open_standard_descriptors", "write_all"]

# Few programs close, or count on, a descriptor as high as this.
_HIGH = 200


def open_standard_descriptors() -> None:
    """Open descriptors 0 to 2 where they are closed, or other files would get their numbers."""
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        os.set_inheritable(null, True)
        null = os.dup(null)
    os.close(null)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w", closefd=False))


def high_copy(descriptor: int) -> int:
    """Copy a descriptor to a high number. Programs that are started do not inherit the copy."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        return os.dup(descriptor)
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    except OSError:  # more than this process may have, or no such descriptor
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def move_away(read: int, write: int) -> tuple[int, int]:
    """Move both descriptors, which may be one, to high numbers.

    Standard output that was moved goes to standard error from then on.
    """
    moved = high_copy(read), high_copy(write)
    for descriptor in {read, write}:
        if descriptor == 1:
            os.dup2(2, 1)
        elif descriptor:
            os.close(descriptor)
    return moved


def empty_stdin() -> None:
    """Let standard input be empty."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it. Raises OSError where nobody reads."""
    while data:
        data = data[os.write(descriptor, data) :]
