"""What is shown on a terminal while projects are built."""

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
from typing import Any

import pytest

from cli_harness import PATIENCE, building, command, variables
from parallel_backend.timings.record import RECORDS, begun, recording, span
from parallel_backend.tools.cli.building import Result
from parallel_backend.tools.cli.following import Follower, Work
from parallel_backend.tools.cli.progress import time_left, watching
from projects import TINY_C, make_project

# It tells that it runs, and waits to be let go on.
COMPILER = """#!/bin/sh
for word; do case $word in *.c) read -r _ < "$GATES/$(basename $word)";; esac; done
exec cc "$@"
"""


class Terminal(io.StringIO):
    encoding = "ascii"

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal as standard error. No fixture: pytest has one of its own in each test."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return made


def watch_one(tmp_path: Path, **result: Any) -> None:
    one, two = building(tmp_path, "one-1.0"), building(tmp_path, "two-1.0")
    one.log.write_text("first\nthe err\u00f6r\n", encoding="utf-8")
    with watching([one, two], jobs=2, quiet=False, verbose=False) as watch:
        one.began, one.step = time.monotonic() - 500, "builds its wheel"
        one.step_began = time.monotonic() - 50
        watch.begun(one)
        watch.look()
        one.result = Result(seconds=1.5, **result)
        watch.ended(one)
        watch.look()


def test_a_terminal_gets_a_live_picture_and_the_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    terminal = on_terminal(monkeypatch)
    watch_one(tmp_path, status="failed", note="[why]")
    shown = terminal.getvalue()
    for pattern in (
        r"one-1.0 +builds its wheel +5\d s",
        r"  0 of 2 done, 1 wait, about \d+ s left",
        r"1 of 2 done",
        r"\[1/2\] one-1.0: failed: \[why\] \(1.5 s\)\n",
        r"    first\n",
        rf"    the whole log: {re.escape(str(tmp_path / 'one-1.0.log'))}\n",
    ):
        assert re.search(pattern, shown), pattern
    assert "begins" not in shown


LINES = [
    "one-1.0: begins",
    "    first",
    "    the err\\xf6r",
    "[1/2] one-1.0: failed: why (1.5 s)",
]


def test_without_rich_a_terminal_gets_lines_and_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich", None)
    watch_one(tmp_path, status="failed", note="why")
    assert terminal.getvalue().splitlines() == [
        "for a live picture: pip install 'parallel-backend[build]'",
        *LINES,
        f"    the whole log: {tmp_path / 'one-1.0.log'}",
    ]


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    watch_one(tmp_path, status="failed", note="why")
    assert terminal.getvalue().splitlines()[:-1] == LINES


def test_a_projects_output_does_not_steer_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = building(tmp_path, "one-1.0")
    one.log.write_text("\x1b[2Jit\tfails\r\x07\n")
    for name in ("xterm", "dumb"):
        terminal = on_terminal(monkeypatch)
        monkeypatch.setenv("TERM", name)
        with watching([one], jobs=2, quiet=False, verbose=False) as watch:
            one.began = time.monotonic()
            watch.begun(one)
            one.result = Result(status="failed", seconds=1.0)
            watch.ended(one)
        assert "    \\x1b[2Jit" in terminal.getvalue()
        assert "    \\x07" in terminal.getvalue()


def test_more_slots_than_the_terminal_has_lines_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("LINES", "6")
    monkeypatch.setenv("COLUMNS", "40")
    many = [building(tmp_path, f"number-{i}") for i in range(7)]
    with watching(many, jobs=7, quiet=False, verbose=False) as watch:
        for each in many:
            each.step = "compiles a/[very]/long/way/to/some/file.c"
            each.began = each.step_began = time.monotonic()
            watch.begun(each)
        watch.look()
        shown = terminal.getvalue().splitlines()[-5:]
    plain = [re.sub(r"\x1b\[\S*?[A-Za-z]", "", line).rstrip() for line in shown]
    assert [re.sub(r"\d+ s", "N s", line) for line in plain] == [
        "  number-0  compiles \u2026o/some/file.c  N s",
        "  number-1  compiles \u2026o/some/file.c  N s",
        "  number-2  compiles \u2026o/some/file.c  N s",
        "            and 4 more",
        "  0 of 7 done, 0 wait, about N s left",
    ]


def test_the_time_left_is_at_least_that_of_the_longest_build(tmp_path: Path) -> None:
    waits, runs, done = (building(tmp_path, name) for name in "abc")
    runs.began, done.began, done.result.seconds = 100.0, 100.0, 5.0
    assert time_left([waits, runs, done], now=104.0, jobs=1) == 16.0
    assert time_left([waits, runs, done], now=104.0, jobs=4) == 10.0
    assert time_left([runs, done], now=190.0, jobs=2) == 0.0


# --- what goes on in each slot


def does(follower: Follower) -> list[str]:
    return [f"{work.does} {work.what}" for work in follower.look()]


def test_a_follower_tells_what_is_built_or_else_the_command(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    assert follower.look() == []
    records = tmp_path / RECORDS
    records.mkdir()
    with recording(records / "build_wheel-1", watched=True):
        with span("hook", "build_wheel", told=True, folder="/project") as hook:
            assert does(follower) == []
            with span("command", "build_ext"):
                assert does(follower) == ["runs build_ext"]
                # What runs ahead is part of no command.
                compiled = begun("compile", "/project/src/a.c", slot=1, up=hook)
                assert compiled is not None
                with span("compile", "b.c", slot=2):
                    pass
                assert does(follower) == ["compiles src/a.c"]
                with span("translation", "c.pyx"):
                    assert does(follower) == ["compiles src/a.c", "translates c.pyx"]
                compiled.end()
                for kind, words in (
                    ("link", "links ext.so"),
                    ("archive", "archives ext.so"),
                    ("swig", "runs SWIG for /elsewhere/build/ext.so"),
                ):
                    with span(kind, "/elsewhere/build/ext.so"):
                        assert does(follower) == [words]
                # A recorder builds nothing.
                with span("recorder", "recorder"):
                    assert does(follower) == ["runs build_ext"]
            [work] = follower.look() or [Work(does="", what="", begin=0)]
            assert work.does == ""
        assert does(follower) == []


def test_a_follower_takes_no_line_that_is_not_whole_or_none_of_ours(tmp_path: Path) -> None:
    records = tmp_path / RECORDS
    records.mkdir()
    path = records / "build_wheel-1"
    follower = Follower(tmp_path)
    with recording(path, watched=True):
        with span("compile", "a.c"):
            assert does(follower) == ["compiles a.c"]
        assert does(follower) == []
        span("compile", "b.c")
        with path.open("ab") as file:
            file.write(b"no line\n[1]\n" + json.dumps(["compile"]).encode()[:5])
        (records / "no-record").mkdir()
        assert does(follower) == ["compiles b.c"]
    path.unlink()
    assert does(follower) == []


def test_a_terminal_shows_what_runs_in_each_job_slot(tmp_path: Path) -> None:
    """Two sources at once, whose compilers wait until they have been seen."""
    pytest.importorskip("rich", reason="rich is not installed")
    compiler = tmp_path / "gated-cc"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    names = ["first.c", "second.c"]
    make_project(
        tmp_path / "one",
        setup="from setuptools import Extension, setup\n"
        f"setup(ext_modules=[Extension('first', {names})])\n",
        files={"first.c": TINY_C.format(name="first"), "second.c": ""},
    )
    gates = tmp_path / "gates"
    gates.mkdir()
    for name in names:
        os.mkfifo(gates / name)
    more = {"CC": str(compiler), "GATES": str(gates), "TERM": "xterm", "COLUMNS": "100"}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("build", "one", "-n", "-j", "2", "-o", "out"),
        cwd=tmp_path,
        env=variables(tmp_path, more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = ""
    try:
        until = time.monotonic() + PATIENCE
        while not all(re.search(rf"compiles {name} +\d+ s", shown) for name in names):
            assert time.monotonic() < until, shown
            shown += os.read(ours, 1 << 16).decode()
        for name in names:
            (gates / name).write_text("go\n")
        while True:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # EIO: nobody has the other end
                break
            if not data:
                break
            shown += data.decode()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert re.search(r"sample-1.0 +compiles \w+.c +\d+ s", shown)
    assert re.search(r"\[1/1\] sample-1.0: built \(\d+\.\d s\)", shown)
    assert [each.suffix for each in sorted((tmp_path / "out").iterdir())] == [".whl", ".log"]
    assert "timings" not in (tmp_path / "out/sample-1.0.log").read_text()
