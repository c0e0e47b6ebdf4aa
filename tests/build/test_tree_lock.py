"""One build of a tree at a time, and how the one that waits knows the other."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import SOURCE
from parallel_backend.errors import TreeLockError
from parallel_backend.records.tree_lock import tree_lock

HOLD = """
import sys
from pathlib import Path
from parallel_backend.records.tree_lock import tree_lock
with tree_lock(Path(sys.argv[1]), timeout=60, report=print):
    print("held", flush=True)
    sys.stdin.readline()
    {body}
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def is_locked(lock: Path) -> bool:
    """As another build of the tree finds it."""
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def another_build(lock: Path, body: str = "pass") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until it is told something."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD.format(body=body), lock],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_tree_is_locked_until_its_build_ends_however_it_ends(lock: Path) -> None:
    reports: list[str] = []

    def build() -> None:
        with tree_lock(lock, timeout=1, report=reports.append):
            assert is_locked(lock)
            raise KeyboardInterrupt

    before = os.listdir("/proc/self/fd")
    with pytest.raises(KeyboardInterrupt):
        build()
    assert not is_locked(lock)
    assert not reports
    assert os.listdir("/proc/self/fd") == before


def test_waiting_names_the_other_build_and_ends_with_it(lock: Path) -> None:
    reports: list[str] = []
    with another_build(lock) as other:

        def report(line: str) -> None:
            reports.append(line)
            assert other.stdin is not None
            print(file=other.stdin, flush=True)

        with tree_lock(lock, timeout=60, report=report):
            assert is_locked(lock)
    assert reports == [f"waiting for another build of this tree (pid {other.pid}) to finish"]


def test_a_build_that_is_killed_holds_no_lock(lock: Path) -> None:
    with another_build(lock) as other:
        other.kill()
        other.wait()
    with tree_lock(lock, timeout=1, report=pytest.fail):
        assert is_locked(lock)


def test_waiting_has_an_end(lock: Path) -> None:
    with another_build(lock) as other:
        with (
            pytest.raises(TreeLockError, match=rf"pid {other.pid}\) is still running after 0.1 s"),
            tree_lock(lock, timeout=0.1, report=print),
        ):
            pytest.fail("it did not wait")
        assert is_locked(lock)


def test_a_build_that_a_build_has_started_does_not_wait(lock: Path) -> None:
    """Whatever its environment, and by whatever processes in between."""
    nested = HOLD.format(body="pass").replace("sys.stdin.readline()", "pass")
    command = [sys.executable, "-c", nested, str(lock)]
    with tree_lock(lock, timeout=1, report=pytest.fail):
        done = subprocess.run(
            ["sh", "-c", '"$@"; exit $?', "sh", *command],
            env={"PYTHONPATH": str(SOURCE)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("held\n", "")
        assert is_locked(lock)


@pytest.mark.parametrize("trouble", ["no locks", "no file", "closed"])
def test_where_there_can_be_no_lock_a_build_goes_on(
    trouble: str, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trouble == "no file":
        lock.mkdir()
    elif trouble == "no locks":

        def flock(_lock: int, _operation: int) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", flock)
    before = set(os.listdir("/proc/self/fd"))
    with tree_lock(lock, timeout=1, report=pytest.fail):
        if trouble == "closed":  # by a project that closes what it does not know
            [ours] = {n for n in os.listdir("/proc/self/fd") if n not in before and is_file(n)}
            os.close(int(ours))
    assert set(os.listdir("/proc/self/fd")) == before


def is_file(number: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{number}").endswith("/lock")
    except OSError:
        return False
