"""Signals in the middle of a run: it ends with their status, and leaves nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cli_harness import PATIENCE, command, leftovers, variables
from hook_server_harness import is_alive, until
from parallel_backend.tools.cli.building import Building, Shop
from parallel_backend.tools.cli.environments import EnvironmentFailedError, Runner, find_installer
from projects import TINY_C, make_project
from timings_harness import embedded

# It says who it and its child are, and then does not end by itself.
STUCK = """
import os, pathlib, subprocess, time
{ignores}
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    child = subprocess.Popen(["sleep", "600"])
    file = pathlib.Path({where!r})
    file.with_suffix(".new").write_text(f"{{os.getpid()}} {{child.pid}}")
    file.with_suffix(".new").rename(file)
    time.sleep(600)
"""
IGNORES = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"
COMPILER = """#!/bin/sh
echo $$ > {where}.new && mv {where}.new {where}
exec sleep 600
"""


def stuck(folder: Path, *, ignores: str = "") -> Path:
    """A project that hangs when it is built; the file that then tells processes."""
    where = folder.parent / f"{folder.name}.pids"
    system = 'requires = []\nbuild-backend = "own"\nbackend-path = ["."]'
    text = STUCK.format(where=str(where), ignores=ignores)
    make_project(folder, name=folder.name, build_system=system, files={"own.py": text})
    return where


def end_by(
    number: int, words: list[str], tmp_path: Path, files: list[Path], **more: str
) -> tuple[subprocess.CompletedProcess[str], list[int]]:
    """Run the command, send it a signal when these files are there; the processes in them."""
    process = subprocess.Popen(
        command("build", *words, "-o", "out"),
        cwd=tmp_path,
        env=variables(tmp_path, more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: all(file.exists() for file in files) or process.poll() is not None)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    pids = [int(pid) for file in files for pid in file.read_text().split()]
    return subprocess.CompletedProcess(words, process.returncode, out, err), pids


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_in_the_middle_leaves_no_process_and_no_folder(
    tmp_path: Path, number: int, status: int
) -> None:
    files = [stuck(tmp_path / name) for name in ("one", "two")]
    stuck(tmp_path / "three")
    done, pids = end_by(number, ["one", "two", "three", "-n", "-j", "2"], tmp_path, files)
    assert done.returncode == status, done.stderr
    assert done.stderr.splitlines()[-1] == "parallel-backend: broken off"
    assert "Traceback" not in done.stderr
    states = [line.split("  ")[-1] for line in done.stdout.splitlines()[1:4]]
    assert states == ["cancelled", "cancelled", "not begun"]
    until(lambda: not any(map(is_alive, pids)))
    assert leftovers(tmp_path, tmp_path / "out") == []


def test_what_ignores_the_signal_is_told_more_harshly(tmp_path: Path) -> None:
    file = stuck(tmp_path / "one", ignores=IGNORES)
    done, pids = end_by(signal.SIGINT, ["one", "-n"], tmp_path, [file])
    assert done.returncode == 130
    until(lambda: not any(map(is_alive, pids)))
    assert leftovers(tmp_path, tmp_path / "out") == []


def test_compilers_of_our_own_backend_end_too(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    compiler = tmp_path / "slow-cc"
    compiler.write_text(COMPILER.format(where=file))
    compiler.chmod(0o755)
    make_project(
        tmp_path / "one",
        setup="from setuptools import Extension, setup\n"
        "setup(ext_modules=[Extension('x', ['x.c'])])\n",
        files={"x.c": TINY_C.format(name="x")},
    )
    done, pids = end_by(signal.SIGINT, ["one", "-n"], tmp_path, [file], CC=str(compiler))
    assert done.returncode == 130
    until(lambda: not any(map(is_alive, pids)))
    assert leftovers(tmp_path, tmp_path / "out") == []


def test_who_asks_often_enough_leaves_nothing_of_our_backend(tmp_path: Path) -> None:
    """A hook that is killed cannot delete its private folder."""
    file = tmp_path / "pid"
    make_project(
        tmp_path / "one",
        setup="import os, pathlib, signal, time\n"
        "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        f"pathlib.Path({str(file)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)\n",
    )
    process = subprocess.Popen(
        command("build", "one", "-n", "-o", "out", "--timings", "out"),
        cwd=tmp_path,
        env=variables(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        until(lambda: file.exists() and file.read_text() != "")
        process.send_signal(signal.SIGINT)
        while "ending what runs" not in process.stderr.readline():
            assert process.poll() is None
        # Each is heard of by itself: what is asked for twice at once is asked for once.
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode in (130, -signal.SIGINT)
    assert err.splitlines()[-1] == "parallel-backend: broken off"
    assert out.splitlines()[1].split()[-1] == "cancelled"
    until(lambda: not is_alive(int(file.read_text())))
    assert leftovers(tmp_path, tmp_path / "out") == []
    told = embedded(tmp_path / "out/timings.html")
    assert ["result", "broken off"] in told["told"]
    assert "failed" not in [verdict[0] for verdict in told["verdicts"]]


@pytest.mark.parametrize("times", [1, 3])
def test_what_installs_is_broken_off_with_all_that_it_started(tmp_path: Path, times: int) -> None:
    file = tmp_path / "pids"
    ignores = "signal.signal(signal.SIGINT, signal.SIG_IGN)" * (times > 1)
    ignores += "\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)" * (times > 1)
    code = (
        "import os, pathlib, signal, subprocess, tempfile, time\n"
        f"{ignores}\n"
        "tempfile.mkdtemp()\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"path = pathlib.Path({str(file)!r})\n"
        "path.with_suffix('.new').write_text(f'{os.getpid()} {child.pid}')\n"
        "path.with_suffix('.new').rename(path)\n"
        "time.sleep(600)\n"
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    runner = Runner(log=tmp_path / "log", folder=folder)
    caught: list[BaseException] = []

    def work() -> None:
        try:
            runner.run(sys.executable, "-c", code)
        except EnvironmentFailedError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(file.exists)
    for _ in range(times):
        runner.cancel()
    thread.join(PATIENCE)
    assert len(caught) == 1
    pids = [int(pid) for pid in file.read_text().split()]
    until(lambda: not any(map(is_alive, pids)))
    assert os.listdir(folder) == []
    with pytest.raises(EnvironmentFailedError, match="was not begun"):
        runner.run(sys.executable, "-c", "")


def test_an_environment_that_is_being_made_is_broken_off(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    python = tmp_path / "slow-python"
    python.write_text(COMPILER.format(where=file))
    python.chmod(0o755)
    make_project(tmp_path / "one")
    building = Building(source=tmp_path / "one", label="one", shop=shop(tmp_path, str(python)))
    thread = threading.Thread(target=building.run)
    thread.start()
    until(file.exists)
    building.cancel()
    thread.join(PATIENCE)
    assert building.result.status == "cancelled"
    until(lambda: not is_alive(int(file.read_text())))


def test_what_is_cancelled_before_it_begins_does_nothing(tmp_path: Path) -> None:
    building = Building(source=tmp_path, label="one", shop=shop(tmp_path, sys.executable))
    building.cancel()
    assert not building.run()
    assert building.result.status == "cancelled"


def test_an_error_of_whatever_kind_fails_one_project(tmp_path: Path) -> None:
    make_project(tmp_path / "one")
    some = dataclasses.replace(shop(tmp_path, sys.executable), kind="no such kind", isolated=False)
    building = Building(source=tmp_path / "one", label="one", shop=some)
    assert not building.run()
    assert building.result.status == "failed"
    assert building.result.note == "KeyError: 'no such kind'"
    assert "Traceback" in building.log.read_text()
    assert building.result.compiled == 0


def shop(tmp_path: Path, python: str) -> Shop:
    return Shop(
        python=python,
        is_checked=True,
        isolated=True,
        installer=find_installer(),
        kind="wheel",
        config_settings=None,
        out=tmp_path,
        made=tmp_path,
        private=tmp_path,
        lent=tmp_path,
        variables={},
        jobs=1,
        timings=tmp_path,
    )
