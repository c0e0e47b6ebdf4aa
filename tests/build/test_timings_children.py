"""What children used is on record, and they are waited for as `subprocess` does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallel_backend.build import interception
from parallel_backend.build.costs import Costs
from parallel_backend.build.replay import Replay
from parallel_backend.build.scheduler import Scheduler
from parallel_backend.hook_process.process_groups import close_record, make_record
from parallel_backend.records.record import Records
from parallel_backend.records.store import open_store
from parallel_backend.timings import Tally
from parallel_backend.timings.record import recording, span
from parallel_backend.tools.timings.events import Event, read_events

SPIN = "import time\nwhile time.process_time() < 0.1: pass\nb = bytearray(200 << 20)"


class OneSlot:
    """A slot for whatever asks."""

    def take(self) -> int | None:
        return 0

    def give(self, number: int) -> None:
        pass

    def fileno(self) -> int:
        return -1


class Recorded:
    """Processes of a build that are on record: those of setup.py itself."""

    def __init__(self, folder: Path, scheduler: Scheduler) -> None:
        self._file = folder / "record"
        self._scheduler = scheduler

    def programs(self) -> list[Event]:
        """Those that have ended."""
        self._scheduler.close()
        return [event for event in read_events(self._file) if event.kind == "program"]


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    make_record(tmp_path)
    runner: Any = None
    scheduler = Scheduler(runner, OneSlot())
    store = open_store(tmp_path / "build", tmp_path, limit=1 << 20, fresh=False)
    records = Records(store, folder=str(tmp_path), temporary="", build="b")
    try:
        with recording(tmp_path / "record"):
            replay = Replay(scheduler, records, Tally(), Costs(), str(tmp_path))
            with interception.installed(replay, tmp_path):
                yield Recorded(tmp_path, scheduler)
    finally:
        scheduler.close()
        close_record(tmp_path)


@pytest.mark.parametrize("poll", [False, True], ids=["wait", "poll"])
@pytest.mark.parametrize(
    ("code", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", -signal.SIGKILL)]
)
def test_exit_statuses_and_signals_are_as_ever(
    recorded: Recorded, code: str, status: int, poll: bool
) -> None:
    process = subprocess.Popen(["sh", "-c", code])
    if poll:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process.poll() == status
    assert process.wait() == status
    assert process.poll() == process.returncode == status
    [event] = recorded.programs()
    assert event.name == "sh"
    assert event.details["status"] == status
    assert event.result == ("failed" if status else "done")


def test_a_wait_that_is_over_too_early_raises_and_may_be_repeated(recorded: Recorded) -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.01)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(recorded.programs()) == 1


def test_a_child_that_somebody_else_has_waited_for_is_no_error(recorded: Recorded) -> None:
    process = subprocess.Popen(["sh", "-c", "exit 3"])
    os.waitpid(process.pid, 0)
    assert process.wait() == 0  # as `subprocess` has it: nothing is known
    assert len(recorded.programs()) == 1


def test_whoever_sees_its_end_first_the_status_is_known(recorded: Recorded) -> None:
    """The scheduler sees that a child has ended, and somebody who waits takes its status away."""
    for _ in range(200):
        assert subprocess.call(["sh", "-c", "exit 3"]) == 3
    programs = recorded.programs()
    assert {event.details["status"] for event in programs} == {3}
    assert all("cpu" in event.details for event in programs)
    assert len(programs) == 200


def test_what_a_childs_processes_used_is_its_own(recorded: Recorded) -> None:
    """Also of one that has ended long before somebody waits for it."""
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    late = subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE)
    os.waitid(os.P_PID, late.pid, os.WEXITED | os.WNOWAIT)
    between = time.monotonic_ns()
    time.sleep(0.1)  # time for the scheduler to see its end
    late.communicate()
    programs = recorded.programs()
    assert len(programs) == 2
    for event in programs:
        assert event.name == os.path.basename(sys.executable)
        assert 0.1e9 <= event.details["cpu"] <= event.length
        assert 200 << 20 <= event.details["peak"] < 400 << 20
        assert event.details["least"] < 200 << 20
        assert event.result == "done"
    assert programs[1].end < between + 0.05e9


def test_a_fork_notes_nothing(tmp_path: Path) -> None:
    """That of a recorder would end at its first write."""
    file = tmp_path / "record"
    with recording(file), span("hook", "build_wheel"):
        pid = os.fork()
        if pid == 0:
            with span("command", "build_ext"):
                pass
            os._exit(0)
        os.waitpid(pid, 0)
        with span("command", "build_py"):
            pass
    assert [event.name for event in read_events(file)] == ["build_wheel", "build_py"]
