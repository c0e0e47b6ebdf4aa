"""What a build prints: each command's own output whole, and one closing line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness import QUICK_COMPILE, HookRun, copy_package, run_hook
from watched_builds import (
    NO_OPTIMISATION,
    jobserver,
    running_build,
    write_compiler,
    write_extensions,
)

# Slowly, each line in two pieces, on both streams in turn; then more than a pipe holds.
CHATTY = """
for line in 1 2 3 4 5; do
    printf 'out %s' "$source"; sleep 0.01; printf ' %s\\n' $line
    printf 'err %s' "$source" >&2; sleep 0.01; printf ' %s\\n' $line >&2
done
awk -v source="$source" 'BEGIN { for (i = 6; i < 4000; i++) print "out", source, i }'
fake
"""

CLOSING_LINE = re.compile(
    r"parallel-backend: (\d+) compiled, (\d+) linked, (\d+) reused in (\d+\.\d) s "
    r"on (\d+) jobs? \((\d+\.\d) busy\)"
)

# A method on the instance: sources are then compiled in forks.
REPLACED = """
from setuptools.command.build_ext import build_ext
class Replaced(build_ext):
    def build_extension(self, ext):
        original = type(self.compiler)._compile
        def _compile(*args):
            print("out", args[1], 0)
            original(self.compiler, *args)
        self.compiler._compile = _compile
        try:
            super().build_extension(ext)
        finally:
            del self.compiler._compile
"""


def built(folder: Path, env: dict[str, str], *, merged: bool = False, **settings: Any) -> HookRun:
    with running_build(folder, env=env, merged=merged, jobs=4, **settings) as build:
        done = build.finish()
        assert done.returncode == 0, done.output
        build.assert_nothing_is_left()
    return done


def assert_in_blocks(text: str, names: list[str], *, first: int = 1) -> None:
    """For each source: its command, then all that the command printed, with nothing in between."""
    lines = text.splitlines()
    for name in names:
        own = [number for number, line in enumerate(lines) if re.match(rf"(out|err) {name} ", line)]
        block = lines[own[0] : own[-1] + 1]
        said = [f"out {name} {number}" for number in range(first, 4000)]
        assert [line for line in block if line.startswith("out")] == said
        others = [line for line in block if not line.startswith("out")]
        expected = [f"err {name} {number}" for number in range(1, 6)]
        # distutils' log line comes after what a replaced _compile has printed before the command.
        assert [line for line in others if f" -c {name} " not in line] == expected, others
        assert f" -c {name} " in "\n".join(lines[own[0] - 1 : own[-1]]), lines[own[0] - 1]


@pytest.mark.parametrize("code", ["", REPLACED], ids=["", "forks"])
def test_outputs_of_different_commands_never_mix(code: str, tmp_path: Path) -> None:
    names = {"a": 5, "b": 1, "c": 1, "d": 3}
    arguments = "{'cmdclass': {'build_ext': Replaced}}" if code else "{}"
    folder = write_extensions(tmp_path / "parts", names, code=code, arguments=arguments)
    env = write_compiler(tmp_path / "cc", f"[ $kind = link ] && {{ fake; exit; }}\n{CHATTY}")
    done = built(folder, env, merged=True)
    sources = [f"{name}_{number}.c" for name, count in names.items() for number in range(count)]
    assert_in_blocks(done.stdout, sources, first=0 if code else 1)


def test_each_stream_stays_the_stream_that_it_was(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 2, "b": 1})
    env = write_compiler(tmp_path / "cc", "echo to out; echo to err >&2; fake")
    done = built(folder, env)
    commands = 5
    assert done.stdout.count("to out") == commands
    assert done.stderr.count("to err") == commands
    assert "to err" not in done.stdout


def test_an_output_that_is_no_text_is_shown_as_it_is(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 2, "b": 1})
    env = write_compiler(tmp_path / "cc", "printf 'caf\\351\\n'; fake")
    assert "caf\\xe9" in built(folder, env).stdout


def test_a_warning_is_shown_with_its_command(tmp_path: Path) -> None:
    warning = {"a_1.c": '#warning "look here"\nint a_1(void) { return 0; }\n'}
    folder = write_extensions(tmp_path / "parts", {"a": 3, "b": 1}, contents=warning)
    with running_build(folder, env=NO_OPTIMISATION, merged=True, jobs=3) as build:
        done = build.finish()
    assert done.returncode == 0, done.output
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if "look here" in line)
    assert " -c a_1.c " in lines[at - 1]


def test_a_quiet_build_still_shows_warnings(tmp_path: Path) -> None:
    warning = {"a_1.c": '#warning "look here"\nint a_1(void) { return 0; }\n'}
    folder = write_extensions(tmp_path / "parts", {"a": 3, "b": 1}, contents=warning)
    done = built(folder, NO_OPTIMISATION, quiet="true")
    assert "look here" in done.stderr


def closing_line(done: HookRun) -> tuple[tuple[int, int, int], float, int, float]:
    """Compiled, linked, reused; seconds; jobs; busy jobs: of the last line, our only one."""
    lines = [line for line in done.output.splitlines() if line.startswith("parallel-backend: ")]
    assert len(lines) == 1, done.output
    assert done.stdout.splitlines()[-1] == lines[0], done.output
    match = CLOSING_LINE.fullmatch(lines[0])
    assert match is not None, lines
    compiled, linked, reused, seconds, jobs, busy = match.groups()
    counts = int(compiled), int(linked), int(reused)
    return counts, float(seconds), int(jobs), float(busy)


@pytest.mark.parametrize("jobs", [1, 4])
def test_the_closing_line_counts_what_was_built(jobs: int, tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 5, "b": 1, "c": 2})
    env = write_compiler(tmp_path / "cc", "sleep 0.1; fake")
    with running_build(folder, env=env, jobs=jobs) as build:
        done = build.finish()
    counts, seconds, told, busy = closing_line(done)
    assert (counts, told) == ((8, 3, 0), jobs)
    # At least as long as eight commands take, and the linking of what was compiled last.
    assert seconds >= round(0.1 * 8 / jobs + 0.1, 1)
    assert busy <= jobs
    assert seconds * busy >= 0.1 * 11 - 0.05 * (seconds + busy)  # both are rounded
    assert f"on {jobs} job{'s' * (jobs != 1)} (" in done.stdout


@pytest.mark.smoke
def test_the_closing_line_knows_one_from_many(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 1})
    done = built(folder, write_compiler(tmp_path / "cc", "fake"))
    assert "parallel-backend: 1 compiled, 1 linked, 0 reused in " in done.stdout


def test_busy_jobs_are_the_time_of_all_commands_by_that_of_the_build(tmp_path: Path) -> None:
    # Each waits for the other three: all slots are in use at once.
    folder = write_extensions(tmp_path / "parts", {"a": 8})
    body = "[ $kind = link ] || { log +; patiently logged + 4; sleep 0.5; }\nfake"
    done = built(folder, write_compiler(tmp_path / "cc", body))
    _, seconds, jobs, busy = closing_line(done)
    # Whatever time the machine takes to start them. Both numbers are rounded.
    assert seconds * busy >= 8 * 0.5 - 0.05 * (seconds + busy)
    assert busy <= jobs


@pytest.mark.smoke
def test_equal_commands_compile_once_as_the_closing_line_tells(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 1, "b": 1})
    (folder / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        "setup(ext_modules=[Extension(n, [f'{n}_0.c', 'shared.c']) for n in 'ab'])\n"
    )
    (folder / "shared.c").write_text("int shared(void) { return 1; }\n")
    done = built(folder, NO_OPTIMISATION)
    assert closing_line(done)[0] == (3, 2, 1)


def test_the_jobs_of_a_jobserver_without_a_number_are_told(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 2})
    env = write_compiler(tmp_path / "cc", "fake")
    with (
        jobserver(tmp_path / "tokens", b"ab") as tokens,
        running_build(folder, env={**env, **tokens.environment}) as build,
    ):
        done = build.finish()
        assert done.returncode == 0, done.output
    assert closing_line(done)[0] == (2, 1, 0)


@pytest.mark.parametrize("hook", ["build_sdist", "prepare_metadata_for_build_wheel"])
def test_a_hook_that_compiles_nothing_has_no_closing_line(hook: str, tmp_path: Path) -> None:
    folder = copy_package("shared_source", tmp_path)
    done = run_hook(folder, hook, tmp_path, env=QUICK_COMPILE)
    assert done.returncode == 0, done.output
    assert "parallel-backend" not in done.output


def test_a_pure_python_wheel_has_no_closing_line(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "pure", {})
    done = run_hook(folder, "build_wheel", tmp_path)
    assert done.returncode == 0, done.output
    assert "parallel-backend:" not in done.output


def test_the_log_lines_of_distutils_stay(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 3, "b": 1})
    env = write_compiler(tmp_path / "cc", "fake")
    lines = built(folder, env).stdout.splitlines()
    for line in ["running build_ext", "building 'a' extension", "building 'b' extension"]:
        assert lines.count(line) == 1
    for source in ["a_0.c", "a_1.c", "a_2.c", "b_0.c"]:
        assert len([line for line in lines if f" -c {source} " in line]) == 1
    assert len([line for line in lines if " -shared " in line]) == 2


@pytest.mark.parametrize(
    "hook", ["get_requires_for_build_wheel", "prepare_metadata_for_build_wheel", "build_sdist"]
)
def test_a_hook_that_compiles_nothing_makes_no_folder_that_would_be_taken_for_a_package(
    hook: str, tmp_path: Path
) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 1})
    with (folder / "pyproject.toml").open("a") as stream:
        stream.write('[tool.setuptools.packages.find]\nwhere = ["."]\n')
    arguments = [] if hook.startswith("get_") else [tmp_path]
    done = run_hook(folder, hook, *arguments, env=QUICK_COMPILE)
    assert done.returncode == 0, done.output
    assert not (folder / "build").exists()
