"""Many tasks at once, each in a thread and with a job slot of its own, the longest first.

One task has this process' own slot, each other one a token of the pool. What a task starts finds
the same pool, and takes more.
"""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from parallel_backend.errors import JobserverError
from parallel_backend.jobserver import Pool
from parallel_backend.timings.record import waiting
from parallel_backend.tools.cli.endings import Endings

__all__ = ["Task", "Watch", "run_all"]

# Seconds between two looks at what runs, for whoever watches.
_LOOK = 0.25
# Seconds after which those that are cancelled are told again, in case that one was just between two
# steps: a signal that ends what our backend runs as tidily as the first one. Later it is harsher.
_AGAIN = 1.0
_LATER = 20.0
_OWN = b""


class Task(Protocol):
    """Something to do. `estimate`: the seconds that it may take."""

    estimate: float

    def run(self) -> bool:
        """Do it; false: it failed. It raises nothing."""

    def cancel(self) -> None:
        """Break it off; again: more harshly. For other threads."""


_Task = TypeVar("_Task", bound=Task)
_Task_contra = TypeVar("_Task_contra", contravariant=True)


class Watch(Protocol[_Task_contra]):
    """Whoever is told what happens, in the main thread."""

    def begun(self, task: _Task_contra, /) -> None:
        """It is about to run."""

    def ended(self, task: _Task_contra, /) -> None:
        """It has run."""

    def look(self) -> None:
        """Some time has passed."""


def run_all(
    tasks: Sequence[_Task],
    *,
    pool: Pool,
    keep_going: bool,
    watch: Watch[_Task],
    endings: Endings,
    report: Callable[[str], None],
) -> None:
    """Run tasks. After a failure those that run go on, and others begin only if `keep_going`.

    A signal that `endings` notes cancels all, and another one more harshly. `report` gets a
    line then, and if the pool turns out to be broken: then one task after another runs.
    """
    waiting = sorted(tasks, key=lambda task: -task.estimate)
    _Run(waiting, pool, watch, endings, report).run(keep_going=keep_going)


@dataclass
class _Run(Generic[_Task]):
    waiting: list[_Task]
    pool: Pool
    watch: Watch[_Task]
    endings: Endings
    report: Callable[[str], None]
    broken: bool = False
    running: dict[threading.Thread, tuple[_Task, bytes]] = field(default_factory=dict)
    done: list[threading.Thread] = field(default_factory=list)
    failed: list[_Task] = field(default_factory=list)
    heeded: int = 0
    again: float = 0.0

    def run(self, *, keep_going: bool) -> None:
        try:
            self._run(keep_going=keep_going)
        except BaseException:  # such as a terminal that is gone
            for task, _ in self.running.values():
                task.cancel()
            for thread in self.running:
                thread.join()
            raise

    def _run(self, *, keep_going: bool) -> None:
        while True:
            if self.endings.number or (self.failed and not keep_going):
                self.waiting.clear()
            while self.waiting and (slot := self._slot()) is not None:
                self._begin(self.waiting.pop(0), slot)
            if not self.running:
                return
            self._wait()
            self._heed_signals()
            while self.done:
                self._end(self.done.pop(0))
            self.watch.look()

    def _slot(self) -> bytes | None:
        held = [slot for _, slot in self.running.values()]
        if _OWN not in held:
            return _OWN
        if self.broken:
            return None
        try:
            return self.pool.acquire()
        except JobserverError as error:
            self.broken = True
            self.report(f"{error}; going on with one project after another")
            return None

    def _begin(self, task: _Task, slot: bytes) -> None:
        def work() -> None:
            is_done = False
            try:
                is_done = task.run()
            finally:
                if not is_done:
                    self.failed.append(task)
                self.done.append(thread)
                self.endings.wake()

        self.watch.begun(task)
        thread = threading.Thread(target=work)
        self.running[thread] = (task, slot)
        thread.start()

    def _end(self, thread: threading.Thread) -> None:
        task, slot = self.running.pop(thread)
        thread.join()
        if slot == _OWN:
            slot = self._hand_over()
        if slot != _OWN and not self.broken:
            try:
                self.pool.release(slot)
            except JobserverError as error:
                self.broken = True
                self.report(f"{error}; going on with one project after another")
        self.watch.ended(task)

    def _hand_over(self) -> bytes:
        """Give our own slot to another task, whose token others can then use; that token."""
        for thread, (task, slot) in self.running.items():
            if slot != _OWN:
                self.running[thread] = (task, _OWN)
                return slot
        return _OWN

    def _wait(self) -> None:
        limit = self.pool.limit
        wants_more = self.waiting and not self.broken
        with selectors.DefaultSelector() as selector:
            selector.register(self.endings, selectors.EVENT_READ)
            if wants_more and (limit is None or len(self.running) < limit):
                selector.register(self.pool, selectors.EVENT_READ)
            with waiting(len(selector.get_map()) > 1):
                selector.select(_LOOK)
        self.endings.clear()

    def _heed_signals(self) -> None:
        now = time.monotonic()
        if self.endings.count > self.heeded or (self.again and now >= self.again):
            if not self.heeded and self.running:
                self.report("ending what runs; another signal ends it more harshly")
            self.again = now + (_LATER if self.heeded else _AGAIN)
            self.heeded = max(self.heeded, self.endings.count)
            for task, _ in self.running.values():
                task.cancel()
