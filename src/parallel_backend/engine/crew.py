"""Run units of work at once, as many as there are slots for: in threads, or in forks."""

from __future__ import annotations

import contextlib
import contextvars
import os
import pickle
import selectors
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from parallel_backend.engine.output import one_group
from parallel_backend.engine.slots import PoolSlots, Slots
from parallel_backend.hook_process import begin_fork, forget_group, note_group
from parallel_backend.timings.record import in_slot, waiting

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Fork", "Threads", "run"]

U = TypeVar("U")

# Seconds that commands get to end when they are told to, before they are killed.
_PATIENCE = 3.0


class Handle(Protocol):
    """A unit at work."""

    def fileno(self) -> int:
        """Becomes readable when the unit is done."""

    def finish(self) -> bool:
        """Clean up after a unit that is done; whether it succeeded."""

    def cancel(self, number: int) -> None:
        """Tell what it runs to end, by a signal."""


class Threads(Generic[U]):
    """Starts units in threads of this process, each of which does one unit after another.

    When the ``with`` block ends, the threads end: those that are still at work when they are done.
    """

    def __init__(self, work: Callable[[U], bool], cancel: Callable[[U, int], None]) -> None:
        self._work = work
        self._cancel = cancel
        self._lanes: list[_Lane] = []
        self._idle: list[_Lane] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for lane in self._lanes:
            lane.close()
        for lane in self._idle:
            lane.join()

    def __call__(self, unit: U) -> InThread[U]:
        """Begin a unit."""
        if not self._idle:
            lane = _Lane()
            self._lanes.append(lane)
            self._idle.append(lane)
        lane = self._idle.pop()
        run = contextvars.copy_context().run
        lane.give(lambda: run(self._work, unit))
        return InThread(unit, lane, self._cancel, self._idle)


class InThread(Generic[U]):
    """A unit at work in a thread of this process."""

    def __init__(
        self, unit: U, lane: _Lane, cancel: Callable[[U, int], None], idle: list[_Lane]
    ) -> None:
        self._unit = unit
        self._lane = lane
        self._cancel = cancel
        self._idle = idle

    def fileno(self) -> int:
        return self._lane.fileno()

    def finish(self) -> bool:
        succeeded = self._lane.result()
        if succeeded is not None:
            self._idle.append(self._lane)
        return bool(succeeded)

    def cancel(self, number: int) -> None:
        self._cancel(self._unit, number)


class _Lane:
    """A thread that does what it is given, one thing after another."""

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()
        self._orders: SimpleQueue[Callable[[], bool] | None] = SimpleQueue()
        # A daemon: nobody waits for ever for an order that whoever gives them cannot give any more.
        self._thread = threading.Thread(target=self._run, daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._here.close()
            self._there.close()
            raise

    def _run(self) -> None:
        with self._there:  # closed: there will be no more results
            while (order := self._orders.get()) is not None:
                self._there.send(b"\1" if order() else b"\0")
        self._here.close()

    def give(self, order: Callable[[], bool]) -> None:
        self._orders.put(order)

    def fileno(self) -> int:
        """Becomes readable when there is a result."""
        return self._here.fileno()

    def result(self) -> bool | None:
        """What came of the last order; None: the thread has ended in it."""
        answer = self._here.recv(1)
        if not answer:
            self._thread.join()
            self._here.close()
            return None
        return answer == b"\1"

    def close(self) -> None:
        """Let the thread end, when it has nothing in work."""
        self._orders.put(None)

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()


class Fork(Generic[U]):
    """A unit at work in a fork of this process, for code that changes what it shares.

    `work` returns something that pickles; `done` is given it, or None if the fork died.
    """

    def __init__(
        self, private: Path, work: Callable[[U], Any], done: Callable[[U, Any], bool], unit: U
    ) -> None:
        self._private = private
        self._done = done
        self._unit = unit
        self._inlet, outlet = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._be_the_fork(work, outlet)
        os.close(outlet)
        with contextlib.suppress(OSError):  # it may have done so itself, and be gone
            os.setpgid(self._pid, self._pid)
        note_group(private, self._pid)

    def _be_the_fork(self, work: Callable[[U], Any], outlet: int) -> NoReturn:
        try:
            os.setpgid(0, 0)
            begin_fork()
            # What it runs stays in its group, which is all that whoever ends it knows of.
            with one_group():
                data = pickle.dumps(work(self._unit))
            with open(outlet, "wb") as stream:
                stream.write(data)
        finally:
            os._exit(0)

    def fileno(self) -> int:
        return self._inlet

    def finish(self) -> bool:
        with open(self._inlet, "rb") as stream:
            data = stream.read()
        os.waitpid(self._pid, 0)
        forget_group(self._private, self._pid)
        return self._done(self._unit, pickle.loads(data) if data else None)

    def cancel(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, number)


def run(
    units: Sequence[U], start: Callable[[U], Handle], *, slots: Slots, keep_going: bool
) -> None:
    """Run all units: one in the caller's own slot, more as `slots` gives them.

    After a failure, what has not begun is left and what runs is ended, unless `keep_going`.
    """
    with selectors.DefaultSelector() as selector:
        _Run(units, start, slots, selector, keep_going=keep_going).run()


class _Run(Generic[U]):
    """Units that wait for a slot, and units at work, each with the token of its slot."""

    def __init__(
        self,
        units: Sequence[U],
        start: Callable[[U], Handle],
        slots: Slots,
        selector: selectors.BaseSelector,
        *,
        keep_going: bool,
    ) -> None:
        self.pending = deque(units)
        self.start = start
        self.slots = slots
        self.selector = selector
        self.keep_going = keep_going
        self.failed = False
        self.running: dict[Handle, bytes | None] = {}

    def run(self) -> None:
        try:
            self.slots.want(len(self.pending) - 1)
            self.begin(None)
            while self.running and (self.keep_going or not self.failed):
                while self.pending and (token := self.slots.take()) is not None:
                    self.begin(token)
                self.wait(None)
        finally:
            self.pending.clear()
            self.cancel()
            self.slots.want(0)

    def begin(self, token: bytes | None) -> None:
        """Start the next unit in the slot of this token (None: the caller's own)."""
        try:
            with in_slot(token):
                handle = self.start(self.pending.popleft())
        except BaseException:
            if token is not None:
                self.slots.give(token)
            raise
        self.running[handle] = token
        self.selector.register(handle, selectors.EVENT_READ, handle)

    def wait(self, timeout: float | None) -> bool:
        """Wait until something is done, or a slot may be had; false if nothing happened in time."""
        free = self.slots.fileno() if self.pending else -1
        if free >= 0:
            self.selector.register(free, selectors.EVENT_READ)
        is_wait = free >= 0 and isinstance(self.slots, PoolSlots)
        try:
            with waiting(is_wait):
                events = self.selector.select(timeout)
        finally:
            if free >= 0:
                self.selector.unregister(free)
        for key, _ in events:
            if key.data in self.running:
                self.end(key.data)
        return bool(events)

    def end(self, handle: Handle) -> None:
        """A unit is done: its slot goes to the next one."""
        self.selector.unregister(handle)
        token = self.running.pop(handle)
        if not handle.finish():
            self.failed = True
        if self.pending and (self.keep_going or not self.failed):
            self.begin(token)
        elif token is not None:
            self.slots.give(token)

    def cancel(self) -> None:
        """End what runs: told first, so that a compiler can clean up; then killed."""
        for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            for handle in self.running:
                handle.cancel(number)
            while self.running and self.wait(_PATIENCE):
                pass
