"""Slots of this machine, for what a farm cannot take: with one, jobs are more than it has cores.

A slot is a lock on a file, which the system takes away from whoever dies, however that happens. Who
gives one back says so in a FIFO, and wakes one of those who wait; they also look now and then,
since the dead say nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LocalSlots"]

# Milliseconds after which a slot that a killed process had is found.
_PATIENCE = 500


class LocalSlots:
    """`number` slots, shared by all processes and threads that know the `folder`."""

    def __init__(self, folder: Path, *, number: int) -> None:
        self.number = number
        self._files = [os.fspath(folder / f"local-slot-{i}") for i in range(number)]
        self._bell = os.fspath(folder / "local-slot-is-free")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold one slot for the length of a ``with`` block; waits until there is one."""
        if not hasattr(os, "mkfifo"):  # pragma: no cover - Linux has FIFOs and file locks
            yield
            return
        import fcntl

        with contextlib.suppress(FileExistsError):
            os.mkfifo(self._bell, 0o600)
        bell = os.open(self._bell, os.O_RDWR | os.O_NONBLOCK)
        poll = select.poll()
        poll.register(bell, select.POLLIN)
        try:
            while (slot := self._take()) is None:
                if poll.poll(_PATIENCE):
                    with contextlib.suppress(BlockingIOError):  # another one was woken
                        os.read(bell, 1)
            try:
                yield
            finally:
                # A fork that is just being made may have the descriptor, too.
                fcntl.flock(slot, fcntl.LOCK_UN)
                os.close(slot)
                with contextlib.suppress(BlockingIOError):  # it rings anyway
                    os.write(bell, b".")
        finally:
            os.close(bell)

    def _take(self) -> int | None:
        """A descriptor that has a slot's lock."""
        import fcntl

        for path in self._files:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return descriptor
        return None
