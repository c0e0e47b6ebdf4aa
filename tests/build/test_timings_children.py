"""What children used is on record, and they are waited for as `subprocess` does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_backend.engine.output import Job, capturing
from parallel_backend.process_state.groups import close_record, make_record
from parallel_backend.timings.record import recording, span
from parallel_backend.tools.timings.events import Event, read_events

SPIN = "import time\nwhile time.process_time() < 0.1: pass\nb = bytearray(200 << 20)"


@pytest.fixture(params=["in a job", "in none"])
def record(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Where processes of a build are on record: those of a job, and those of setup.py itself."""
    make_record(tmp_path)
    try:
        with capturing(tmp_path), recording(tmp_path / "record"):
            if request.param == "in a job":
                with Job().current() as job:
                    yield tmp_path / "record"
                job.close()
            else:
                yield tmp_path / "record"
    finally:
        close_record(tmp_path)


def programs(record: Path) -> list[Event]:
    return [event for event in read_events(record) if event.kind == "program"]


def test_a_childs_processor_time_and_peak_memory_are_its_own(record: Path) -> None:
    with span("link", "a.so") as link:
        subprocess.run([sys.executable, "-c", SPIN], check=True)
    [event] = programs(record)
    assert event.name == os.path.basename(sys.executable)
    assert event.up == link.id
    assert 0.1e9 <= event.details["cpu"] <= event.length
    assert 200 << 20 <= event.details["peak"] < 400 << 20
    assert event.details["least"] < 200 << 20


@pytest.mark.parametrize("poll", [False, True], ids=["wait", "poll"])
@pytest.mark.parametrize(
    ("code", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", -signal.SIGKILL)]
)
def test_exit_statuses_and_signals_are_as_ever(
    record: Path, code: str, status: int, poll: bool
) -> None:
    process = subprocess.Popen(["sh", "-c", code])
    if poll:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process.poll() == status
    assert process.wait() == status
    assert process.poll() == process.returncode == status
    [event] = programs(record)
    assert event.details["status"] == status
    assert event.result == ("failed" if status else "done")
    assert "cpu" in event.details


def test_a_wait_that_is_over_too_early_raises_and_may_be_repeated(record: Path) -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.01)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(programs(record)) == 1


def test_a_child_that_somebody_else_has_waited_for_is_no_error(record: Path) -> None:
    process = subprocess.Popen(["sh", "-c", "exit 3"])
    os.waitpid(process.pid, 0)
    assert process.wait() == 0  # as `subprocess` has it: nothing is known
    assert "cpu" not in programs(record)[0].details


def test_without_wait4_children_are_waited_for_all_the_same(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parallel_backend.engine.output._HAS_WAIT4", False)
    first = subprocess.Popen(["sh", "-c", "exit 3"])
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    assert first.poll() == 3
    assert subprocess.call("exit 4", shell=True) == 4
    assert [event.details.get("cpu") for event in programs(record)] == [None, None]
    assert [event.details["status"] for event in programs(record)] == [3, 4]
