"""Many tasks at once, each in a thread and with a job slot of its own, the longest first.

One task has this process' own slot, each other one a token of the pool. What a task starts finds
the same pool, and takes more.
"""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Callable, Sequence
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
    _Run(tasks, pool=pool, watch=watch, endings=endings, report=report).run(keep_going=keep_going)


class _Run(Generic[_Task]):
    def __init__(
        self,
        tasks: Sequence[_Task],
        *,
        pool: Pool,
        watch: Watch[_Task],
        endings: Endings,
        report: Callable[[str], None],
    ) -> None:
        self._waiting = sorted(tasks, key=lambda task: -task.estimate)
        self._pool = pool
        self._watch = watch
        self._endings = endings
        self._report = report
        self._broken = False
        self._running: dict[threading.Thread, tuple[_Task, bytes]] = {}
        self._done: list[threading.Thread] = []
        self._failed: list[_Task] = []
        self._heeded = 0
        self._again = 0.0

    def run(self, *, keep_going: bool) -> None:
        try:
            self._run(keep_going=keep_going)
        except BaseException:  # such as a terminal that is gone
            for task, _ in self._running.values():
                task.cancel()
            for thread in self._running:
                thread.join()
            raise

    def _run(self, *, keep_going: bool) -> None:
        while True:
            if self._endings.number or (self._failed and not keep_going):
                self._waiting.clear()
            while self._waiting and (slot := self._slot()) is not None:
                self._begin(self._waiting.pop(0), slot)
            if not self._running:
                return
            self._wait()
            self._heed_signals()
            while self._done:
                self._end(self._done.pop(0))
            self._watch.look()

    def _slot(self) -> bytes | None:
        held = [slot for _, slot in self._running.values()]
        if _OWN not in held:
            return _OWN
        if self._broken:
            return None
        try:
            return self._pool.acquire()
        except JobserverError as error:
            self._broken = True
            self._report(f"{error}; going on with one project after another")
            return None

    def _begin(self, task: _Task, slot: bytes) -> None:
        def work() -> None:
            is_done = False
            try:
                is_done = task.run()
            finally:
                if not is_done:
                    self._failed.append(task)
                self._done.append(thread)
                self._endings.wake()

        self._watch.begun(task)
        thread = threading.Thread(target=work)
        self._running[thread] = (task, slot)
        thread.start()

    def _end(self, thread: threading.Thread) -> None:
        task, slot = self._running.pop(thread)
        thread.join()
        if slot == _OWN:
            slot = self._hand_over()
        if slot != _OWN and not self._broken:
            try:
                self._pool.release(slot)
            except JobserverError as error:
                self._broken = True
                self._report(f"{error}; going on with one project after another")
        self._watch.ended(task)

    def _hand_over(self) -> bytes:
        """Give our own slot to another task, whose token others can then use; that token."""
        for thread, (task, slot) in self._running.items():
            if slot != _OWN:
                self._running[thread] = (task, _OWN)
                return slot
        return _OWN

    def _wait(self) -> None:
        limit = self._pool.limit
        wants_more = self._waiting and not self._broken
        with selectors.DefaultSelector() as selector:
            selector.register(self._endings, selectors.EVENT_READ)
            if wants_more and (limit is None or len(self._running) < limit):
                selector.register(self._pool, selectors.EVENT_READ)
            with waiting(len(selector.get_map()) > 1):
                selector.select(_LOOK)
        self._endings.clear()

    def _heed_signals(self) -> None:
        now = time.monotonic()
        if self._endings.count > self._heeded or (self._again and now >= self._again):
            if not self._heeded and self._running:
                self._report("ending what runs; another signal ends it more harshly")
            self._again = now + (_LATER if self._heeded else _AGAIN)
            self._heeded = max(self._heeded, self._endings.count)
            for task, _ in self._running.values():
                task.cancel()
