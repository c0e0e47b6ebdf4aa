"""Promise P2, by a recorder before every compiler: no two commands write one path."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
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
from written_paths import Event, Recorder, commands, most_at_once, read_log, written_by_two

pytestmark = pytest.mark.skipif(bool(Recorder.missing()), reason=Recorder.missing() or "none")

JOBS = 8
SAMPLE = "shared_source"
COMPILES, LINKS = 8, 4


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder.make(tmp_path / "recorder")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A build of the sample that succeeded, and was seen whole."""

    events: list[Event]
    temporary: Path
    link_inputs: set[str]


def _record(extensions: str, *, recorder: Recorder, tmp_path: Path) -> Recorded:
    folder = copy_package(SAMPLE, tmp_path)
    env = {**QUICK_COMPILE, **recorder.environment()}
    wheel = build_wheel(folder, jobs=JOBS, extensions=extensions, env=env)
    events = read_log(recorder.log)
    found = [command for command in commands(events).values() if command.status == 0]
    links = [command for command in found if "-shared" in command.arguments]
    assert sum("-c" in command.arguments for command in found) == COMPILES
    assert len(links) == LINKS
    for expression, value in expectation(SAMPLE).values.items():
        assert load_extension_values(wheel, expression) == value
    inputs = {os.path.join(folder, word) for link in links for word in link.arguments}
    assert sum(path.endswith(".o") for path in inputs) == COMPILES
    return Recorded(events=events, temporary=recorder.temporary, link_inputs=inputs)


def test_no_path_is_written_by_two_commands(recorder: Recorder, tmp_path: Path) -> None:
    recorded = _record("process", recorder=recorder, tmp_path=tmp_path)
    assert written_by_two(recorded.events, ignored=[recorded.temporary]) == {}


def test_one_extension_at_a_time_only_links_anew_what_setuptools_would_overwrite(
    recorder: Recorder, tmp_path: Path
) -> None:
    # Where nothing else runs, objects are put at setuptools' own names as well: no command writes
    # there, and no linker reads there.
    recorded = _record("serial", recorder=recorder, tmp_path=tmp_path)
    aside = [recorded.temporary]
    assert written_by_two(recorded.events, ignored=aside, follow=False) == {}
    assert not recorded.link_inputs & written_by_two(recorded.events, ignored=aside).keys()


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
