"""A large tree is walked by two processes, and all is found once."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallel_backend.tools.bytecode import Options, Report, compile_tree, helper, tree
from parallel_backend.tools.bytecode.helper import Helper, can_help

pytestmark = [
    pytest.mark.single_threaded,
    pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone"),
]

FOLDERS = 60
TIMES = Options(mode="timestamp")


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    for name in ("MAKEFLAGS", "PARALLEL_BACKEND_JOBS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A tree of folders with two sources each, one of them below another folder."""
    for number in range(FOLDERS):
        for folder in (tmp_path / f"p{number}", tmp_path / f"p{number}/deep/er"):
            folder.mkdir(parents=True)
            (folder / "m.py").write_text(f"number = {number}\n")
    (tmp_path / "p3/m.py").write_text("def (\n")
    return tmp_path


def compiled(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.pyc"))


def counted(report: Report) -> tuple[int, int, int, list[str]]:
    paths = [os.path.basename(os.path.dirname(each.path)) for each in report.failures]
    return report.files, report.compiled, report.up_to_date, paths


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each fork told."""
    told: list[Any] = []
    result = Helper.result

    def noted(self: Helper) -> Any:
        told.append(result(self))
        return told[-1]

    monkeypatch.setattr(Helper, "result", noted)
    return told


def test_all_is_compiled_and_then_up_to_date(large: Path, forks: list[Any]) -> None:
    assert counted(compile_tree(large, TIMES)) == (2 * FOLDERS, 2 * FOLDERS - 1, 0, ["p3"])
    assert len(compiled(large)) == 2 * FOLDERS - 1
    assert counted(compile_tree(large, TIMES)) == (2 * FOLDERS, 0, 2 * FOLDERS - 1, ["p3"])
    assert len(forks) == 2


@pytest.fixture
def _the_fork_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(self: Helper) -> Iterator[int]:
        while os.waitid(os.P_PID, self._process, os.WEXITED | os.WNOWAIT) is None:
            raise AssertionError
        return numbers(self)

    numbers = Helper.numbers
    monkeypatch.setattr(Helper, "numbers", slow)


@pytest.mark.usefixtures("_the_fork_comes_first")
def test_a_folder_that_a_fork_cannot_list_is_told(
    large: Path, forks: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: str) -> Any:
        if os.path.basename(folder) == "p5":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(folder)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", refuse)
    report = compile_tree(large, TIMES)
    assert forks[0] is not None
    assert [(each.path, each.message) for each in report.failures if "p5" in each.path] == [
        (str(large / "p5"), "cannot be listed: Permission denied")
    ]
    assert report.files == 2 * FOLDERS - 2


@pytest.mark.usefixtures("_the_fork_comes_first")
def test_a_fork_that_finds_too_much_is_as_none(
    large: Path, forks: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MOST_TOLD", 1)
    assert counted(compile_tree(large, TIMES)) == (2 * FOLDERS, 2 * FOLDERS - 1, 0, ["p3"])
    assert forks == [None]


@pytest.mark.parametrize("name", ["MAKEFLAGS", "PARALLEL_BACKEND_JOBS"])
def test_who_sets_the_jobs_gets_no_fork(
    large: Path, forks: list[Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1" if name == "PARALLEL_BACKEND_JOBS" else "")
    assert compile_tree(large, TIMES).files == 2 * FOLDERS
    monkeypatch.delenv(name)
    assert compile_tree(large, TIMES, jobs=1).up_to_date == 2 * FOLDERS - 1
    assert forks == []


def test_there_is_no_fork_beside_a_thread_or_on_one_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert can_help()
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    assert not can_help()
    end.set()
    thread.join()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert not can_help()
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert not can_help()


def test_each_number_is_seen_to_once() -> None:
    with Helper(1000, lambda numbers: [*numbers]) as both:
        ours = [*both.numbers()]
        theirs = both.result()
    assert sorted([*ours, *theirs]) == [*range(1000)]
    assert both.left() == []


def test_what_a_fork_took_that_failed_is_left() -> None:
    def fails(numbers: Iterator[int]) -> None:
        next(numbers)
        os._exit(7)

    with Helper(3, fails) as alone:
        os.waitid(os.P_PID, alone._process, os.WEXITED | os.WNOWAIT)
        assert [*alone.numbers()] == [1, 2]
        assert alone.result() is None
    assert alone.left() == [0]


def test_more_folders_than_a_pipe_holds_are_seen_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "MOST_NUMBERS", 3)
    with Helper(5, lambda _: None) as two:
        assert [*two.numbers()] == [0, 1, 2]
        two.result()
    assert two.left() == [3, 4]


def test_a_walk_that_is_given_up_ends_its_fork() -> None:
    def sleeps(_: Iterator[int]) -> None:
        time.sleep(600)

    with pytest.raises(KeyboardInterrupt), Helper(1, sleeps) as asleep:
        raise KeyboardInterrupt
    with pytest.raises(ProcessLookupError):
        os.kill(asleep._process, 0)


def test_a_walk_that_an_error_ends_leaves_no_fork(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helpers: list[Helper] = []
    start = Helper.__init__

    def noted(self: Helper, *args: Any) -> None:
        start(self, *args)
        helpers.append(self)

    def end(*_: object) -> None:
        if helpers:
            raise KeyboardInterrupt

    monkeypatch.setattr(Helper, "__init__", noted)
    with pytest.raises(KeyboardInterrupt) as ended:
        compile_tree(large, progress=end)
    assert ended.traceback  # its frames are still there
    with pytest.raises(ProcessLookupError):
        os.kill(helpers[0]._process, 0)


def test_where_no_process_can_be_made_all_is_found(
    large: Path, forks: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_tree(large, TIMES)
    before = len(os.listdir("/proc/self/fd"))

    def fork() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", fork)
    assert compile_tree(large, TIMES).up_to_date == 2 * FOLDERS - 1
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(forks) == 1
