"""What a build takes its job tokens from, whoever serves them.

A token must not be lost or given back twice, whatever interrupts the build. Python runs signal
handlers, which may raise, between any two bytecodes, so a read and the note of what was read must
be one call of C: `slot.extend(map(os.read, ...))`, where `slot` is on record beforehand.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from threading import RLock

from parallel_backend.descriptors import Private
from parallel_backend.errors import JobserverError

__all__ = ["DescriptorPool", "MemoryPool", "Pool"]


class Pool(ABC):
    """A pool of job tokens.

    Any thread of the process that made it may use it. A forked child leaves it alone, and must
    ask its parent for a slot; that a child closes it does no harm.
    """

    limit: int | None
    """The most slots this build may use at once, its implicit one included; None: as many as
    there are tokens."""

    environment: dict[str, str]
    """Variables for what the build starts, so that it finds the same tokens."""

    description: str
    """A phrase for humans."""

    @abstractmethod
    def acquire(self) -> bytes | None:
        """Take one token now; None if none is free or the limit is reached.

        Raises JobserverError if the pool is closed, ended or broken.
        """

    @abstractmethod
    def release(self, token: bytes) -> None:
        """Give one token back, the byte that `acquire` gave.

        Raises JobserverError if no such token is held, or it cannot be given back.
        """

    @abstractmethod
    def fileno(self) -> int:
        """Return a descriptor for `selectors`, readable when a token may be free.

        It tells nothing of `limit`: who holds `limit` slots must not wait for it.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back every token still held; the pool is of no more use. May be called again."""


class DescriptorPool(Pool):
    """Tokens in a pipe, a FIFO or a character device.

    `fd` is open for reading and writing, its description is non-blocking and this object's own:
    O_NONBLOCK on a shared one would change it for every process that has it.
    """

    def __init__(
        self, *, fd: int, limit: int | None, environment: dict[str, str], description: str
    ) -> None:
        self.limit = limit
        self.environment = environment
        self.description = description
        self._end = Private(fd)
        self._owner = os.getpid()
        # A forked child inherits the lock as it was, so nobody takes it there. It can be taken
        # twice, for a signal handler that closes the pool within an acquire.
        self._lock = RLock()
        # One list for each token: [byte] is held, [] is not yet read, [1] is written back.
        self._slots: list[list[bytes | int]] = []

    def acquire(self) -> bytes | None:
        fd = self.fileno()
        with self._lock:
            if self.limit is not None and len(self._slots) >= self.limit - 1:
                return None
            slot: list[bytes | int] = []
            self._slots.append(slot)
            try:
                slot.extend(map(os.read, (fd,), (1,)))
                if slot == [b""]:
                    raise JobserverError(f"{self.description} has ended")
                return bytes(slot[0]) if slot else None
            except BlockingIOError:
                return None
            except OSError as error:
                raise JobserverError(
                    f"{self.description} cannot be read: {error.strerror}"
                ) from error
            finally:
                if slot in ([], [b""]):
                    self._slots.remove(slot)

    def release(self, token: bytes) -> None:
        self.fileno()
        with self._lock:
            if [token] not in self._slots:
                raise JobserverError(
                    f"token {token!r} is not held from {self.description}; "
                    "give each token back once, unchanged"
                )
            slot = self._slots[self._slots.index([token])]
            try:
                self._write(slot)
            except OSError as error:
                raise JobserverError(
                    f"{self.description} does not take a token back: {error.strerror}"
                ) from error

    def fileno(self) -> int:
        if not self.is_open_here():
            raise JobserverError(
                f"{self.description} is closed, or belongs to the process that opened it; "
                "ask that process for a slot"
            )
        return self._end.number

    def is_open_here(self) -> bool:
        """Say whether the pool is open yet, in the process that opened it."""
        return self._owner == os.getpid() and self._end.is_open()

    def close(self) -> None:
        if self.is_open_here():
            self._give_back_all()
        self._end.close()

    def _give_back_all(self) -> None:
        with self._lock:
            for slot in [slot for slot in self._slots if slot != [1]]:
                try:
                    self._write(slot)
                except OSError:
                    # The server is gone, so nobody waits for this token.
                    self._slots.remove(slot)

    def _write(self, slot: list[bytes | int]) -> None:
        # Read and mark in one call of C, see the module's docstring.
        slot[:] = map(os.write, (self._end.number,), slot)  # type: ignore[arg-type]
        self._slots.remove(slot)


class MemoryPool(Pool):
    """Tokens that only this process can take, for systems without FIFOs (Windows)."""

    def __init__(self, *, limit: int) -> None:
        from socket import socketpair  # not needed where there are FIFOs

        self.limit: int = limit
        self.environment = {}
        self.description = f"{limit} job slots of this build's own, not shared with others"
        self._lock = RLock()
        self._held = 0
        self._closed = False
        # A byte lies in the pair while tokens are free: selectors on Windows take sockets alone.
        self._reader, self._writer = socketpair()
        if limit > 1:
            self._writer.send(b"+")

    def acquire(self) -> bytes | None:
        self.fileno()
        with self._lock:
            if self._held >= self.limit - 1:
                return None
            self._held += 1
            if self._held == self.limit - 1:
                self._reader.recv(1)
            return b"+"

    def release(self, token: bytes) -> None:
        self.fileno()
        with self._lock:
            if token != b"+" or not self._held:
                raise JobserverError(
                    f"token {token!r} is not held; give each token back once, unchanged"
                )
            if self._held == self.limit - 1:
                self._writer.send(b"+")
            self._held -= 1

    def fileno(self) -> int:
        if self._closed:
            raise JobserverError(f"the pool of {self.description} is closed")
        return self._reader.fileno()

    def close(self) -> None:
        self._closed = True
        self._reader.close()
        self._writer.close()
