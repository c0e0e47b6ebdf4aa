"""A serial build's result where one wheel of a fresh folder does not tell: trees that were built
before, hooks that build and are not asked to, what is printed, and what is left running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import setuptools

from harness import (
    PLAIN_BACKEND,
    QUICK_COMPILE,
    SOURCE,
    HookRun,
    build_wheel,
    copy_package,
    load_extension_values,
    run_hook,
    serial_wheel,
    wheel_bytes_equal,
)
from watched_builds import running_build, write_compiler, write_extensions

VALUES = "[first.value(), second.value()]"

# Seconds that a failed build gets to end: less than the compilers here would take, by far.
SOON = 40.0


def succeeded(done: HookRun) -> Any:
    assert done.returncode == 0, done.output
    return done.result


def build(folder: Path, **settings: str) -> HookRun:
    """Build a wheel into ``folder/../out``, with eight jobs."""
    words = {"jobs": "8", **settings}
    return run_hook(
        folder, "build_wheel", folder.parent / "out", env=QUICK_COMPILE, config_settings=words
    )


# --- trees that were built before


def built_before(name: str, tmp_path: Path) -> Path:
    """A sample that plain setuptools has built, whose objects and libraries are still there."""
    folder = copy_package(name, tmp_path)
    build_wheel(folder, backend=PLAIN_BACKEND, env=QUICK_COMPILE)
    for made in [*folder.glob("build/lib*/*"), *folder.glob("*.began"), *folder.glob("*.done")]:
        made.unlink()
    return folder


@pytest.mark.parametrize("name", ["undeclared_library", "own_archive"])
def test_what_an_earlier_build_left_is_not_taken_for_what_this_one_makes(
    name: str, tmp_path: Path
) -> None:
    folder = built_before(name, tmp_path)
    source = folder / "number.c"
    before = source.stat()
    text = source.read_text()
    changed = text.replace("return 2", "return 20").replace("return NUMBER", "return 10 * NUMBER")
    assert changed != text
    source.write_text(changed)
    # An hour newer than the objects, whatever the file system's clock.
    os.utime(source, ns=(before.st_atime_ns, time.time_ns() + 3600 * 10**9))
    serial = serial_wheel(folder, env=QUICK_COMPILE)
    wheel = build_wheel(folder, jobs=8, env=QUICK_COMPILE)
    expected = {"undeclared_library": [1, 20], "own_archive": [10, 20]}[name]
    assert load_extension_values(wheel, VALUES) == expected
    assert wheel_bytes_equal(wheel, serial)


# --- builds that no build hook asked for

# Compiles `number.c` only when all three extensions do, or after a while: whoever compiles them to
# one path has all of them at once.
TOGETHER = """
if [ "$source" = number.c ]; then
    log +
    tries=0
    until logged + 3 || [ $tries -ge 300 ]; do sleep 0.01; tries=$((tries + 1)); done
fi
real "$@"
"""


def values_in_tree(folder: Path) -> Any:
    """The values of the modules that lie in ``build/lib*``."""
    wheel = folder.parent / "tree.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for module in folder.glob("build/lib*/*.so"):
            archive.write(module, module.name)
    return load_extension_values(wheel, "[first.value(), second.value(), third.value()]")


@pytest.mark.parametrize(
    ("name", "hook"),
    [
        ("build_ext_in_egg_info", "get_requires_for_build_wheel"),
        ("build_ext_in_egg_info", "prepare_metadata_for_build_wheel"),
        ("build_ext_in_egg_info", "build_sdist"),
        ("build_ext_in_build_py", "build_wheel"),
        ("late_extensions", "build_wheel"),
    ],
)
def test_a_build_ext_that_the_hook_did_not_ask_for_gives_the_serial_result(
    name: str, hook: str, tmp_path: Path
) -> None:
    folder = copy_package(name, tmp_path)
    arguments = [] if hook.startswith("get_requires") else [tmp_path]
    env = write_compiler(tmp_path / "cc", TOGETHER)
    succeeded(run_hook(folder, hook, *arguments, env=env, config_settings={"jobs": "8"}))
    assert values_in_tree(folder) == [1, 2, 3]


def test_a_build_after_a_hook_that_built_already_gives_the_serial_wheel(tmp_path: Path) -> None:
    wheels = []
    for backend in (PLAIN_BACKEND, "parallel_backend"):
        folder = copy_package("build_ext_in_egg_info", tmp_path)
        hook = "get_requires_for_build_wheel"
        succeeded(run_hook(folder, hook, backend=backend, env=QUICK_COMPILE))
        wheels.append(build_wheel(folder, backend=backend, env=QUICK_COMPILE))
    assert wheel_bytes_equal(*wheels)


# --- a project inside an interpreter's own folder


def test_headers_of_a_project_inside_a_virtual_environment_may_change(tmp_path: Path) -> None:
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = str(home / "bin" / "python")
    folder = copy_package("header_race", home)
    # By an absolute path, as what is installed has.
    (folder / "include").mkdir()
    setup = (folder / "setup.py").read_text()
    setup = setup.replace('Path("config.h")', 'Path("include/config.h")')
    setup = setup.replace(
        "(name, [", "(name, include_dirs=[str(Path('include').resolve())], sources=["
    )
    (folder / "setup.py").write_text(setup)
    packages = Path(setuptools.__file__).parent.parent
    serial = serial_wheel(folder, python=python, env=QUICK_COMPILE, path=[packages])
    path = [SOURCE, packages]
    wheel = build_wheel(folder, jobs=8, python=python, env=QUICK_COMPILE, path=path)
    assert load_extension_values(wheel, VALUES, python=python) == [1, 2]
    assert wheel_bytes_equal(wheel, serial)


# --- what is compiled


def test_headers_written_right_before_their_source_cost_no_second_compilation(
    tmp_path: Path,
) -> None:
    folder = copy_package("header_just_before", tmp_path)
    env = write_compiler(tmp_path / "cc", '[ $kind = compile ] && log "$source"\nreal "$@"\n')
    wheel = build_wheel(folder, jobs=8, env=env)
    values = load_extension_values(wheel, "[first.value(), second.value(), third.value()]")
    assert values == [1, 2, 3]
    compiled = sorted((tmp_path / "cc.log").read_text().split())
    assert compiled == ["first.c", "second.c", "third.c"]


# --- what is printed


@pytest.mark.parametrize(
    ("name", "said"), [("asyncio_child", "by asyncio: "), ("child_in_own_session", "one of ")]
)
def test_what_a_child_of_the_project_prints_is_shown_once(
    name: str, said: str, tmp_path: Path
) -> None:
    folder = copy_package(name, tmp_path)
    done = build(folder)
    succeeded(done)
    lines = [line for line in done.stdout.splitlines() if line.startswith(said)]
    assert sorted(lines) == [f"{said}first", f"{said}second"]


def test_the_error_that_run_catches_is_shown(tmp_path: Path) -> None:
    done = build(copy_package("run_falls_back", tmp_path))
    succeeded(done)
    assert "without extensions" in done.stdout
    assert "THE REASON" in done.stderr


EXITS = """
import subprocess, sys
from setuptools.command.build_ext import build_ext
class Exits(build_ext):
    def build_extension(self, ext):
        if subprocess.call(["sh", "-c", "echo the reason >&2; echo and more; exit 3"]):
            sys.exit("the tool failed")
"""


def test_what_was_printed_before_a_project_exits_is_shown(tmp_path: Path) -> None:
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 1, "b": 1},
        code=EXITS,
        arguments="{'cmdclass': {'build_ext': Exits}}",
    )
    done = build(folder)
    assert done.returncode == 1, done.output
    assert "the reason" in done.stderr
    assert "and more" in done.output
    assert done.stderr.rstrip().endswith("the tool failed")


# --- what is left running

REPLACED = """
from setuptools.command.build_ext import build_ext
class Replaced(build_ext):
    def build_extensions(self):
        original = self.compiler._compile
        def compile_one(*args):
            return original(*args)
        self.compiler._compile = compile_one
        super().build_extensions()
"""
CMDCLASS = "{'cmdclass': {'build_ext': Replaced}}"

# One fails when the others run; those would run for long.
ONE_FAILS = """
[ $kind = link ] && {{ fake; exit; }}
case $source in
    {quick}) fake ;;
    {broken}) patiently logged + {others}; echo "what is wrong with it" >&2; exit 1 ;;
    *) log +; exec sleep 1000 ;;
esac
"""


@pytest.mark.parametrize(
    ("counts", "code", "compiler", "settings"),
    [
        ({"a": 4}, REPLACED, ("a_0.c", "a_1.c", 2), {"jobs": 4}),
        ({"a": 1, "b": 2}, REPLACED, ("none", "a_0.c", 1), {"jobs": 3}),
        ({"a": 1, "b": 8}, "", ("none", "a_0.c", 1), {"jobs": 2}),
        ({"a": 1, "b": 8}, "", ("none", "a_0.c", 3), {"jobs": 4}),
    ],
    ids=["one extension", "two extensions", "two jobs", "four jobs"],
)
def test_no_compiler_runs_on_after_a_failure(
    counts: dict[str, int],
    code: str,
    compiler: tuple[str, str, int],
    settings: dict[str, Any],
    tmp_path: Path,
) -> None:
    arguments = CMDCLASS if code else "{}"
    folder = write_extensions(tmp_path / "parts", counts, code=code, arguments=arguments)
    quick, broken, others = compiler
    body = ONE_FAILS.format(quick=quick, broken=broken, others=others)
    env = write_compiler(tmp_path / "cc", body)
    with running_build(folder, env=env, **settings) as running:
        done = running.finish(SOON)
        assert done.returncode == 1, done.output
        assert "what is wrong with it" in done.stderr
        running.assert_nothing_is_left()
