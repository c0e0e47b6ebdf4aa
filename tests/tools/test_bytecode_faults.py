"""What goes wrong costs one file, is named, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bytecode_harness import (
    SECONDS,
    clean_variables,
    compileall,
    misbehaving,
    run_command,
    write_tree,
    written,
)
from parallel_backend.errors import ParallelBackendError
from parallel_backend.tools.bytecode import Failure, Options, compile_tree

GOOD = [f"good_{number:02}.py" for number in range(20)]
not_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.delenv("MAKEFLAGS", raising=False)


def compiled(tree: Path) -> set[str]:
    """The names of the sources that have a ``.pyc``; no other file may lie beside those."""
    found = [os.fsdecode(name) for name in written(tree)]
    tag = sys.implementation.cache_tag
    assert all(name.endswith(f".{tag}.pyc") for name in found), found
    return {os.path.basename(name).partition(".")[0] + ".py" for name in found}


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize(
    ("bad", "message", "output"),
    [
        ("killed_1.py", "the worker that compiled it ended: SIGKILL", "a broken sitecustomize"),
        (
            "exits_1.py",
            "the worker that compiled it ended: exit status 3",
            "a broken sitecustomize\nlast words",
        ),
        ("hangs_1.py", "took longer than 0.5 s", "a broken sitecustomize"),
    ],
)
def test_a_lost_worker_costs_its_file_alone(
    bad: str, message: str, output: str, jobs: int, tmp_path: Path
) -> None:
    second = bad.replace("1", "2")
    tree = write_tree(tmp_path / "tree", *GOOD, bad, second)
    options = Options(python=misbehaving(tmp_path / "bin"), timeout=0.5)
    report = compile_tree([tree], options, jobs=jobs)
    assert compiled(tree) == {*GOOD}
    assert report.failures == tuple(
        Failure(str(tree / name), None, message, output) for name in (bad, second)
    )
    assert (report.files, report.compiled) == (22, 20)


def test_what_workers_print_does_no_harm(tmp_path: Path) -> None:
    names = [f"writes_{number}.py" for number in range(5)]
    tree = write_tree(tmp_path / "tree", *names)
    python = misbehaving(tmp_path / "bin")
    assert compile_tree([tree], Options(python=python), jobs=2).failures == ()
    assert compiled(tree) == {*names}


def test_mistakes_in_sources_are_named_with_their_lines(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", *GOOD)
    write_tree(tree, "syntax.py", text="x = 1\ny = (\n")
    write_tree(tree, "indent.py", text="if x:\npass\n")
    write_tree(tree, "null.py", text="x = 1\0\n")
    write_tree(tree, "cookie.py", text="# coding: no-such-one\n")
    (tree / "bytes.py").write_bytes(b"x = 1\ny = '\xff'\n")
    write_tree(tree, "deep.py", text="x = " + "(" * 500 + ")" * 500)
    report = compile_tree([tree], jobs=2)
    assert compiled(tree) == {*GOOD}
    found = {Path(each.path).name: (each.line, each.message) for each in report.failures}
    assert found["syntax.py"][0] == 2
    assert found["syntax.py"][1].startswith("SyntaxError: '(' was never closed")
    assert found["indent.py"][0] == 2
    assert "null bytes" in found["null.py"][1]
    assert "no-such-one" in found["cookie.py"][1]
    assert found["bytes.py"][1].startswith("SyntaxError: ")
    assert len(found) == 6


def test_no_python_is_a_clear_error(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "a.py")
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\necho one >&2\necho two >&2\nexit 4\n")
    silent.chmod(0o755)
    empty = tmp_path / "empty"
    empty.write_text("no program")
    empty.chmod(0o755)
    for python, message in (
        (silent, "does not work as Python 3.8 or newer: exit status 4: two"),
        (empty, "cannot be started: Exec format error"),
        (tmp_path, "cannot be started: Permission denied"),
        (tmp_path / "gone", "cannot be started: No such file or directory"),
    ):
        with pytest.raises(ParallelBackendError, match=f"^{python} {message}"):
            compile_tree([tree], Options(python=str(python)))
    assert written(tree) == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sys.version_info = (3, 7, 9)", "is Python 3.7; it must be 3.8 or newer"),
        ("sys.implementation.cache_tag = None", "keeps no .pyc files: it has no cache tag"),
        ("time.sleep(1000)", "does not work as Python 3.8 or newer: took longer than 0.5 s"),
    ],
)
def test_an_interpreter_that_will_not_do_is_a_clear_error(
    line: str, message: str, tmp_path: Path
) -> None:
    tree = write_tree(tmp_path / "tree", "a.py")
    python = misbehaving(tmp_path / "bin", more=line)
    with pytest.raises(ParallelBackendError, match=message):
        compile_tree([tree], Options(python=python, timeout=0.5))


def test_workers_that_never_begin_are_a_clear_error(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "a.py")
    dies = "os.pwrite = lambda *_: os._exit(5)"
    python = misbehaving(tmp_path / "bin", more=dies)
    with pytest.raises(ParallelBackendError, match="before they compile anything: exit status 5"):
        compile_tree([tree], Options(python=python))


@not_root
def test_what_may_not_be_read_or_written_is_named(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "a.py", "secret.py", "closed/b.py", "full/c.py")
    (tree / "secret.py").chmod(0)
    (tree / "closed").chmod(0)
    (tree / "full").chmod(0o555)
    report = compile_tree([tree], jobs=1)
    (tree / "closed").chmod(0o755)
    (tree / "full").chmod(0o755)
    found = {Path(each.path).name: each.message for each in report.failures}
    assert found["closed"] == "cannot be listed: Permission denied"
    assert found["secret.py"] == "cannot be read: Permission denied"
    assert found["c.py"].endswith(".pyc cannot be written: Permission denied")
    assert compiled(tree) == {"a.py"}


def test_what_is_no_folder_or_file_is_named(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "a.py", "b.py", "c.py")
    cache = tree / "__pycache__"
    cache.mkdir()
    tag = sys.implementation.cache_tag
    (cache / f"a.{tag}.pyc").symlink_to("elsewhere")
    (cache / f"b.{tag}.pyc").mkdir()
    write_tree(tmp_path / "other", "__pycache__", "d.py")
    report = compile_tree([tree, tmp_path / "other", tmp_path / "gone"], jobs=1)
    found = {Path(each.path).name: each.message for each in report.failures}
    assert found["gone"] == "cannot be listed: No such file or directory"
    assert "is not a regular file" in found["a.py"]
    assert "is not a regular file" in found["b.py"]
    assert "cannot be written: " in found["d.py"]
    assert (report.compiled, len(found)) == (1, 4)
    assert compileall(str(tree), cwd=tmp_path) == 1


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "small.py")
    write_tree(tree, "big.py", text=f"x = {'y' * 50_000!r}\n")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    limit += "import _signal; _signal.signal(_signal.SIGXFSZ, _signal.SIG_IGN)"
    python = misbehaving(tmp_path / "bin", more=limit)
    report = compile_tree([tree], Options(python=python), jobs=1)
    assert compiled(tree) == {"small.py"}
    [failure] = report.failures
    assert failure.message.endswith(f"cannot be written: {os.strerror(errno.EFBIG)}")


def test_files_that_vanish_are_no_failures(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "a.py", "b.py")
    gone = f"os.unlink({str(tree / 'b.py')!r})"
    report = compile_tree([tree], Options(python=misbehaving(tmp_path / "bin", more=gone)), jobs=1)
    assert report.failures == ()
    assert compiled(tree) == {"a.py"}


def test_two_runs_at_once_give_the_right_result(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", *GOOD, *(f"p{n}/m.py" for n in range(30)))
    command = [sys.executable, "-m", "parallel_backend", "bytecode", "-f", "-j2", str(tree)]
    runs = [subprocess.Popen(command, env=clean_variables()) for _ in range(2)]
    assert [run.wait(SECONDS) for run in runs] == [0, 0]
    assert len(compiled(tree)) == 21
    result = written(tree)
    compileall("-f", str(tree), cwd=tmp_path)
    assert written(tree) == result


def test_no_more_processes_than_there_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree", *GOOD)
    real = subprocess.Popen
    started: list[object] = []

    def popen(*args: object, **kwargs: object) -> object:
        if len(started) >= most:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(args)
        return real(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", popen)
    most = 2
    assert compile_tree([tree], jobs=8).jobs == 2
    assert compiled(tree) == {*GOOD}
    most = 0
    with pytest.raises(ParallelBackendError, match="no process can be made"):
        compile_tree([tree], Options(force=True))


# As where a disk hangs: the file is written under its other name, and not yet renamed.
SLOW_DISK = """
replace = os.replace
def slow(one, other):
    if b"slow_" in other:
        open(os.path.join(folder, "hangs"), "w").close()
        time.sleep(1000)
    replace(one, other)
os.replace = slow
"""


def test_what_a_hanging_worker_has_half_written_is_deleted(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", *GOOD, "slow_1.py")
    options = Options(python=misbehaving(tmp_path / "bin", more=SLOW_DISK), timeout=0.5)
    [failure] = compile_tree([tree], options, jobs=2).failures
    assert (failure.path, failure.message) == (str(tree / "slow_1.py"), "took longer than 0.5 s")
    assert compiled(tree) == {*GOOD}


def test_orders_that_no_pipe_holds_are_sent_bit_by_bit(tmp_path: Path) -> None:
    deep = tmp_path / "/".join(["x" * 200] * 15)
    tree = write_tree(deep, *(f"m{number:03}.py" for number in range(300)))
    assert compile_tree(tmp_path, jobs=2).compiled == 300
    assert len(compiled(tree)) == 300


@pytest.mark.parametrize("bad", ["hangs_1.py", "slow_1.py"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_workers_within_a_second(
    number: signal.Signals, bad: str, tmp_path: Path
) -> None:
    tree = write_tree(tmp_path / "tree", *(f"sleeps_{n}.py" for n in range(200)))
    write_tree(tree, bad, text="#" * 1000)  # it goes first
    folder = tmp_path / "bin"
    command = [sys.executable, "-m", "parallel_backend", "bytecode", "-j3", "-f"]
    command += ["--python", misbehaving(folder, more=SLOW_DISK), str(tree)]
    # The pipe ends when all that have it are gone.
    with subprocess.Popen(
        command, env=clean_variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        end = time.monotonic() + SECONDS
        while not (folder / "hangs").exists():
            assert time.monotonic() < end
            assert run.poll() is None, run.communicate()
            time.sleep(0.01)
        began = time.monotonic()
        run.send_signal(number)
        printed, _ = run.communicate(timeout=SECONDS)
        took = time.monotonic() - began
    assert (run.returncode, printed) == (-number, b"")
    assert took < 1.0 + 5 * started_in()
    assert bad not in compiled(tree)


def started_in() -> float:
    """How long this machine takes for a bare interpreter now: a measure of its load."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
    return time.monotonic() - began


def test_memory_stays_small(tmp_path: Path) -> None:
    for number in range(4):
        write_tree(tmp_path / "tree" / str(number), *(f"m{n}.py" for n in range(1000)), text="")
    script = """
import sys, resource
from parallel_backend.tools.bytecode import compile_tree
from parallel_backend.tools.bytecode import pool
pool._WINDOW = 100
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert compile_tree(sys.argv[1:], jobs=2).compiled == 4000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "tree")],
        env=clean_variables(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert int(done.stdout) < 8_000


def test_a_mistake_in_what_is_asked_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = run_command("--hardlink-dupes", tmp_path, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "parallel-backend: error: to link equal files takes more than one level; name several"
    ]
