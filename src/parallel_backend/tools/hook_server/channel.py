"""The descriptors that messages come and go by, out of the way of hooks."""

from __future__ import annotations

import os
import select
import sys

__all__ = ["Channel", "high_copy", "open_standard_descriptors", "put_away"]

# Few programs close, or count on, a descriptor as high as this.
_HIGH = 200


class Channel:
    """`read` and `write` are moved away. In place of standard ones, other files stand then.

    Nothing is set to non-blocking, which would change it for every process that has it. A poll
    tells that something is there to read, or that so much can be written that a pipe takes it.
    """

    def __init__(self, read: int, write: int) -> None:
        open_standard_descriptors()
        self.read = high_copy(read)
        self.write = high_copy(write)
        for descriptor in {read, write}:
            put_away(descriptor)
        self.unsent = bytearray()

    def receive(self) -> bytes:
        """What is there; empty at the end of the input. It waits where nothing is there."""
        try:
            return os.read(self.read, 1 << 16)
        except OSError:  # a terminal that was closed, a connection that was broken
            return b""

    def send(self, line: bytes) -> None:
        """Put a line into the queue."""
        self.unsent += line

    def write_some(self) -> bool:
        """Write as much as is taken at once; false: nobody will read it any more."""
        poll = select.poll()
        poll.register(self.write, select.POLLOUT)
        while self.unsent:
            [(_, event)] = poll.poll(0) or [(0, 0)]
            if event & ~select.POLLOUT:
                return False
            if not event:
                break
            try:
                written = os.write(self.write, self.unsent[: select.PIPE_BUF])
            except OSError:
                return False
            del self.unsent[:written]
        return True


def high_copy(descriptor: int) -> int:
    """A copy of a descriptor with a high number, closed on exec."""
    import fcntl

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    except OSError:  # more than this process may have, or no such descriptor
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def open_standard_descriptors() -> None:
    """Descriptors 0 to 2 must be there, or other files would get their numbers."""
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        os.set_inheritable(null, True)
        null = os.dup(null)
    os.close(null)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            stream = os.fdopen(descriptor, "w", closefd=False)
            setattr(sys, name, stream)


def put_away(descriptor: int) -> None:
    """Close it, or put another file in the place of a standard one.

    What hooks write to standard output goes to standard error then.
    """
    if descriptor > 2:
        os.close(descriptor)
        return
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(2 if descriptor == 1 else null, descriptor)
    os.close(null)
