"""Never more than N: compilers, linkers and what workers do in Python hold to the job limit."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import SOURCE
from parallel_backend.build.costs import Costs
from watched_builds import (
    eventually,
    jobserver,
    most_at_once,
    running_build,
    write_compiler,
    write_extensions,
)

# Each begins before it is noted and ends after that: what is counted at once did run at once.
# The first ones wait for each other, so that as many run as may; then it takes its time.
COMPILER = """
log "+ $source"
[ $kind = compile ] && patiently together {together}
sleep 0.02
fake
log "- $source"
"""

# A project that works in Python, too, in a worker that has a slot for it.
WORKING = """
from setuptools.command.build_ext import build_ext
import os, time
def log(line):
    with open({log!r}, "a") as stream:
        stream.write(line + "\\n")
class Working(build_ext):
    def build_extension(self, ext):
        log("+ python")
        time.sleep(0.02)
        log("- python")
        super().build_extension(ext)
"""

# The same, and with a method on the instance: what it runs is not known before.
REPLACED = (
    WORKING
    + """
class Working(Working):
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
)

# One with many sources, many with one: slots go to extensions, and to sources of one.
MIXED = {"many": 9, "some": 3, **{f"one{number}": 1 for number in range(6)}}
SOURCES = sum(MIXED.values())


def a_project(folder: Path, *, log: Path, code: str = WORKING) -> Path:
    arguments = "{'cmdclass': {'build_ext': Working}}" if code else "{}"
    return write_extensions(
        folder, MIXED, code=code.replace("{log!r}", repr(str(log))), arguments=arguments
    )


def assert_held(log: Path, limit: int, *, reached: bool = True) -> None:
    most = most_at_once(log)
    assert most <= limit
    if reached:
        assert most == limit
    lines = log.read_text().splitlines()
    compiled = [line for line in lines if line.startswith("+ ") and line.endswith(".c")]
    assert len(compiled) == SOURCES


@pytest.mark.parametrize("jobs", [1, 2, 3, 8])
def test_no_more_run_at_once_than_jobs(jobs: int, tmp_path: Path) -> None:
    log = tmp_path / "cc.log"
    folder = a_project(tmp_path / "parts", log=log)
    env = write_compiler(tmp_path / "cc", COMPILER.format(together=jobs))
    with running_build(folder, env=env, jobs=jobs) as build:
        build.wheel()
        build.assert_nothing_is_left()
    assert_held(log, jobs)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_run_at_once_than_jobs_where_a_project_compiles_by_itself(
    jobs: int, tmp_path: Path
) -> None:
    log = tmp_path / "cc.log"
    folder = a_project(tmp_path / "parts", log=log, code=REPLACED)
    env = write_compiler(tmp_path / "cc", COMPILER.format(together=1))
    with running_build(folder, env=env, jobs=jobs) as build:
        build.wheel()
        build.assert_nothing_is_left()
    assert_held(log, jobs, reached=False)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_run_at_once_than_jobs_in_c_libraries(jobs: int, tmp_path: Path) -> None:
    log = tmp_path / "cc.log"
    sources = "{'sources': [f'many_{n}.c' for n in range(9)], 'macros': [('LIBRARY', None)]}"
    folder = write_extensions(
        tmp_path / "parts", MIXED, arguments=f"{{'libraries': [('l', {sources})]}}"
    )
    env = write_compiler(tmp_path / "cc", COMPILER.format(together=jobs))
    with running_build(folder, env=env, jobs=jobs) as build:
        build.wheel()
    assert most_at_once(log) == jobs


@pytest.mark.parametrize("tokens", [b"", b"xyz"], ids=["0", "3"])
def test_a_build_holds_to_the_tokens_of_an_outer_jobserver(tokens: bytes, tmp_path: Path) -> None:
    log = tmp_path / "cc.log"
    folder = a_project(tmp_path / "parts", log=log)
    env = write_compiler(tmp_path / "cc", COMPILER.format(together=len(tokens) + 1))
    with (
        jobserver(tmp_path / "tokens", tokens) as served,
        running_build(folder, env={**env, **served.environment}) as build,
    ):
        build.wheel()
        build.assert_nothing_is_left()
        served.assert_all_are_back()
    assert_held(log, len(tokens) + 1)


def test_two_builds_share_the_tokens_of_an_outer_jobserver(tmp_path: Path) -> None:
    log = tmp_path / "cc.log"
    folders = [a_project(tmp_path / name, log=log) for name in ("first", "second")]
    env = write_compiler(tmp_path / "cc", COMPILER.format(together=4))
    with jobserver(tmp_path / "tokens", b"xy") as served:
        env |= served.environment
        with running_build(folders[0], env=env) as one, running_build(folders[1], env=env) as two:
            one.wheel()
            two.wheel()
        served.assert_all_are_back()
    # Each has a slot of its own beside the two tokens.
    assert most_at_once(log) <= 4


@pytest.mark.smoke
def test_an_explicit_number_bounds_what_a_jobserver_offers(tmp_path: Path) -> None:
    log = tmp_path / "cc.log"
    folder = a_project(tmp_path / "parts", log=log)
    env = write_compiler(tmp_path / "cc", COMPILER.format(together=2))
    with (
        jobserver(tmp_path / "tokens", b"vwxyz") as served,
        running_build(folder, env={**env, **served.environment}, jobs=2) as build,
    ):
        build.wheel()
        served.assert_all_are_back()
    assert_held(log, 2)


def test_a_token_that_comes_back_later_is_used(tmp_path: Path) -> None:
    log = tmp_path / "cc.log"
    folder = write_extensions(tmp_path / "parts", {"a": 3, "b": 1})
    env = write_compiler(tmp_path / "cc", 'log "+"\npatiently logged "^+" 2\nfake\nlog "-"')
    with jobserver(tmp_path / "tokens", b"x") as served:
        token = served.take()
        with running_build(folder, env={**env, **served.environment}) as build:
            eventually(lambda: "+" in log.read_text(), "one compiler runs")
            served.give(token)
            build.wheel()
        served.assert_all_are_back()
    assert most_at_once(log) == 2


# Counts the tokens without taking one: the recipe itself has the slot that is not in the pipe.
COUNT = """
import fcntl, os, re, sys, termios
reader = int(re.findall(r"--jobserver-(?:auth|fds)=(\\d+),", os.environ["MAKEFLAGS"])[-1])
free = fcntl.ioctl(reader, termios.FIONREAD, bytes(4))
print("tokens:", int.from_bytes(free, sys.byteorder) + 1)
"""

RECIPE = """
import os, sys
sys.path.insert(0, sys.argv[1])
os.chdir(sys.argv[2])
import parallel_backend
parallel_backend.build_wheel(sys.argv[3])
"""


def make_version() -> tuple[int, ...]:
    try:
        text = subprocess.run(
            ["make", "--version"], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return ()
    first, *_ = text.splitlines() or [""]
    if not first.startswith("GNU Make "):
        return ()
    return tuple(int(part) for part in first.split()[2].split(".")[:2])


@pytest.mark.slow
@pytest.mark.parametrize("plus", ["", "+"], ids=["plain", "plus"])
def test_four_wheels_under_make_j4_run_four_at_once_in_all(plus: str, tmp_path: Path) -> None:
    version = make_version()
    if not version:
        pytest.skip("this machine has no GNU make")
    log = tmp_path / "cc.log"
    env = write_compiler(tmp_path / "cc", COMPILER.format(together=4))
    (tmp_path / "recipe.py").write_text(RECIPE)
    (tmp_path / "count.py").write_text(COUNT)
    names = ["one", "two", "three", "four"]
    for name in names:
        a_project(tmp_path / name, log=log)
        (tmp_path / f"wheel-{name}").mkdir()
    python = sys.executable
    rules = [
        f"{name}:\n\t{plus}@{python} recipe.py {SOURCE} {tmp_path}/{name} {tmp_path}/wheel-{name}\n"
        for name in names
    ]
    # The names are folders, too, which make would find to be there.
    targets = " ".join(names)
    count = f".PHONY: all {targets}\nall: {targets}\n\t+@{python} count.py\n"
    (tmp_path / "Makefile").write_text("".join([count, *rules]))
    # From 4.4 on make serves a FIFO unless it is told to be as it was.
    style = ["--jobserver-style=pipe"] if version >= (4, 4) else []
    done = subprocess.run(
        ["env", *(f"{name}={value}" for name, value in env.items()), "make", "-j4", *style, "all"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "tokens: 4" in output
    # make itself counts, too: "INTERNAL: Exiting with 3 jobserver tokens available; should be 4!"
    assert "INTERNAL" not in output
    assert "not usable" not in output
    assert most_at_once(log) == 4
    assert all(list((tmp_path / f"wheel-{name}").iterdir()) for name in names)


@pytest.mark.parametrize("start", ["/* a comment */\n", "// a comment\n", "\n", " "])
def test_a_source_that_begins_with_many_comments_is_ranked_at_once(
    start: str, tmp_path: Path
) -> None:
    source = tmp_path / "long.c"
    source.write_text(start * 25 + "int number;\n")
    began = time.process_time()
    assert Costs().of_source(str(source)) >= len(source.read_text()) // 2
    assert time.process_time() - began < 1
