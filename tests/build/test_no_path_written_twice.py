"""Promise P2, by a recorder before every compiler: no two commands write one path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import (
    PLAIN_BACKEND,
    QUICK_COMPILE,
    build_wheel,
    copy_package,
    expectation,
    load_extension_values,
)
from written_paths import Recorder, commands, most_at_once, read_log, written_by_two

pytestmark = pytest.mark.skipif(bool(Recorder.missing()), reason=Recorder.missing() or "none")

JOBS = 8
SAMPLE = "shared_source"
COMPILES, LINKS = 8, 4


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder.make(tmp_path / "recorder")


def test_what_runs_ahead_writes_no_path_of_setuptools_and_none_twice(
    recorder: Recorder, tmp_path: Path
) -> None:
    folder = copy_package(SAMPLE, tmp_path)
    env = {**QUICK_COMPILE, **recorder.environment()}
    wheel = build_wheel(folder, jobs=JOBS, env=env)
    events = read_log(recorder.log)
    found = [command for command in commands(events).values() if command.status == 0]
    compiles = [command for command in found if "-c" in command.arguments]
    links = [command for command in found if "-shared" in command.arguments]
    assert (len(compiles), len(links)) == (COMPILES, LINKS)
    for expression, value in expectation(SAMPLE).values.items():
        assert load_extension_values(wheel, expression) == value
    # The four objects of one name come to their place one after another, and by no command.
    assert written_by_two(events, ignored=[recorder.temporary], follow=False) == {}
    outputs = [
        command.arguments[command.arguments.index("-o") + 1] for command in (*compiles, *links)
    ]
    assert len(set(outputs)) == COMPILES + LINKS
    assert not [path for path in outputs if "/temp." in path or "/lib." in path]


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_more_commands_than_jobs_run_at_once(
    jobs: int, recorder: Recorder, tmp_path: Path
) -> None:
    folder = copy_package(SAMPLE, tmp_path)
    build_wheel(folder, jobs=jobs, env={**QUICK_COMPILE, **recorder.environment()})
    assert most_at_once(commands(read_log(recorder.log)).values()) <= jobs


def test_the_recorder_catches_the_parallel_build_of_plain_setuptools(
    recorder: Recorder, tmp_path: Path
) -> None:
    folder = copy_package(SAMPLE, tmp_path)
    config = tmp_path / "extra.cfg"
    config.write_text("[build_ext]\nparallel = 4\n", encoding="utf-8")
    env = {**QUICK_COMPILE, **recorder.environment(), "DIST_EXTRA_CONFIG": str(config)}
    build_wheel(folder, backend=PLAIN_BACKEND, env=env)
    events = read_log(recorder.log)
    found = written_by_two(events, ignored=[recorder.temporary])
    assert [os.path.basename(path) for path in found] == ["common.o"]
    [writers] = found.values()
    assert len(writers) == 4


def test_two_files_renamed_to_one_path_count_as_written_by_two(
    recorder: Recorder, tmp_path: Path
) -> None:
    # Python's own rename, outside any command, as a backend does it.
    script = (
        "import os, subprocess, sys\n"
        "for name in 'one', 'two':\n"
        "    subprocess.run([sys.argv[1], 'sh', '-c', f'echo > {name}'], check=True)\n"
        "    os.replace(name, 'object')\n"
        "os.mkdir('first'); os.rename('object', 'first/object')\n"
        "os.rename('first', 'a name with spaces, \\u00fc and %')\n"
    )
    environment = {**os.environ, **recorder.environment()}
    python = [sys.executable, "-c", script, *recorder.command()]
    subprocess.run(python, cwd=tmp_path, env=environment, check=True)
    events = read_log(recorder.log)
    found = written_by_two(events)
    assert list(found) == [f"{tmp_path}/object"]
    assert [command.arguments[-1] for command in found[f"{tmp_path}/object"]] == [
        "echo > one",
        "echo > two",
    ]
    assert events[-1].fields[-1] == f"{tmp_path}/a name with spaces, \u00fc and %"


def test_the_recorder_gives_a_commands_exit_status_and_signal(
    recorder: Recorder, tmp_path: Path
) -> None:
    environment = {**os.environ, **recorder.environment()}
    for script, status in (("exit 3", 3), ("kill -KILL $$", -9)):
        command = recorder.command("sh", "-c", script)
        run = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
        assert run.returncode == status
    found = [command.status for command in commands(read_log(recorder.log)).values()]
    assert found == [3, -9]
