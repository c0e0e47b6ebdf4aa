"""Units at work at once, and workers: what they hold is given back when one cannot begin."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hook_process_fixtures import descriptors
from parallel_backend.engine import crew
from parallel_backend.engine import staff as engine_staff
from parallel_backend.engine.staff import Staff


class TwoTokens:
    """Slots: the own one and two more; what was asked and given is kept."""

    def __init__(self) -> None:
        self.free = [b"x", b"y"]
        self.wanted: list[int] = []

    def want(self, number: int) -> None:
        self.wanted.append(number)

    def fileno(self) -> int:
        return -1

    def take(self) -> bytes | None:
        return self.free.pop(0) if self.free else None

    def give(self, token: bytes) -> None:
        self.free.append(token)


class NoTokens(TwoTokens):
    """The own slot alone."""

    def take(self) -> bytes | None:
        return None


class Waiting:
    """Units that work until they are told to end; what they were told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self._ended = {name: threading.Event() for name in "abc"}

    def work(self, unit: str) -> bool:
        return not self._ended[unit].wait(60)

    def cancel(self, unit: str, number: int) -> None:
        self.told.append((unit, number))
        self._ended[unit].set()


@pytest.mark.parametrize("error", [BlockingIOError("too many processes"), KeyboardInterrupt()])
@pytest.mark.parametrize("cannot", ["a", "b", "c"])
def test_a_unit_that_cannot_begin_gives_its_slot_back_and_the_others_are_ended(
    cannot: str, error: BaseException
) -> None:
    slots, units = TwoTokens(), Waiting()

    with crew.Threads(units.work, units.cancel) as threads:

        def start(unit: str) -> crew.InThread[str]:
            if unit == cannot:
                raise error
            return threads(unit)

        with pytest.raises(type(error)) as caught:
            crew.run("abc", start, slots=slots, keep_going=False)
    assert caught.value is error
    assert threading.active_count() == 1
    assert sorted(slots.free) == [b"x", b"y"]
    assert slots.wanted == [2, 0]
    begun = "abc".partition(cannot)[0]
    assert sorted(units.told) == [(unit, signal.SIGTERM) for unit in begun]


@pytest.mark.parametrize("before", [0, 1], ids=["own slot", "token"])
def test_a_worker_that_cannot_begin_gives_its_slot_back(
    before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = TwoTokens()
    begun: list[Any] = []

    class Worker:
        """Begins, and has nothing to say; the last one cannot begin."""

        def __init__(self, _engine: Any, _command: Any, _others: Any) -> None:
            if len(begun) == before:
                raise BlockingIOError("too many processes")
            self.inlet, self.outlet = os.pipe()
            self.connection = SimpleNamespace(fileno=lambda: self.inlet, send=lambda _: None)
            begun.append(self)

        @staticmethod
        def kill(workers: list[Worker]) -> None:
            for worker in workers:
                os.close(worker.inlet)
                os.close(worker.outlet)
                begun.remove(worker)

    monkeypatch.setattr(engine_staff, "ForkWorker", Worker)
    staff = Staff(cast("Any", SimpleNamespace(slots=slots)), None)
    with pytest.raises(BlockingIOError, match="too many processes"):
        staff.employ([0, 1, 2])
    assert sorted(slots.free) == [b"x", b"y"]
    staff.close()
    assert not begun
    assert sorted(slots.free) == [b"x", b"y"]


def test_what_does_not_end_when_it_is_told_to_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_PATIENCE", 0.01)
    slots, units = TwoTokens(), Waiting()
    heeded: Callable[[str, int], None] = units.cancel

    def cancel(unit: str, number: int) -> None:
        if number == signal.SIGKILL:
            monkeypatch.setattr(crew, "_PATIENCE", 60)  # what is killed ends, whenever that is
        if number == signal.SIGKILL or unit == "a":
            heeded(unit, number)

    with crew.Threads(units.work, cancel) as threads:

        def start(unit: str) -> crew.InThread[str]:
            if unit == "c":
                raise BlockingIOError("too many processes")
            return threads(unit)

        with pytest.raises(BlockingIOError):
            crew.run("abc", start, slots=slots, keep_going=False)
    assert {("a", signal.SIGTERM), ("b", signal.SIGKILL)} <= set(units.told)
    assert sorted(slots.free) == [b"x", b"y"]


def test_a_thread_does_one_unit_after_another_and_none_is_left() -> None:
    slots = TwoTokens()
    done: list[tuple[str, str | None, int]] = []
    before = descriptors()

    def work(unit: str) -> bool:
        done.append((unit, place.get(), threading.get_ident()))
        return True

    place: ContextVar[str | None] = ContextVar("place", default=None)
    with crew.Threads(work, lambda *_: None) as threads:

        def start(unit: str) -> crew.InThread[str]:
            token = place.set(unit)
            try:
                return threads(unit)
            finally:
                place.reset(token)

        crew.run("abcdefghij", start, slots=slots, keep_going=False)
    # Each sees what was set when it was begun, and nothing of the one before.
    assert sorted((unit, seen) for unit, seen, _ in done) == [(unit, unit) for unit in "abcdefghij"]
    assert len({thread for *_, thread in done}) <= 3
    assert threading.active_count() == 1
    assert descriptors() == before
    assert sorted(slots.free) == [b"x", b"y"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_in_its_unit_is_replaced() -> None:
    done: list[str] = []
    before = descriptors()

    def work(unit: str) -> bool:
        if unit == "a":
            raise SystemExit
        if unit == "b":
            raise AssertionError(unit)
        done.append(unit)
        return True

    with crew.Threads(work, lambda *_: None) as threads:
        crew.run("abc", threads, slots=NoTokens(), keep_going=True)
    assert done == ["c"]
    assert descriptors() == before


def test_where_no_thread_can_be_made_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = descriptors()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with (
        crew.Threads[str](lambda _: True, lambda *_: None) as threads,
        pytest.raises(RuntimeError, match="can't start new thread"),
    ):
        crew.run("abc", threads, slots=TwoTokens(), keep_going=False)
    assert descriptors() == before


def test_a_thread_that_cannot_be_ended_ends_when_its_unit_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crew, "_PATIENCE", 0.01)
    end = threading.Event()
    begun: list[str] = []

    def work(unit: str) -> bool:
        begun.append(unit)
        return unit == "a" and end.wait(60)

    with crew.Threads(work, lambda *_: None) as threads:
        crew.run("ab", threads, slots=TwoTokens(), keep_going=False)
    assert sorted(begun) == ["a", "b"]
    [stuck] = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    end.set()
    stuck.join(60)
    assert not stuck.is_alive()
