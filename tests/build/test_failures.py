"""A build that fails says what failed, soon and last, and leaves nothing running."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from failed_builds import compiled, fail
from harness import PLAIN_BACKEND, HookRun, copy_package, run_hook
from watched_builds import (
    NO_OPTIMISATION,
    running_build,
    write_compiler,
    write_extensions,
)

# What the compiler says of a broken source: on both streams, and more than a pipe holds.
SAID = [f"broken_source says {number} {'x' * 60}" for number in range(2000)]
SAY = """
say() {
    awk 'BEGIN { x = sprintf("%60s", ""); gsub(" ", "x", x)
        for (i = 0; i < 2000; i++) print "broken_source says", i, x }'
}
"""

BROKEN_COMPILER = (
    SAY
    + """
log "$kind $source"
case $source in
    broken*) say >&2; log failed; exit 1 ;;
esac
[ $kind = compile ] && patiently logged failed 1
fake
"""
)

FALLBACK = """
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError
"""


def assert_report_is_last(
    done: HookRun, *, extension: str, source: str, quiet: bool = False
) -> None:
    """The compiler's own words, whole, once; then one line: extension, source, exit status."""
    lines = done.stderr.rstrip("\n").split("\n")
    if quiet:  # nobody has seen the command
        assert f" -c {source} " in lines.pop()
    assert lines[-1].startswith(f"error: extension '{extension}': {source}: "), lines[-1]
    assert lines[-1].endswith(" failed with exit status 1")
    assert lines[-1 - len(SAID) : -1] == SAID, done.output[-3000:]
    assert done.output.count(SAID[7]) == 1
    assert quiet or f" -c {source} " in done.output


# --- one broken source


@pytest.mark.parametrize("quiet", [False, True], ids=["", "quiet"])
def test_one_broken_source_of_forty_stops_the_build(quiet: bool, tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"broken": 1, "parts": 40})
    (folder / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        "parts = ['broken_0.c', *(f'parts_{n}.c' for n in range(40))]\n"
        "setup(ext_modules=[Extension('parts', parts)])\n"
    )
    env = write_compiler(tmp_path / "cc", BROKEN_COMPILER)
    words = {"quiet": "true"} if quiet else {}
    done = fail(folder, env, jobs=3, **words)
    assert_report_is_last(done, extension="parts", source="broken_0.c", quiet=quiet)
    assert len(compiled(tmp_path / "cc.log")) <= 7


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [False, True], ids=["", "quiet"])
def test_one_broken_extension_of_forty_stops_the_build(quiet: bool, tmp_path: Path) -> None:
    names = {"broken": 1, **{f"part{number}": 1 for number in range(39)}}
    folder = write_extensions(tmp_path / "parts", names)
    env = write_compiler(tmp_path / "cc", BROKEN_COMPILER)
    words = {"quiet": "true"} if quiet else {}
    done = fail(folder, env, jobs=3, **words)
    assert_report_is_last(done, extension="broken", source="broken_0.c", quiet=quiet)
    assert len(compiled(tmp_path / "cc.log")) <= 7


@pytest.mark.smoke
def test_a_broken_extension_begins_nothing_that_stands_after_it(tmp_path: Path) -> None:
    # The costliest, so that it is tried before what a serial build would have built first.
    names = {**{f"a{n}": 1 for n in range(8)}, "broken": 1, **{f"b{n}": 1 for n in range(31)}}
    costly = {"broken_0.c": f"/* {'long ' * 2000} */"}
    folder = write_extensions(tmp_path / "parts", names, contents=costly)
    env = write_compiler(tmp_path / "cc", BROKEN_COMPILER)
    done = fail(folder, env, jobs=3)
    assert_report_is_last(done, extension="broken", source="broken_0.c")
    sources = compiled(tmp_path / "cc.log")
    assert len([source for source in sources if source.startswith("a")]) == 8
    assert len([source for source in sources if source.startswith("b")]) <= 6
    assert sources.count("broken_0.c") == 2


def test_a_broken_source_of_a_c_library_stops_the_build(tmp_path: Path) -> None:
    folder = write_extensions(
        tmp_path / "parts",
        {"broken": 1, "part": 20},
        code="parts = ['broken_0.c', *(f'part_{n}.c' for n in range(20))]",
        arguments="{'libraries': [('parts', {'sources': parts})]}",
    )
    env = write_compiler(tmp_path / "cc", BROKEN_COMPILER)
    with running_build(folder, env=env, jobs=3) as build:
        done = build.finish()
    assert done.returncode == 1, done.output
    *_, last = lines = done.stderr.rstrip("\n").split("\n")
    assert lines[-1 - len(SAID) : -1] == SAID
    assert last.startswith("error: C libraries: broken_0.c: ")
    assert len(compiled(tmp_path / "cc.log")) <= 7


@pytest.mark.smoke
def test_what_the_real_compiler_says_is_the_end(tmp_path: Path) -> None:
    folder = copy_package("broken_source", tmp_path)
    done = fail(folder, NO_OPTIMISATION, jobs=2)
    command = next(line for line in done.stdout.splitlines() if " -c part_7.c " in line)
    words = command.split()
    words[words.index("-o") + 1] = os.devnull
    again = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert again.returncode != 0
    said, _, last = done.stderr.rstrip("\n").rpartition("\n")
    assert said.endswith(again.stderr.rstrip("\n"))
    assert "part_7.c" in last


# --- keep-going


KEEP_GOING_COMPILER = """
log "$kind $source"
case $source in
    broken*) echo "what is wrong with $source" >&2; exit 1 ;;
esac
fake
"""


def test_keep_going_builds_the_rest_and_lists_every_failure(tmp_path: Path) -> None:
    names = {"a": 1, "broken1": 3, "b": 2, "broken2": 1, "c": 1, "d": 4}
    folder = write_extensions(tmp_path / "parts", names)
    env = write_compiler(tmp_path / "cc", KEEP_GOING_COMPILER)
    done = fail(folder, env, jobs=3, keep_going="true")
    built = [path.name.split(".")[0] for path in folder.glob("build/lib*/*.so")]
    assert sorted(built) == ["a", "b", "c", "d"]
    report = done.stderr[done.stderr.rindex("error: ") :]
    for source in ["broken1_0.c", "broken2_0.c"]:
        assert done.output.count(f"what is wrong with {source}") == 1, done.output
        assert f" -c {source} " in done.stdout
    assert report.index("'broken1'") < report.index("'broken2'")


OWN_ERRORS = """
from setuptools.command.build_ext import build_ext
class Own(build_ext):
    def build_extension(self, ext):
        if ext.name.startswith("broken"):
            raise RuntimeError(f"what is wrong with {ext.name}")
        super().build_extension(ext)
"""


@pytest.mark.slow
def test_keep_going_lists_every_failure_of_a_project_s_own_code(tmp_path: Path) -> None:
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 1, "broken1": 1, "b": 1, "broken2": 1, "c": 1},
        code=OWN_ERRORS,
        arguments="{'cmdclass': {'build_ext': Own}}",
    )
    env = write_compiler(tmp_path / "cc", "fake")
    with running_build(folder, env=env, jobs=3, keep_going="true") as build:
        done = build.finish()
        assert done.returncode == 1, done.output
        build.assert_nothing_is_left()
    built = [path.name.split(".")[0] for path in folder.glob("build/lib*/*.so")]
    assert sorted(built) == ["a", "b", "c"]
    # Python prints the first one, and then its notes.
    end = done.stderr[done.stderr.rindex("RuntimeError: ") :]
    assert end.startswith("RuntimeError: what is wrong with broken1\n")
    assert "what is wrong with broken2" in end


# --- failures that the project has allowed for


def test_an_optional_extension_may_fail_and_is_not_counted(tmp_path: Path) -> None:
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 1, "broken": 1, "b": 1},
        options={"broken": {"optional": True}},
    )
    env = write_compiler(tmp_path / "cc", KEEP_GOING_COMPILER)
    with running_build(folder, env=env, jobs=2) as build:
        done = build.finish()
        assert done.returncode == 0, done.output
    assert 'building extension "broken" failed' in done.stderr
    assert "what is wrong with broken_0.c" in done.output
    assert " -c broken_0.c " in done.output
    assert "parallel-backend: 2 compiled, 2 linked, 0 reused" in done.stdout, done.output
    built = [path.name.split(".")[0] for path in folder.glob("build/lib*/*.so")]
    assert sorted(built) == ["a", "b"]


IN_BUILD_EXTENSION = (
    FALLBACK
    + """
class Pure(build_ext):
    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except CompileError:
            print("pure Python instead")
    def get_outputs(self):
        return []
"""
)

IN_RUN = (
    FALLBACK
    + """
class Pure(build_ext):
    def run(self):
        try:
            super().run()
        except CompileError:
            print("pure Python instead")
            self.extensions = []
"""
)

# As markupsafe, simplejson, SQLAlchemy and others do.
IN_SETUP = (
    FALLBACK
    + """
class BuildFailed(Exception):
    pass
class Pure(build_ext):
    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except CompileError as error:
            raise BuildFailed from error
_setup = setup
def setup(**arguments):
    try:
        _setup(**arguments)
    except BuildFailed:
        print("pure Python instead")
        _setup(**{**arguments, "ext_modules": []})
"""
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "code", [IN_BUILD_EXTENSION, IN_RUN, IN_SETUP], ids=["build_extension", "run", "setup"]
)
def test_a_failure_that_the_project_catches_still_shows_what_the_compiler_said(
    code: str, tmp_path: Path
) -> None:
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 1, "broken": 1, "b": 1},
        code=code,
        arguments="{'cmdclass': {'build_ext': Pure}}",
    )
    env = write_compiler(tmp_path / "cc", KEEP_GOING_COMPILER)
    with running_build(folder, env=env, jobs=2) as build:
        done = build.finish()
        assert done.returncode == 0, done.output
    assert "pure Python instead" in done.output, done.output
    assert "what is wrong with broken_0.c" in done.output, done.output
    assert " -c broken_0.c " in done.output


OWN_ERROR = """
from setuptools.command.build_ext import build_ext
class Own(build_ext):
    def build_extensions(self):
        original = self.compiler._compile
        def _compile(obj, src, *rest):
            if src.startswith("broken_1"):
                print("there is no table")
                raise LookupError("nothing is known of it")
            original(obj, src, *rest)
        self.compiler._compile = _compile
        super().build_extensions()
"""


@pytest.mark.slow
def test_an_error_of_a_project_s_own_compile_is_raised_as_it_is(tmp_path: Path) -> None:
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 1, "broken": 3},
        code=OWN_ERROR,
        arguments="{'cmdclass': {'build_ext': Own}}",
    )
    settings = {"jobs": "2"}
    done = run_hook(folder, "build_wheel", tmp_path, config_settings=settings)
    assert done.returncode == 1, done.output
    assert "LookupError: nothing is known of it" in done.stderr
    assert "there is no table" in done.stdout


# --- what distutils itself refuses


REFUSED = """
from setuptools.command.build_ext import build_ext
class Refused(build_ext):
    def build_extension(self, ext):
        self.compiler.link_shared_object("a_0.o", "a.so")
"""


@pytest.mark.parametrize("backend", [PLAIN_BACKEND, "parallel_backend"])
def test_what_is_no_list_of_objects_is_refused_in_distutils_words(
    backend: str, tmp_path: Path
) -> None:
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 1, "b": 1},
        code=REFUSED,
        arguments="{'cmdclass': {'build_ext': Refused}}",
    )
    done = run_hook(folder, "build_wheel", tmp_path, backend=backend)
    assert done.returncode == 1, done.output
    assert "TypeError: 'objects' must be a list or tuple of strings" in done.stderr
