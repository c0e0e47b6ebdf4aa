"""Which command runs next: one loop over the nodes of a build, the slots, and what runs.

The loop is ninja's (``build.cc``): begin what is ready while there are slots, wait until something
ends, note it, go on. It knows no compiler: a `Runner` begins commands and collects their results.

The loop runs in a thread of its own, which exists only while there is something to do: a process
with one thread can fork. What a thread of the build waits for runs before what it does not.
"""

from __future__ import annotations

import contextlib
import heapq
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from parallel_backend.build.nodes import Node, Runner, Slots
from parallel_backend.timings import record

__all__ = ["Scheduler"]


@dataclass(eq=False)
class _Request:
    """A thread that waits for a slot for something that it runs itself."""

    granted: threading.Event = field(default_factory=threading.Event)
    slot: int = -1


# Seconds that commands get to end when they are told to, before they are killed.
_PATIENCE = 1.0
# Seconds after which programs that nobody waits for are no reason to wait any more.
_STUCK = 3.0


class Scheduler:
    """Begins nodes as slots come free.

    :param local: how many nodes that need the machine itself may run at once; None: no limit.
    """

    def __init__(self, runner: Runner, slots: Slots, *, local: int | None = None) -> None:
        self._runner = runner
        self._slots = slots
        self._local = local
        self._lock = threading.RLock()
        self._ready: list[tuple[int, int, int, Node]] = []
        self._urgent: deque[Node | _Request] = deque()
        self._running: dict[int, tuple[Node, int]] = {}
        self._watched: dict[int, Callable[[], bool]] = {}
        #: Slots of what threads of the build run, and whether it may run on unwaited for.
        self._held: dict[int, bool] = {}
        self._forgotten: set[int] = set()
        #: Whose callback runs.
        self._called = -1
        self._failures: set[int] = set()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._pushed = 0
        self._wake_in: socket.socket | None = None
        self._wake_out: socket.socket | None = None

    # --- for the threads of the build

    def add(self, node: Node, *, urgent: bool = False) -> None:
        """Let a node run when all that it needs is done, or `urgent`: next."""
        with self._lock:
            if node.begun or node.urgent:  # somebody was in a hurry
                return
            node.urgent = urgent
            node.missing = sum(not need.done.is_set() for need in node.needs)
            for need in node.needs:
                need.dependents.append(node)
            if urgent:
                self._urgent.append(node)
            elif not node.is_external and not node.missing:
                self._push(node)
            self._stir()

    def drop(self, node: Node) -> bool:
        """Do not begin a node; false: it has begun."""
        with self._lock:
            if node.begun:
                return False
            node.dropped = True
            self._stir()
            return True

    def hurry(self, node: Node) -> bool:
        """Let a node run next, whatever it needs; false: it has begun, or is the next already."""
        with self._lock:
            if node.begun or node.urgent or node.done.is_set():
                return False
            node.urgent, node.dropped = True, True  # from where it stood
            node.comes_now()
            self._urgent.append(node)
            self._stir()
            return True

    def settle(self, node: Node, *, failed: bool) -> None:
        """Note that a node which ran elsewhere is done."""
        with self._lock:
            node.failed = failed
            self._note_done(node)
            self._stir()

    def passed(self, number: int) -> None:
        """The serial build is past this number: no failure up to it holds anything back."""
        with self._lock:
            if any(failure <= number for failure in self._failures):
                self._failures = {each for each in self._failures if each > number}
                self._stir()

    def acquire(self, *, background: bool = False) -> int:
        """Wait for a slot, before any node that nobody waits for; its number.

        `background`: for something that may run on while nobody waits for it.
        """
        slot = self._acquire()
        with self._lock:
            self._held[slot] = background
        return slot

    def _acquire(self) -> int:
        with self._lock:
            slot = None if self._urgent else self._slots.take()
            if slot is not None:
                return slot
            request = _Request()
            self._urgent.append(request)
            self._stir()
        try:
            request.granted.wait()
        except BaseException:
            with self._lock:
                if request.granted.is_set():
                    self._give(request.slot)
                else:
                    self._urgent.remove(request)
            raise
        return request.slot

    def release(self, slot: int) -> None:
        """Give back a slot that `acquire` gave."""
        with self._lock:
            self._held.pop(slot, None)
            if slot >= 0:
                self._slots.give(slot)
            self._stir()

    def watch(self, descriptor: int, callback: Callable[[], bool]) -> None:
        """Call back, in the loop's thread, whenever `descriptor` is readable, until it says false.

        The descriptor stays the caller's.
        """
        with self._lock:
            self._watched[descriptor] = callback
            self._stir()

    def unwatch(self, descriptor: int) -> None:
        """Call back no more for a descriptor, which may be closed then."""
        with self._lock:
            if self._called == descriptor:
                self._called = -1
            if self._watched.pop(descriptor, None) is not None:
                self._forgotten.add(descriptor)
                self._stir()

    def abandon(self, nodes: Iterable[Node]) -> None:
        """Begin none of these, end those that run, and wait for their end."""
        with self._lock:
            nodes = [node for node in nodes if not self.drop(node) and not node.done.is_set()]
            for node in nodes:
                node.abandoned = True
        kill = False
        while nodes:
            with self._lock:  # one that is about to run is told the next time
                running = [node for node, _ in self._running.values() if node in nodes]
                if running:
                    self._runner.cancel(running, kill=kill)
            until = time.monotonic() + _PATIENCE
            for node in nodes:
                node.done.wait(max(0.0, until - time.monotonic()))
            nodes = [node for node in nodes if not node.done.is_set()]
            kill = True

    def close(self) -> None:
        """End all that runs, and begin nothing more."""
        with self._lock:
            self._closing = True
            thread = self._thread
            self._ready.clear()
            if thread is not None:
                self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._lock:
            self._closing = False

    # --- the loop

    def _stir(self) -> None:
        """Have the loop look at what is new; the lock is held."""
        if self._thread is not None:
            self._wake()
        elif self._has_work() and not self._closing:
            self._wake_in, self._wake_out = socket.socketpair()
            self._wake_in.setblocking(False)
            self._wake_out.setblocking(False)
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _wake(self) -> None:
        if self._wake_out is not None and threading.current_thread() is not self._thread:
            with contextlib.suppress(BlockingIOError):
                self._wake_out.send(b".")

    def _has_work(self) -> bool:
        return bool(self._running or self._watched or self._urgent or self._ready)

    def _run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                assert self._wake_in is not None
                selector.register(self._wake_in, selectors.EVENT_READ)
                while self._turn(selector):
                    pass
        except BaseException:
            self._give_up()
            raise

    def _turn(self, selector: selectors.BaseSelector) -> bool:
        """One turn of the loop; false: there is nothing left to do."""
        self._begin()
        with self._lock:
            if self._closing:
                self._end_all()
            if not self._has_work() or self._closing:
                self._thread = None
                for end in (self._wake_in, self._wake_out):
                    assert end is not None
                    end.close()
                return False
            # What is forgotten is closed as soon as the lock is free.
            free = self._slots.fileno() if self._waits_for_a_slot() else -1
            self._register(selector, {*self._running, *self._watched, free} - {-1})
            stuck = self._is_stuck()
        with record.waiting(free >= 0):
            ready = [key.fd for key, _ in selector.select(_STUCK if stuck else None)]
        if stuck and not ready:
            self._begin(force=True)
        for descriptor in ready:
            # Whoever is called back may close it, and its number may soon be another file's.
            if descriptor != self._wake_fileno():
                selector.unregister(descriptor)
        self._handle(ready)
        return True

    def _register(self, selector: selectors.BaseSelector, wanted: set[int]) -> None:
        known = {key.fd for key in selector.get_map().values()} - {self._wake_fileno()}
        # The number of one that is forgotten may be another file's by now.
        for descriptor in known & (self._forgotten | (known - wanted)):
            selector.unregister(descriptor)
        for descriptor in wanted - (known - self._forgotten):
            selector.register(descriptor, selectors.EVENT_READ)
        self._forgotten = set()

    def _is_stuck(self) -> bool:
        """Whether all slots are held by what nobody may ever end: it must not hold up the build."""
        waits = bool(self._urgent) and not self._running
        return waits and bool(self._held) and all(self._held.values())

    def _wake_fileno(self) -> int:
        return -1 if self._wake_in is None else self._wake_in.fileno()

    def _handle(self, descriptors: Iterable[int]) -> None:
        ended: list[Node] = []
        for descriptor in descriptors:
            if descriptor in self._running:
                with self._lock:
                    node, slot = self._running.pop(descriptor)
                if not self._runner.ended(node):
                    with self._lock:
                        self._note_failure(node)
                self._give(slot)
                ended.append(node)
            elif descriptor in self._watched:
                self._call_back(descriptor)
            elif descriptor == self._wake_fileno():
                with contextlib.suppress(BlockingIOError):
                    assert self._wake_in is not None
                    self._wake_in.recv(4096)
        if ended:
            self._begin()  # no slot stands empty while results are looked at
        for node in ended:
            self._finish(node)

    def _call_back(self, descriptor: int) -> None:
        """Call back for what is watched; it is no more by then, since whoever is called may close
        it, and the next one that is watched may have the same number."""
        with self._lock:
            callback = self._watched.pop(descriptor, None)
            self._called = descriptor
        again = callback is not None and callback()
        with self._lock:
            if again and callback is not None and self._called == descriptor:
                self._watched[descriptor] = callback
            self._called = -1

    def _finish(self, node: Node) -> None:
        try:
            succeeded = self._runner.finish(node)
        except Exception:  # what cannot be collected counts as failed, and runs again in its turn
            succeeded = False
        self._settle(node, failed=not succeeded)

    def _settle(self, node: Node, *, failed: bool) -> None:
        with self._lock:
            node.failed = failed
            if failed:
                self._note_failure(node)
            self._note_done(node)

    def _note_failure(self, node: Node) -> None:
        """Until the serial build is past it, nothing later begins: so there is a slot for it."""
        if not node.abandoned:
            self._failures.add(node.number)

    def _note_done(self, node: Node) -> None:
        node.begun = True
        if not node.done.is_set():
            for dependent in node.dependents:
                dependent.missing -= 1
                if not node.failed and not dependent.missing and not dependent.begun:
                    self._push(dependent)
            node.done.set()

    def _push(self, node: Node) -> None:
        if not node.is_external and not any(need.failed for need in node.needs):
            self._pushed += 1
            heapq.heappush(self._ready, (-node.cost, node.number, self._pushed, node))

    def _begin(self, *, force: bool = False) -> None:
        """Begin what can be begun; `force`: something, without a slot."""
        while True:
            with self._lock:
                found = None if self._closing else self._next(force=force)
                force = False
                if found is None:
                    return
                node, slot = found
                node.slot = slot
            try:
                descriptor = self._runner.start(node)
            except Exception:  # it cannot be begun: it fails in its turn, as it does without us
                self._give(slot)
                self._settle(node, failed=True)
                continue
            if descriptor is not None:
                with self._lock:
                    self._running[descriptor] = node, slot
            else:
                self._give(slot)
                self._finish(node)

    def _give(self, slot: int) -> None:
        if slot >= 0:
            self._slots.give(slot)

    def _next(self, *, force: bool) -> tuple[Node, int] | None:
        """A node to begin, and its slot; a thread that waits for a slot gets one on the way."""
        local_free = self._local is None or self._locals() < self._local
        while self._urgent:
            first = self._urgent[0]
            if isinstance(first, Node) and first.is_local and not local_free:
                break
            slot = -1 if force else self._slots.take()
            force = False
            if slot is None:
                return None
            self._urgent.popleft()
            if isinstance(first, Node):
                first.begun = True
                return first, slot
            first.slot = slot
            first.granted.set()
        kept = []
        found = None
        limit = min(self._failures, default=None)
        while self._ready:
            item = heapq.heappop(self._ready)
            node = item[-1]
            if node.begun or node.dropped:
                continue
            if (limit is not None and node.number > limit) or (node.is_local and not local_free):
                kept.append(item)
                continue
            slot = self._slots.take()
            if slot is None:
                kept.append(item)
            else:
                node.begun = True
                found = node, slot
            break
        for item in kept:
            heapq.heappush(self._ready, item)
        return found

    def _locals(self) -> int:
        return sum(node.is_local for node, _ in self._running.values())

    def _waits_for_a_slot(self) -> bool:
        """Whether something could begin if there were a slot; the lock is held."""
        if self._urgent:
            return True
        limit = min(self._failures, default=None)
        return any(
            not item[-1].begun
            and not item[-1].dropped
            and (limit is None or item[-1].number <= limit)
            for item in self._ready
        )

    # --- the end

    def _end_all(self) -> None:
        """End what runs: told first, so that a compiler can clean up; then killed."""
        for kill in (False, True):
            if self._running:
                self._runner.cancel([node for node, _ in self._running.values()], kill=kill)
            with selectors.DefaultSelector() as selector:
                for descriptor in self._running:
                    selector.register(descriptor, selectors.EVENT_READ)
                while self._running:
                    events = selector.select(None if kill else _PATIENCE)
                    if not events:
                        break
                    for key, _ in events:
                        selector.unregister(key.fd)
                        node, slot = self._running.pop(key.fd)
                        self._runner.ended(node)
                        self._give(slot)
                        node.failed = True
                        self._note_done(node)
        self._last_look()
        self._let_go()

    def _let_go(self) -> None:
        """Let nobody wait any more for what does not begin; the lock is held."""
        for each in self._urgent:
            if isinstance(each, Node):
                each.failed = True
                self._note_done(each)
            else:  # a thread that the build has left behind: nobody counts any more
                each.granted.set()
        self._urgent.clear()
        self._ready.clear()

    def _last_look(self) -> None:
        """Hear once more what is watched, and no more then."""
        with selectors.DefaultSelector() as selector:
            for descriptor in self._watched:
                selector.register(descriptor, selectors.EVENT_READ)
            for key, _ in selector.select(0) if self._watched else ():
                self._watched[key.fd]()
        self._watched.clear()

    def _give_up(self) -> None:
        """The loop cannot go on: whoever waits for it goes on without it."""
        with self._lock:
            self._thread = None
            for node, _ in self._running.values():
                node.failed = True
                self._note_done(node)
            self._let_go()
