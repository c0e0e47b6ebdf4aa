"""Tasks with a slot each, the longest first: by fakes, and a pool that is real."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from parallel_backend.errors import JobserverError
from parallel_backend.jobserver import Pool, open_pool
from parallel_backend.tools.cli.endings import Endings
from parallel_backend.tools.cli.schedule import run_all

PATIENCE = 30


class Fake:
    """A task that runs until it is let go, or at once if nobody holds it."""

    def __init__(self, name: str, estimate: float = 1.0, *, fails: bool = False) -> None:
        self.name = name
        self.estimate = estimate
        self.go = threading.Event()
        self.cancels = 0
        #: Called by its thread when it runs, and after each cancel.
        self.then: Callable[[], None] = self.go.set
        self.when_cancelled: Callable[[], None] = self.go.set
        self._fails = fails

    def run(self) -> bool:
        self.then()
        assert self.go.wait(PATIENCE)
        return not self._fails

    def cancel(self) -> None:
        self.cancels += 1
        self.when_cancelled()


class Watcher:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.most = 0
        self._running = 0
        self.on_look: Callable[[], None] = lambda: None

    def begun(self, task: Fake) -> None:
        self.log.append(f"+{task.name}")
        self._running += 1
        self.most = max(self.most, self._running)

    def ended(self, task: Fake) -> None:
        self.log.append(f"-{task.name}")
        self._running -= 1

    def look(self) -> None:
        self.on_look()

    def order(self) -> str:
        return "".join(each[1:] for each in self.log if each[0] == "+")


@pytest.fixture
def endings() -> Iterator[Endings]:
    with Endings() as endings:
        yield endings


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


def pool_of(slots: int, tmp_path: Path) -> AbstractContextManager[Pool]:
    return open_pool(
        makeflags="", jobs=None, slots=lambda: slots, private=tmp_path, report=pytest.fail
    )


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with pool_of(2, tmp_path) as pool:
        yield pool


def free_tokens(pool: Pool) -> int:
    tokens = []
    while (token := pool.acquire()) is not None:
        tokens.append(token)
    for token in tokens:
        pool.release(token)
    return len(tokens)


def start(
    tasks: list[Fake], pool: Pool, watcher: Watcher, endings: Endings, **more: bool
) -> list[str]:
    reports: list[str] = []
    run_all(
        tasks,
        pool=pool,
        keep_going=more.get("keep_going", False),
        watch=watcher,
        endings=endings,
        report=reports.append,
    )
    return reports


def test_the_longest_begins_first(pool: Pool, watcher: Watcher, endings: Endings) -> None:
    tasks = [Fake("a", 1), Fake("b", 3), Fake("c", 2), Fake("d", 3)]
    assert start(tasks, pool, watcher, endings) == []
    assert watcher.order() == "bdca"
    assert sorted(watcher.log) == sorted([f"{sign}{name}" for sign in "+-" for name in "abcd"])
    assert free_tokens(pool) == 1


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_as_many_run_at_once_as_there_are_slots(
    tmp_path: Path, watcher: Watcher, endings: Endings, slots: int
) -> None:
    together = threading.Barrier(slots)
    tasks = [Fake(str(at)) for at in range(2 * slots)]
    for task in tasks:

        def meet(task: Fake = task) -> None:
            together.wait(PATIENCE)  # passes only when that many are here
            task.go.set()

        task.then = meet
    with pool_of(slots, tmp_path) as pool:
        start(tasks, pool, watcher, endings)
        assert free_tokens(pool) == slots - 1
    assert watcher.most == slots


def test_a_token_that_others_have_is_waited_for_while_the_own_slot_works(
    pool: Pool, watcher: Watcher, endings: Endings
) -> None:
    token = pool.acquire()
    assert token
    tasks = [Fake("a", 9), Fake("b"), Fake("c")]
    # The second one gives the token back: until then one after another runs.
    tasks[1].then = lambda: pool.release(token)
    tasks[1].go.set()
    start(tasks, pool, watcher, endings)
    assert watcher.log[:3] == ["+a", "-a", "+b"]
    assert free_tokens(pool) == 1


def test_the_own_slot_is_of_use_for_whoever_still_runs(
    pool: Pool, watcher: Watcher, endings: Endings
) -> None:
    """What a task starts can take tokens alone."""
    tasks = [Fake("a", 9), Fake("b", 1)]
    ended = threading.Event()
    tasks[1].then = lambda: None

    def look() -> None:
        if "-a" in watcher.log and not ended.is_set():
            ended.set()
            assert free_tokens(pool) == 1
            tasks[1].go.set()

    watcher.on_look = look
    start(tasks, pool, watcher, endings)
    assert watcher.log == ["+a", "+b", "-a", "-b"]
    assert free_tokens(pool) == 1


def test_after_a_failure_none_begins_and_those_that_run_go_on(
    pool: Pool, watcher: Watcher, endings: Endings
) -> None:
    tasks = [Fake("a", 9), Fake("b", 8, fails=True), Fake("c")]
    tasks[0].then = lambda: None
    watcher.on_look = lambda: tasks[0].go.set() if "-b" in watcher.log else None
    start(tasks, pool, watcher, endings)
    assert watcher.log == ["+a", "+b", "-b", "-a"]
    assert tasks[0].cancels == 0


def test_with_keep_going_all_begin(pool: Pool, watcher: Watcher, endings: Endings) -> None:
    tasks = [Fake("a", 9, fails=True), Fake("b", 8, fails=True), Fake("c")]
    start(tasks, pool, watcher, endings, keep_going=True)
    assert watcher.order() == "abc"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_what_runs_and_nothing_more_begins(
    pool: Pool, watcher: Watcher, endings: Endings, number: int
) -> None:
    tasks = [Fake("a", 9), Fake("b", 8), Fake("c")]
    both = threading.Barrier(2, action=lambda: os.kill(os.getpid(), number))
    for task in tasks[:2]:
        task.then = lambda: (both.wait(PATIENCE), None)[1]
    start(tasks, pool, watcher, endings)
    assert watcher.order() == "ab"
    assert [task.cancels for task in tasks] == [1, 1, 0]
    assert endings.number == number
    assert free_tokens(pool) == 1


def test_what_heeds_no_cancel_is_told_again_after_a_while_and_at_each_signal(
    pool: Pool, watcher: Watcher, endings: Endings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parallel_backend.tools.cli.schedule._AGAIN", 0.01)
    task = Fake("a")
    task.then = lambda: os.kill(os.getpid(), signal.SIGINT)

    def heed() -> None:
        if task.cancels == 2:
            os.kill(os.getpid(), signal.SIGINT)
        if task.cancels == 3:
            task.go.set()

    task.when_cancelled = heed
    start([task], pool, watcher, endings)
    assert task.cancels == 3
    assert endings.count == 2


def test_who_has_all_slots_does_not_look_for_more_without_end(
    tmp_path: Path, watcher: Watcher, endings: Endings
) -> None:
    """Where a user's limit is reached, tokens lie in the jobserver all the time."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    server = os.open(fifo, os.O_RDWR)
    os.write(server, b"+++++")
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    watcher.on_look = look
    tasks = [Fake("a", 3), Fake("b", 2), Fake("c")]
    for task in tasks[:2]:
        task.then = lambda: None
        threading.Timer(0.6, task.go.set).start()
    makeflags = f"-j --jobserver-auth=fifo:{fifo}"
    with open_pool(
        makeflags=makeflags, jobs=2, slots=lambda: 9, private=tmp_path, report=pytest.fail
    ) as pool:
        start(tasks, pool, watcher, endings)
    os.close(server)
    assert watcher.most == 2
    assert looks < 20


def test_where_nothing_can_be_shown_any_more_all_are_cancelled(
    pool: Pool, watcher: Watcher, endings: Endings
) -> None:
    def look() -> None:
        raise BrokenPipeError

    watcher.on_look = look
    tasks = [Fake("a", 3), Fake("b", 2), Fake("c")]
    for task in tasks:
        task.then = lambda: None
    with pytest.raises(BrokenPipeError):
        start(tasks, pool, watcher, endings)
    assert [task.cancels for task in tasks] == [1, 1, 0]


def test_a_pool_that_breaks_is_told_once_and_one_after_another_runs(
    pool: Pool, watcher: Watcher, endings: Endings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire() -> bytes:
        raise JobserverError("it is gone")

    monkeypatch.setattr(pool, "acquire", acquire)
    reports = start([Fake("a"), Fake("b"), Fake("c")], pool, watcher, endings)
    assert reports == ["it is gone; going on with one project after another"]
    assert watcher.most == 1
    assert watcher.order() == "abc"


def test_a_pool_that_takes_no_token_back_is_told_once(
    pool: Pool, watcher: Watcher, endings: Endings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def release(token: bytes) -> None:
        raise JobserverError("it is gone")

    monkeypatch.setattr(pool, "release", release)
    both = threading.Barrier(2)
    tasks = [Fake("a", 3), Fake("b", 2), Fake("c")]
    for task in tasks[:2]:
        task.then = lambda task=task: (both.wait(PATIENCE), task.go.set())[1]  # type: ignore[misc]
    assert len(start(tasks, pool, watcher, endings)) == 1
    assert watcher.order() == "abc"


def test_signals_are_as_they_were_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    saved = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Endings() as endings:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        assert (endings.number, endings.count) == (signal.SIGTERM, 2)
    finally:
        signal.signal(signal.SIGHUP, saved)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
