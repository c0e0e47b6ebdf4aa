"""Workers take part in the job tokens of GNU make."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bytecode_harness import SECONDS, clean_variables, misbehaving, write_tree, written
from parallel_backend.errors import JobserverError
from parallel_backend.jobserver.pool import DescriptorPool
from parallel_backend.tools.bytecode import Options, compile_tree

MAKEFILE = """
.PHONY: all one two three
all: one two three
one two three:
\t+$(PYTHON) -m parallel_backend bytecode $(OPTIONS) --python $(WORKER) --timeout 20 $@
"""
# Each worker notes when it begins and ends.
NOTES = """
import atexit
def note(word):
    fd = os.open({path!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, word)
    os.close(fd)
note(b"+")
atexit.register(note, b"-")
"""


def most_at_once(notes: str) -> int:
    running = [
        notes[: end + 1].count("+") - notes[: end + 1].count("-") for end in range(len(notes))
    ]
    assert running[-1] == 0
    return max(running)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("bad", [[], ["bad.py"]], ids=["good", "failing"])
def test_under_make_no_more_workers_than_tokens(bad: list[str], tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        write_tree(tmp_path / name, *(f"sleeps_{number}.py" for number in range(20)))
        write_tree(tmp_path / name, *bad, text="x = (\n")
    path = tmp_path / "notes"
    python = misbehaving(tmp_path / "bin", more=NOTES.format(path=str(path)))
    (tmp_path / "Makefile").write_text(MAKEFILE)
    done = subprocess.run(
        ["make", "-k", "-j4", f"PYTHON={sys.executable}", f"WORKER={python}", "OPTIONS=-q"],
        cwd=tmp_path,
        env=clean_variables(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode == 0) is not bool(bad), done.stderr
    # make itself counts its tokens at the end: "INTERNAL: Exiting with 2 jobserver tokens".
    assert "INTERNAL" not in done.stderr
    assert "jobserver" not in done.stderr
    notes = path.read_text()
    assert most_at_once(notes) <= 4
    assert notes.count("+") >= 4
    assert sum(len(written(tmp_path / name)) for name in ("one", "two", "three")) == 60


@pytest.fixture
def fifo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    path = tmp_path / "fifo"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    monkeypatch.setenv("MAKEFLAGS", f" -j9 --jobserver-auth=fifo:{path}")
    return fd


def tokens(fd: int) -> bytes:
    try:
        return os.read(fd, 100)
    except BlockingIOError:
        return b""


def test_every_token_goes_back_whatever_fails(fifo: int, tmp_path: Path) -> None:
    names = ["killed_1.py", "exits_1.py", "hangs_1.py", *(f"sleeps_{n}.py" for n in range(40))]
    tree = write_tree(tmp_path / "tree", *names)
    os.write(fifo, b"ab")
    options = Options(python=misbehaving(tmp_path / "bin"), timeout=0.5)
    report = compile_tree([tree], options)
    assert (report.compiled, len(report.failures), report.jobs) == (40, 3, 3)
    assert sorted(tokens(fifo)) == sorted(b"ab")
    os.close(fifo)


def test_a_token_goes_back_while_others_still_work(fifo: int, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", *(f"m_{n}.py" for n in range(20)))
    write_tree(tree, "hangs_1.py", text="#" * 1000)  # it goes first, to the one without a token
    os.write(fifo, b"a")
    seen = []

    def progress(done: int, found: int, is_final: bool) -> None:
        free = tokens(fifo)
        os.write(fifo, free)
        seen.append(free)

    options = Options(python=misbehaving(tmp_path / "bin"), timeout=1.0)
    assert compile_tree([tree], options, progress=progress).jobs == 2
    assert b"a" in seen[seen.index(b"") :]
    os.close(fifo)


def test_a_token_that_comes_later_is_taken(fifo: int, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", *(f"sleeps_{n}.py" for n in range(40)))
    given: list[int] = []

    def progress(done: int, found: int, is_final: bool) -> None:
        if done and not given:
            given.append(os.write(fifo, b"x"))

    options = Options(python=misbehaving(tmp_path / "bin"))
    assert compile_tree([tree], options, progress=progress).jobs == 2
    assert tokens(fifo) == b"x"
    os.close(fifo)


def test_jobs_bounds_what_is_taken(fifo: int, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", *(f"m_{n}.py" for n in range(40)))
    os.write(fifo, b"abcd")
    assert compile_tree([tree], jobs=2).jobs == 2
    assert sorted(tokens(fifo)) == sorted(b"abcd")
    os.close(fifo)


def test_a_jobserver_that_breaks_is_not_asked_again(
    fifo: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(_: object) -> bytes:
        raise JobserverError("it has ended")

    monkeypatch.setattr(DescriptorPool, "acquire", acquire)
    tree = write_tree(tmp_path / "tree", *(f"m_{n}.py" for n in range(40)))
    report = compile_tree([tree])
    assert (report.jobs, report.compiled) == (1, 40)
    os.close(fifo)


def test_a_jobserver_that_cannot_be_used_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tree = write_tree(tmp_path / "tree", *(f"m_{n}.py" for n in range(40)))
    monkeypatch.setenv("MAKEFLAGS", " -j2 --jobserver-auth=fifo:/nowhere")
    assert compile_tree([tree]).jobs == 2
    [line] = capfd.readouterr().err.splitlines()
    assert re.match("parallel-backend: the jobserver fifo:/nowhere .* going on with 2 job", line)
