"""The workers of one build, the slots that they hold, and what they have to say."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from parallel_backend.engine.workers import Built, ForkWorker
from parallel_backend.timings.record import in_slot, waiting

if TYPE_CHECKING:
    from parallel_backend.engine import Engine

__all__ = ["Staff"]


class Staff:
    """Workers, each with the extension that it builds, called by its index.

    A worker holds one slot: the first the hook's own, every other one a token. Tokens that it gets
    beside that for its sources are on record here, so that they go back if it dies.
    """

    def __init__(self, engine: Engine, command: Any) -> None:
        self.at_work: dict[ForkWorker, int] = {}
        self._slots = engine.slots
        self._engine = engine
        self._command = command
        self._selector = selectors.DefaultSelector()
        self._slot_of: dict[ForkWorker, bytes | None] = {}
        self._tokens: dict[ForkWorker, list[bytes]] = {}
        self._wanting: dict[ForkWorker, int] = {}

    def employ(self, indexes: Iterable[int], *, alone: bool = False) -> None:
        """Start a worker for each index, while there are slots; then let tokens go to sources.

        `alone`: nothing else is built beside it.
        """
        for index in indexes:
            token = None
            if None in self._slot_of.values() and (token := self._slots.take()) is None:
                return
            try:
                others = [other.connection for other in self.at_work]
                with in_slot(token):
                    worker = ForkWorker(self._engine, self._command, others)
            except BaseException:
                if token is not None:
                    self._slots.give(token)
                raise
            self._slot_of[worker] = token
            self._tokens[worker] = []
            self._selector.register(worker.connection, selectors.EVENT_READ, worker)
            self.hand_out(worker, index, alone=alone)
        while self._wanting and (token := self._slots.take()) is not None:
            self._grant(token)

    def hand_out(self, worker: ForkWorker, index: int, *, alone: bool = False) -> None:
        """Let a worker build an extension."""
        self.at_work[worker] = index
        with contextlib.suppress(OSError):  # it has died, and is heard of by its connection
            worker.connection.send(("build", index, alone))

    def _grant(self, token: bytes) -> None:
        worker = max(self._wanting, key=self._wanting.__getitem__)
        self._tokens[worker].append(token)
        self._wanting[worker] -= 1
        if not self._wanting[worker]:
            del self._wanting[worker]
        with contextlib.suppress(OSError):
            worker.connection.send(("token", token))

    def listen(self, *, more: bool) -> Iterator[tuple[ForkWorker, Built | None]]:
        """Wait, and give the workers that have built something, or have died (None).

        `more`: a slot that comes free could be used, too.
        """
        free = self._slots.fileno() if self._wanting or more else -1
        if free >= 0:
            self._selector.register(free, selectors.EVENT_READ)
        try:
            with waiting(free >= 0):
                events = self._selector.select()
        finally:
            if free >= 0:
                self._selector.unregister(free)
        for key, _ in events:
            worker = key.data
            if worker in self.at_work:
                try:
                    kind, value = worker.connection.recv()
                except (EOFError, OSError):
                    yield worker, None
                    continue
                if kind == "built":
                    yield worker, value
                else:
                    self._serve(worker, kind, value)

    def _serve(self, worker: ForkWorker, kind: str, value: Any) -> None:
        if kind == "give":
            self._tokens[worker].remove(value)
            self._slots.give(value)
        else:
            self._wanting.pop(worker, None)
            if value > 0:
                self._wanting[worker] = value

    def dismiss(self, worker: ForkWorker) -> int:
        """Let a worker end that has nothing to do, or has died; its exit status."""
        del self.at_work[worker]
        self._selector.unregister(worker.connection)
        try:
            return worker.end()
        finally:
            self._take_back(worker)

    def kill(self, workers: Iterable[ForkWorker]) -> list[int]:
        """End workers and all that they run; the extensions that they were at."""
        ended = list(workers)
        indexes = [self.at_work.pop(worker) for worker in ended]
        for worker in ended:
            self._selector.unregister(worker.connection)
        try:
            ForkWorker.kill(ended)
        finally:
            for worker in ended:
                self._take_back(worker)
        return indexes

    def close(self) -> None:
        """End all that is left."""
        self.kill(self.at_work)
        self._selector.close()

    def _take_back(self, worker: ForkWorker) -> None:
        self._wanting.pop(worker, None)
        slot = self._slot_of.pop(worker)
        for token in [*self._tokens.pop(worker), *([] if slot is None else [slot])]:
            self._slots.give(token)
