"""A compiler that is missing or killed, and a process that dies, are told, and made up for."""

from __future__ import annotations

from pathlib import Path

import pytest

from failed_builds import compiled, fail
from harness import serial_wheel, wheel_bytes_equal
from watched_builds import (
    NO_OPTIMISATION,
    running_build,
    write_compiler,
    write_extensions,
)

# --- the compiler


@pytest.mark.parametrize("compiler", ["/nonexistent/cc", "nonesuch"])
def test_a_missing_compiler_is_named(compiler: str, tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 3, "b": 1})
    done = fail(folder, {"CC": compiler}, jobs=2)
    report = done.stderr.splitlines()
    assert f"'{compiler}' was not found" in report[-1]
    assert "extension 'a'" in done.stderr


KILLED_ONCE = """
log "$kind $source"
if [ "$source" = b_0.c ] && [ ! -e '{flag}' ]; then : >'{flag}'; kill -KILL $$; fi
real "$@"
"""

# gcc is a driver: what grows large and is killed is cc1, and gcc says so and fails.
PROPER_KILLED_ONCE = """
log "$kind $source"
[ "$source" = b_0.c ] && [ ! -e '{flag}' ] && set -- -B '{flag}-proper/' "$@"
real "$@"
"""


def equal_to_serial(folder: Path, env: dict[str, str], *, jobs: int = 3) -> None:
    expected = serial_wheel(folder, env=NO_OPTIMISATION)
    with running_build(folder, env=env, jobs=jobs) as build:
        assert wheel_bytes_equal(build.wheel(), expected)
        build.assert_nothing_is_left()


@pytest.mark.slow
@pytest.mark.parametrize("body", [KILLED_ONCE, PROPER_KILLED_ONCE], ids=["driver", "proper"])
def test_a_compiler_that_is_killed_once_among_others_builds(body: str, tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", dict.fromkeys("abcdef", 1))
    flag = tmp_path / "killed"
    proper = Path(f"{flag}-proper")
    proper.mkdir()
    (proper / "cc1").write_text(f"#!/bin/sh\n: >'{flag}'\nkill -KILL $$\n")
    (proper / "cc1").chmod(0o755)
    env = write_compiler(tmp_path / "cc", body.format(flag=flag))
    equal_to_serial(folder, env)
    assert flag.exists()
    assert compiled(tmp_path / "cc.log").count("b_0.c") == 2


def test_a_compiler_that_is_always_killed_is_an_error_that_names_the_signal(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 1, "b": 4, "c": 1})
    body = '[ "$source" = b_2.c ] && { echo "last words" >&2; kill -KILL $$; }\nfake'
    done = fail(folder, write_compiler(tmp_path / "cc", body), jobs=3)
    report = done.stderr[done.stderr.index("error: ") :]
    assert "extension 'b'" in report
    assert "b_2.c" in report
    assert "SIGKILL" in report
    assert done.stderr.splitlines()[-2] == "last words", done.stderr


# --- workers


DYING = """
from setuptools.command.build_ext import build_ext
import os, signal
class Dying(build_ext):
    def build_extension(self, ext):
        if ext.name == "b":
            print("last words", flush=True)
            {death}
        super().build_extension(ext)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("death", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os._exit(3)", "exit status 3"),
        ("os._exit(0)", "exit status 0"),
    ],
    ids=["SIGKILL", "SIGSEGV", "exit-3", "exit-0"],
)
def test_a_process_that_dies_is_an_error_that_tells_how(
    death: str, told: str, tmp_path: Path
) -> None:
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 1, "b": 1, "c": 1},
        code=DYING.format(death=death),
        arguments="{'cmdclass': {'build_ext': Dying}}",
    )
    env = write_compiler(tmp_path / "cc", "fake")
    done = fail(folder, env, jobs=2)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("parallel-backend: error: "), done.output
    assert told in last


def test_the_last_words_of_a_process_that_dies_are_shown(tmp_path: Path) -> None:
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 1, "b": 1, "c": 1},
        code=DYING.format(death="os.kill(os.getpid(), signal.SIGKILL)"),
        arguments="{'cmdclass': {'build_ext': Dying}}",
    )
    done = fail(folder, write_compiler(tmp_path / "cc", "fake"), jobs=2)
    assert "last words" in done.output, done.output
