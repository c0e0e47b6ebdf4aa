"""Units at work at once, and workers: what they hold is given back when one cannot begin."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_backend.engine import crew
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

    def start(self, unit: str) -> crew.Thread[str]:
        return crew.Thread(self.work, self.cancel, unit)


@pytest.mark.parametrize("error", [BlockingIOError("too many processes"), KeyboardInterrupt()])
@pytest.mark.parametrize("cannot", ["a", "b", "c"])
def test_a_unit_that_cannot_begin_gives_its_slot_back_and_the_others_are_ended(
    cannot: str, error: BaseException
) -> None:
    slots, units = TwoTokens(), Waiting()

    def start(unit: str) -> crew.Thread[str]:
        if unit == cannot:
            raise error
        return units.start(unit)

    with pytest.raises(type(error)) as caught:
        crew.run("abc", start, slots=slots, keep_going=False)
    assert caught.value is error
    assert sorted(slots.free) == [b"x", b"y"]
    assert slots.wanted == [2, 0]
    begun = "abc".partition(cannot)[0]
    assert sorted(units.told) == [(unit, signal.SIGTERM) for unit in begun]


@pytest.mark.parametrize("before", [0, 1], ids=["own slot", "token"])
def test_a_worker_that_cannot_begin_gives_its_slot_back(before: int) -> None:
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

    staff = Staff(cast("Any", SimpleNamespace(slots=slots)), None, cast("Any", Worker))
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

    def start(unit: str) -> crew.Thread[str]:
        if unit == "c":
            raise BlockingIOError("too many processes")
        return crew.Thread(units.work, cancel, unit)

    with pytest.raises(BlockingIOError):
        crew.run("abc", start, slots=slots, keep_going=False)
    assert {("a", signal.SIGTERM), ("b", signal.SIGKILL)} <= set(units.told)
    assert sorted(slots.free) == [b"x", b"y"]
