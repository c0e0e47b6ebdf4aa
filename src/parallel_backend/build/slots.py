"""Job slots of this build: the implicit one, and one more for each token."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time

from parallel_backend.errors import JobserverError
from parallel_backend.jobserver import Pool
from parallel_backend.timings.record import slot_was_held

__all__ = ["PoolSlots"]


class PoolSlots:
    """Slots, numbered: 0 is the implicit one, every other number stands for a token that is held.

    A slot that is given gets the lowest number that is free.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._held: dict[int, tuple[bytes | None, float]] = {}
        self._broken = False

    @property
    def limit(self) -> int | None:
        """The most slots that there can ever be; None: as many as there are tokens."""
        return self._pool.limit

    def take(self) -> int | None:
        with self._lock:
            token = None
            if 0 in self._held and (token := self._token()) is None:
                return None
            number = next(n for n in itertools.count() if n not in self._held)
            self._held[number] = token, time.monotonic()
            return number

    def give(self, number: int) -> None:
        with self._lock:
            token, since = self._held.pop(number)
            if token is None:
                return
            slot_was_held(number, since)
            # A pool that is gone wants nothing back.
            with contextlib.suppress(JobserverError):
                self._pool.release(token)

    def fileno(self) -> int:
        limit = self._pool.limit
        if self._broken or (limit is not None and len(self._held) >= limit):
            return -1
        with contextlib.suppress(JobserverError):
            return self._pool.fileno()
        return -1

    def _token(self) -> bytes | None:
        if self._broken:
            return None
        try:
            return self._pool.acquire()
        except JobserverError as error:
            self._broken = True
            print(f"parallel-backend: {error}; going on with one job", file=sys.stderr)
            return None
