"""Job slots: who may run something now.

Whoever runs holds a slot already, its own; each job beside it takes one more and gives it back.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from collections import deque
from typing import Any, Protocol

from parallel_backend.errors import JobserverError
from parallel_backend.jobserver import Pool
from parallel_backend.timings import Tally
from parallel_backend.timings.record import slot_was_held

__all__ = ["PoolSlots", "Slots", "WorkerSlots"]


class Slots(Protocol):
    """Where further slots come from."""

    def want(self, number: int) -> None:
        """Tell how many more slots could be used at once."""

    def fileno(self) -> int:
        """A descriptor that is readable when a slot may be had; -1: there is none to wait for."""

    def take(self) -> bytes | None:
        """A further slot's token, or None if there is none now."""

    def give(self, token: bytes) -> None:
        """Give a slot back."""


class PoolSlots:
    """Slots of the process that owns the token pool.

    What it calls a token is the number of the slot: the lowest that is free, from 1 on.
    """

    def __init__(self, pool: Pool, tally: Tally) -> None:
        self._pool = pool
        self._tally = tally
        self._lock = threading.Lock()
        self._held: dict[bytes, tuple[bytes, float]] = {}
        self._broken = False

    def most(self) -> int | None:
        """The most slots that there can ever be, the own one included; None: the tokens tell."""
        return self._pool.limit

    def want(self, number: int) -> None:
        pass

    def fileno(self) -> int:
        limit = self._pool.limit
        if self._broken or (limit is not None and len(self._held) >= limit - 1):
            return -1
        return self._pool.fileno()

    def take(self) -> bytes | None:
        with self._lock:
            if self._broken:
                return None
            try:
                token = self._pool.acquire()
            except JobserverError as error:
                self._broken = True
                print(f"parallel-backend: {error}; going on with one job", file=sys.stderr)
                return None
            if token is None:
                return None
            number = next(n for i in itertools.count(1) if (n := b"%d" % i) not in self._held)
            self._held[number] = token, time.monotonic()
            return number

    def give(self, token: bytes) -> None:
        with self._lock:
            held, since = self._held.pop(token)
            self._tally.busy += time.monotonic() - since
            slot_was_held(int(token), since)
            # A pool that is gone wants nothing back.
            with contextlib.suppress(JobserverError):
                self._pool.release(held)


class WorkerSlots:
    """Slots of a worker, which asks the hook's process for them.

    That process alone reads tokens, so that it can give back those of a worker that dies.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._messages: deque[tuple[Any, ...]] = deque()

    def receive(self) -> tuple[Any, ...]:
        """The next message that brings no token. Raises EOFError when there can be none."""
        while not self._messages:
            message = self._connection.recv()
            if message[0] == "token":  # it was wanted a moment ago
                self.give(message[1])
            else:
                self._messages.append(message)
        return self._messages.popleft()

    def want(self, number: int) -> None:
        self._connection.send(("want", number))

    def fileno(self) -> int:
        return int(self._connection.fileno())

    def take(self) -> bytes | None:
        while self._connection.poll(0):
            message = self._connection.recv()
            if message[0] == "token":
                return bytes(message[1])
            self._messages.append(message)
        return None

    def give(self, token: bytes) -> None:
        self._connection.send(("give", token))
