"""The loop that decides which command runs next, with a runner that runs nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterable, Iterator

import pytest

from parallel_backend.build.nodes import Node
from parallel_backend.build.scheduler import Scheduler

_SECONDS = 20


class FakeRunner:
    """Commands that end when a test says so."""

    def __init__(self) -> None:
        self.started: list[Node] = []
        self.cancelled: list[tuple[Node, bool]] = []
        self.fails: set[Node] = set()
        self.is_done_at_once: set[Node] = set()
        self.cannot_start: set[Node] = set()
        self.ends_when_told = True
        self._ends: dict[Node, tuple[socket.socket, socket.socket]] = {}
        self._changed = threading.Condition()

    def start(self, node: Node) -> int | None:
        with self._changed:
            self._ends[node] = socket.socketpair()
            self.started.append(node)
            self._changed.notify_all()
        if node in self.cannot_start | self.is_done_at_once:
            self.ended(node)
            if node in self.cannot_start:
                raise FileNotFoundError("no such program")
            return None
        return self._ends[node][0].fileno()

    def ended(self, node: Node) -> bool:
        for end in self._ends.pop(node):
            end.close()
        return node not in self.fails

    def finish(self, node: Node) -> bool:
        return node not in self.fails

    def cancel(self, nodes: Iterable[Node], *, kill: bool) -> None:
        for node in nodes:
            self.cancelled.append((node, kill))
            if kill or self.ends_when_told:
                self.end(node)

    def end(self, *nodes: Node, fails: bool = False) -> None:
        """Let commands that run end."""
        for node in nodes:
            self.wait_for(node)
            if fails:
                self.fails.add(node)
            self._ends[node][1].send(b".")

    def wait_for(self, *nodes: Node) -> None:
        """Wait until commands have been started."""
        with self._changed:
            assert self._changed.wait_for(lambda: {*nodes} <= {*self.started}, _SECONDS)


class FakeSlots:
    """A number of slots, of which a test may hold back some."""

    def __init__(self, number: int) -> None:
        self.free = set(range(number))
        self.most = 0
        self.number = number
        #: Threads that were told that there is no slot.
        self.refused: set[threading.Thread] = set()
        self._here, self._there = socket.socketpair()

    def take(self) -> int | None:
        if not self.free:
            self.refused.add(threading.current_thread())
            return None
        slot = min(self.free)
        self.free.remove(slot)
        self.most = max(self.most, self.number - len(self.free))
        return slot

    def give(self, number: int) -> None:
        assert number not in self.free
        self.free.add(number)

    def fileno(self) -> int:
        return self._here.fileno()

    def close(self) -> None:
        self._here.close()
        self._there.close()

    def one_comes(self) -> None:
        """A token that another build gives back."""
        self.free.add(self.number)
        self.number += 1
        self._there.send(b"+")


@contextlib.contextmanager
def scheduler(
    slots: int, *, local: int | None = None
) -> Iterator[tuple[Scheduler, FakeRunner, FakeSlots]]:
    runner, held = FakeRunner(), FakeSlots(slots)
    made = Scheduler(runner, held, local=local)
    try:
        yield made, runner, held
    finally:
        made.close()
        held.close()
    assert len(held.free) == held.number


def wait(*nodes: Node) -> None:
    for node in nodes:
        assert node.done.wait(_SECONDS)


def add(made: Scheduler, *nodes: Node) -> None:
    for node in nodes:
        made.add(node)


def test_no_more_runs_than_there_are_slots_and_none_stands_empty() -> None:
    with scheduler(3) as (made, runner, slots):
        nodes = [Node(number) for number in range(8)]
        add(made, *nodes)
        for count in range(8):
            runner.wait_for(*nodes[: min(8, count + 3)])
            assert len(runner.started) == min(8, count + 3)
            runner.end(nodes[count])
        wait(*nodes)
        assert slots.most == 3


def test_the_costliest_that_is_ready_begins_first() -> None:
    with scheduler(1) as (made, runner, _):
        first = Node(0)
        made.add(first)
        runner.wait_for(first)
        nodes = [Node(1, cost=5), Node(2, cost=50), Node(3, cost=50), Node(4, cost=1)]
        add(made, *nodes)
        order = [first, nodes[1], nodes[2], nodes[0], nodes[3]]
        for node in order:
            runner.end(node)
        wait(*nodes)
        assert runner.started == order


def test_a_node_begins_when_all_that_it_needs_is_done() -> None:
    with scheduler(4) as (made, runner, _):
        one, two = Node(0), Node(1)
        link = Node(2, cost=1000, needs=(one, two))
        last = Node(3, needs=(link,))
        add(made, one, two, link, last)
        runner.end(one)
        wait(one)
        assert link not in runner.started
        runner.end(two)
        runner.end(link)
        runner.end(last)
        wait(last)


def test_what_is_waited_for_is_the_next_to_run() -> None:
    with scheduler(1) as (made, runner, _):
        first, costly, wanted = Node(0), Node(1, cost=99), Node(2)
        made.add(first)
        runner.wait_for(first)
        made.add(costly)
        made.add(wanted, urgent=True)
        runner.end(first)
        runner.end(wanted)
        runner.end(costly)
        wait(costly)
        assert runner.started == [first, wanted, costly]


def test_a_thread_that_runs_something_itself_waits_for_a_slot_and_gives_it_back() -> None:
    with scheduler(1) as (made, runner, slots):
        first, second = Node(0), Node(1)
        add(made, first, second)
        runner.wait_for(first)
        got: list[int] = []
        thread = threading.Thread(target=lambda: got.append(made.acquire()))
        thread.start()
        while thread not in slots.refused:
            thread.join(0.001)
        runner.end(first)
        thread.join(_SECONDS)
        assert got == [0]
        assert second not in runner.started
        made.release(0)
        runner.end(second)
        wait(second)


def test_after_a_failure_nothing_later_begins_until_the_serial_build_is_past_it() -> None:
    with scheduler(2) as (made, runner, _):
        broken, earlier, later = Node(5, cost=9), Node(1, cost=8), Node(7, cost=7)
        made.add(broken)
        runner.wait_for(broken)
        add(made, earlier)
        runner.wait_for(earlier)
        runner.end(broken, fails=True)
        wait(broken)
        add(made, later, also_earlier := Node(4))
        runner.end(earlier)
        runner.end(also_earlier)
        wait(also_earlier)
        assert later not in runner.started
        made.passed(4)
        made.passed(5)
        runner.end(later)
        wait(later)
        assert broken.failed


def test_what_needs_something_that_failed_does_not_begin() -> None:
    with scheduler(2) as (made, runner, _):
        broken = Node(0)
        link = Node(1, needs=(broken,))
        add(made, broken, link)
        runner.end(broken, fails=True)
        wait(broken)
        made.passed(0)
        made.add(other := Node(2))
        runner.end(other)
        wait(other)
        assert link not in runner.started


def test_a_command_that_cannot_be_started_has_failed() -> None:
    with scheduler(1) as (made, runner, _):
        node, other = Node(0), Node(1)
        runner.cannot_start.add(node)
        made.add(node, urgent=True)
        wait(node)
        assert node.failed
        made.passed(0)
        made.add(other)
        runner.end(other)
        wait(other)


def test_what_is_done_without_a_process_frees_its_slot_at_once() -> None:
    with scheduler(1) as (made, runner, _):
        nodes = [Node(number) for number in range(500)]
        runner.is_done_at_once.update(nodes)
        add(made, *nodes)
        wait(*nodes)


def test_a_node_that_is_external_holds_back_what_needs_it() -> None:
    with scheduler(2) as (made, runner, _):
        swig = Node(0, is_external=True)
        compile = Node(1, needs=(swig,))
        add(made, swig, compile, other := Node(2))
        runner.end(other)
        wait(other)
        assert runner.started == [other]
        made.settle(swig, failed=False)
        runner.end(compile)
        wait(compile)


def test_a_node_that_is_dropped_does_not_begin_and_one_that_has_begun_is_not_dropped() -> None:
    with scheduler(1) as (made, runner, _):
        first, second, third = Node(0), Node(1), Node(2)
        add(made, first, second, third)
        runner.wait_for(first)
        assert not made.drop(first)
        assert made.drop(second)
        runner.end(first)
        runner.end(third)
        wait(third)
        assert second not in runner.started


def test_no_more_local_nodes_run_than_the_machine_has_slots() -> None:
    with scheduler(8, local=2) as (made, runner, _):
        links = [Node(number, cost=100, is_local=True) for number in range(4)]
        others = [Node(number) for number in range(10, 14)]
        add(made, *links, *others)
        runner.wait_for(*others, *links[:2])
        assert links[2] not in runner.started
        runner.end(links[0])
        runner.wait_for(links[2])
        assert links[3] not in runner.started
        runner.end(links[1])
        runner.end(links[2], links[3], *others)
        wait(*links, *others)


def test_a_token_that_comes_free_elsewhere_begins_one_more() -> None:
    with scheduler(1) as (made, runner, slots):
        nodes = [Node(0), Node(1)]
        add(made, *nodes)
        runner.wait_for(nodes[0])
        slots.one_comes()
        runner.wait_for(nodes[1])
        runner.end(*nodes)
        wait(*nodes)


def test_a_descriptor_is_watched_until_its_callback_says_so() -> None:
    with scheduler(1) as (made, _, _):
        here, there = socket.socketpair()
        seen: list[bytes] = []
        over = threading.Event()

        def callback() -> bool:
            seen.append(here.recv(1))
            if seen[-1] == b"2":
                over.set()
            return seen[-1] != b"2"

        made.watch(here.fileno(), callback)
        there.send(b"1")
        there.send(b"2")
        assert over.wait(_SECONDS)
        assert seen == [b"1", b"2"]
        here.close()
        there.close()


@pytest.mark.parametrize("obedient", [True, False])
def test_closing_ends_what_runs_and_begins_nothing(obedient: bool) -> None:
    with scheduler(2) as (made, runner, _):
        runner.ends_when_told = obedient
        nodes = [Node(number) for number in range(3)]
        add(made, *nodes)
        runner.wait_for(*nodes[:2])
        made.close()
        assert runner.started == nodes[:2]
        assert [kill for _, kill in runner.cancelled] == ([False] * 2 + [True] * 2)[
            : 2 + 2 * (not obedient)
        ]
        assert all(node.failed for node in nodes[:2])


def test_the_thread_is_there_only_while_there_is_something_to_do() -> None:
    before = threading.active_count()
    with scheduler(2) as (made, runner, _):
        for number in range(20):
            made.add(node := Node(number))
            runner.end(node)
            wait(node)
        for thread in threading.enumerate():
            if thread is not threading.main_thread():
                thread.join(0.2)
        assert threading.active_count() <= before + 1
    assert threading.active_count() == before


def test_what_is_watched_next_may_have_the_number_of_what_has_just_ended() -> None:
    """As the descriptors of programs that a project runs one after another, many times."""
    with scheduler(2) as (made, _, _):

        def begin() -> None:
            slot = made.acquire()
            reader, writer = os.pipe()

            def ended() -> bool:
                os.close(reader)
                made.release(slot)
                return False

            made.watch(reader, ended)
            os.close(writer)

        def run() -> None:
            for _ in range(3000):
                begin()
            made.release(made.acquire())

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(_SECONDS)
        assert not thread.is_alive()
