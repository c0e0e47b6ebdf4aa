"""A build that is told to end does so soon, and leaves no process, no file and no token behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from watched_builds import (
    Build,
    eventually,
    jobserver,
    running_build,
    write_compiler,
    write_extensions,
)

pytestmark = pytest.mark.unmeasured("coverage handles SIGTERM in a way of its own")

# Seconds that a build gets to end: less than the compilers here would take, by far.
SOON = 20.0

SLOW = 'log "+ $source"\nexec sleep 1000'
STUBBORN = "trap '' TERM INT HUP\nlog \"+ $source\"\nwhile :; do sleep 1000; done"

# A method on the instance: sources are then compiled in forks.
REPLACED = """
from setuptools.command.build_ext import build_ext
class Replaced(build_ext):
    def build_extension(self, ext):
        original = type(self.compiler)._compile
        def _compile(*args):
            original(self.compiler, *args)
        self.compiler._compile = _compile
        try:
            super().build_extension(ext)
        finally:
            del self.compiler._compile
"""


def to_frontend(number: int) -> Callable[[Build], None]:
    return lambda build: os.kill(build.process.pid, number)


def to_group(number: int) -> Callable[[Build], None]:
    return lambda build: os.killpg(build.process.pid, number)


WAYS = {
    "SIGINT": (to_frontend(signal.SIGINT), -signal.SIGINT),
    "SIGTERM": (to_frontend(signal.SIGTERM), -signal.SIGTERM),
    "SIGHUP": (to_frontend(signal.SIGHUP), -signal.SIGHUP),
    "SIGINT-group": (to_group(signal.SIGINT), -signal.SIGINT),
    "SIGTERM-group": (to_group(signal.SIGTERM), -signal.SIGTERM),
}


def interrupt(folder: Path, tmp_path: Path, *, way: str, compiler: str, held: bytes = b"ab") -> str:
    """Interrupt a build whose compilers would run for long; what it printed."""
    log = tmp_path / "cc.log"
    env = write_compiler(tmp_path / "cc", compiler)
    send, status = WAYS[way]
    with (
        jobserver(tmp_path / "tokens", held) as tokens,
        running_build(folder, env={**env, **tokens.environment}) as build,
    ):
        eventually(lambda: log.read_text().count("+") == len(held) + 1, "the compilers run")
        assert tokens.free() == 0
        send(build)
        done = build.finish(SOON)
        assert done.returncode == status, done.output
        build.assert_nothing_is_left()
        tokens.assert_all_are_back()
        assert not list(build.out.glob("*.whl"))
    assert log.read_text().count("+") == len(held) + 1
    return done.output


@pytest.mark.parametrize("way", list(WAYS))
def test_an_interrupted_build_ends_soon_and_leaves_nothing(way: str, tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 3, "b": 1})
    interrupt(folder, tmp_path, way=way, compiler=SLOW)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["SIGINT-group", "SIGTERM"])
def test_sources_that_compile_in_forks_are_ended_too(way: str, tmp_path: Path) -> None:
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 5, "b": 1},
        code=REPLACED,
        arguments="{'cmdclass': {'build_ext': Replaced}}",
    )
    interrupt(folder, tmp_path, way=way, compiler=SLOW)


@pytest.mark.slow
def test_many_compilers_that_will_not_end_are_killed_and_their_tokens_come_back(
    tmp_path: Path,
) -> None:
    names = {f"one{number}": 1 for number in range(12)}
    folder = write_extensions(tmp_path / "parts", names)
    compilers = b"abcdefghijk"
    interrupt(folder, tmp_path, way="SIGINT", compiler=STUBBORN, held=compilers)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["SIGINT-group", "SIGTERM"])
def test_the_compilers_of_a_c_library_are_ended_too(way: str, tmp_path: Path) -> None:
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 5},
        arguments="{'libraries': [('l', {'sources': [f'a_{n}.c' for n in range(5)]})]}",
    )
    interrupt(folder, tmp_path, way=way, compiler=SLOW)


@pytest.mark.slow
def test_linkers_are_ended_too(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 1, "b": 1, "c": 1})
    compiler = f"[ $kind = compile ] && {{ fake; exit; }}\n{SLOW}"
    log = tmp_path / "cc.log"
    env = write_compiler(tmp_path / "cc", compiler)
    with running_build(folder, env=env, jobs=2) as build:
        eventually(lambda: log.read_text().count("+") == 2, "the linkers run")
        build.process.terminate()
        assert build.finish(SOON).returncode == -signal.SIGTERM
        build.assert_nothing_is_left()


def test_an_interrupt_shows_no_more_than_python_s_own_lines(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 3, "b": 1})
    text = interrupt(folder, tmp_path, way="SIGINT-group", compiler=SLOW)
    assert text.rstrip().endswith("KeyboardInterrupt"), text
    assert "error:" not in text


def test_the_death_of_the_hook_s_process_is_told_and_its_children_are_ended(
    tmp_path: Path,
) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 3, "b": 1})
    log = tmp_path / "cc.log"
    env = write_compiler(tmp_path / "cc", SLOW)
    with running_build(folder, env=env, jobs=3) as build:
        eventually(lambda: log.read_text().count("+") == 3, "the compilers run")
        os.kill(build.hook_process(), signal.SIGKILL)
        done = build.finish(SOON)
        assert done.returncode == 1, done.output
        build.assert_nothing_is_left()
    last = done.stderr.splitlines()[-1]
    assert last.startswith("parallel-backend: error: ")
    assert "SIGKILL" in last
    assert "Traceback" not in done.stderr


def test_a_second_ctrl_c_does_not_break_off_the_cleaning_up(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 3, "b": 1})
    log = tmp_path / "cc.log"
    env = write_compiler(tmp_path / "cc", STUBBORN)
    with (
        jobserver(tmp_path / "tokens", b"ab") as tokens,
        running_build(folder, env={**env, **tokens.environment}) as build,
    ):
        eventually(lambda: log.read_text().count("+") == 3, "the compilers run")
        before = len(build.processes())
        os.killpg(build.process.pid, signal.SIGINT)
        eventually(lambda: len(build.processes()) < before, "the cleaning up has begun")
        os.killpg(build.process.pid, signal.SIGINT)
        done = build.finish(SOON)
        assert done.returncode == -signal.SIGINT, done.output
        build.assert_nothing_is_left()
        tokens.assert_all_are_back()


def test_a_failure_ends_the_others_and_gives_every_token_back(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"broken": 3, "b": 1})
    # The first to stand in setup.py: nothing could make it succeed later.
    broken = "case $source in broken_0.c) patiently logged + 3; exit 1 ;; esac"
    env = write_compiler(tmp_path / "cc", f"log +\n{broken}\nexec sleep 1000")
    with (
        jobserver(tmp_path / "tokens", b"ab") as tokens,
        running_build(folder, env={**env, **tokens.environment}) as build,
    ):
        done = build.finish(SOON + 20)
        assert done.returncode == 1, done.output
        assert "broken_0.c" in done.stderr
        build.assert_nothing_is_left()
        tokens.assert_all_are_back()
