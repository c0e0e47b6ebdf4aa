"""``python -m parallel_backend bytecode``: what it prints, and how it ends."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bytecode_harness import (
    SECONDS,
    clean_variables,
    misbehaving,
    run_command,
    write_tree,
    written,
)
from parallel_backend.tools import cli
from parallel_backend.tools.bytecode import progress


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    return write_tree(Path("tree"), "a.py", "b.py")


def test_it_closes_with_one_line(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bytecode", "-j1", "tree"]) == 0
    line = r"parallel-backend: 2 compiled, 0 up to date in \d+\.\d s on 1 job\n"
    assert re.fullmatch(line, capsys.readouterr().out)
    assert cli.main(["bytecode", "tree"]) == 0
    line = r"parallel-backend: 0 compiled, 2 up to date in \d+\.\d s\n"
    assert re.fullmatch(line, capsys.readouterr().out)


def test_failures_come_first_in_order_and_give_status_1(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tree, "z.py", "c.py", text="x = 1\n)\n")
    assert cli.main(["bytecode", "-j2", "tree"]) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        f"tree/{name}.py:2: SyntaxError: unmatched ')'" for name in "cz"
    ]
    assert "2 compiled, 0 up to date, 2 failed in " in captured.out
    assert cli.main(["bytecode", "-q", "--ignore-errors", "tree"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.splitlines())) == ("", 2)


def test_what_a_lost_worker_printed_is_shown_with_its_file(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tree, "exits_1.py")
    assert cli.main(["bytecode", "--python", misbehaving(tmp_path / "bin"), "tree"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "tree/exits_1.py: the worker that compiled it ended: exit status 3",
        "  a broken sitecustomize",
        "  last words",
    ]


def test_json_tells_all(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"\xff.py")
    write_tree(tree, name, text="x = (\n")
    assert cli.main(["bytecode", "--json", "-j1", "--update-record", "tree"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found.pop("seconds") > 0
    [failure] = found.pop("failures")
    message = "SyntaxError: '(' was never closed"
    assert failure == {"path": f"tree/{name}", "line": 1, "message": message, "output": ""}
    assert found == {"files": 3, "compiled": 2, "up_to_date": 0, "records": [], "jobs": 1}
    assert captured.err == ""


def test_a_path_that_cannot_be_printed_is_escaped(tree: Path, tmp_path: Path) -> None:
    write_tree(tree, os.fsdecode(b"\xff.py"), "smørbrød.py", text="x = (\n")
    done = run_command("tree", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii:strict"})
    assert done.returncode == 1
    assert "tree/\\udcff.py:1: SyntaxError" in done.stderr
    assert "tree/sm\\xf8rbr\\xf8d.py:1: SyntaxError" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_option_arrives(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "-f -o 0 -o 1 --hardlink-dupes --invalidation-mode unchecked-hash -s tree -p /x -x b.py"
    words += " -e / -r 3 --timeout 5 -j 2 -q tree"
    assert cli.main(["bytecode", *words.split()]) == 0
    files = written(tree)
    assert len(files) == 2
    assert all(b"/x/a.py" in data and data[4] == 1 for _, data in files.values())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-j 0 tree", "argument -j/--jobs: '0' is no whole number from 1"),
        ("-x ( tree", "argument -x: '(' is no regular expression: missing )"),
        ("-o 3 tree", "argument -o: invalid choice: 3"),
        ("-l -r 2 tree", "argument -r: not allowed with argument -l"),
        ("", "the following arguments are required: PATH"),
    ],
)
def test_a_wrong_option_is_named(
    words: str, message: str, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["bytecode", *words.split()])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--timeout 0", "a timeout of 0.0 s is not allowed; it must be above 0"),
        ("-d /x -p /y", "a destination cannot be used with what to strip or to prepend"),
        ("--python /nowhere", "/nowhere cannot be started: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(
    words: str, message: str, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bytecode", *words.split(), "tree"]) == 2
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert line.startswith(f"parallel-backend: error: {message}")
    assert captured.out == ""


def test_a_terminal_gets_a_progress_bar(tree: Path, tmp_path: Path) -> None:
    write_tree(tree, *(f"sleeps_{number}.py" for number in range(20)))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "parallel_backend", "bytecode", "-j2"]
    with subprocess.Popen(
        [*command, "--python", misbehaving(tmp_path / "bin"), "tree"],
        cwd=tmp_path,
        env=clean_variables(COLUMNS="100"),
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as run:
        out, _ = run.communicate(timeout=SECONDS)
    os.close(theirs)
    drawn = os.read(ours, 100_000).decode()
    os.close(ours)
    assert out.startswith("parallel-backend: 22 compiled")
    assert re.search(r"\r\[#*\.+\]  \d+/22 files  \d+/s", drawn)
    assert drawn.endswith("\r\x1b[K")


def test_progress_is_drawn_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    bar = progress.Progress(stream)
    bar.clear()
    assert stream.getvalue() == ""
    now = 102.0
    bar(10, 30, False)
    now = 102.05
    bar(11, 30, False)  # too soon
    now = 104.0
    bar(20, 40, True)
    now = 105.0
    bar(0, 0, True)
    bar.clear()
    assert stream.getvalue().split("\r") == [
        "",
        "10/30+ files  5/s\x1b[K",
        "[############............]  20/40 files  5/s  4 s left\x1b[K",
        "[########################]  0/0 files  0/s\x1b[K",
        "\x1b[K",
    ]
