"""``cythonize()`` translates on our tokens, and what it makes is what a serial build gives."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness import PLAIN_BACKEND, QUICK_COMPILE, HookRun, run_hook, wheel_bytes_equal

pytest.importorskip("Cython", reason="translates with Cython, of the test extra")

NAMES = ("one", "two", "three")
SETUP = """
import watch
from Cython.Build import cythonize
from setuptools import Extension, setup

extensions = [Extension(name, [f"{name}.pyx"]) for name in ("one", "two", "three")]
setup(
    name="translated",
    version="1",
    ext_modules=cythonize(extensions, language_level=3, ARGUMENTS),
)
"""
# Writes down who translates what, and waits for company if it is told to.
WATCH = """
import os, time
import Cython.Compiler.Main as main

original = main.compile_single

def note(*words):
    with open(os.environ["WATCHED"], "a") as log:
        log.write(" ".join(map(str, words)) + "\\n")

def compile_single(source, *args, **options):
    note("begin", os.path.basename(source), os.getpid())
    until = time.monotonic() + 30
    while open(os.environ["WATCHED"]).read().count("begin") < int(os.environ["COMPANY"]):
        assert time.monotonic() < until, "nobody else translates"
    try:
        return original(source, *args, **options)
    finally:
        note("end", os.path.basename(source), os.getpid())

main.compile_single = compile_single
"""


class Project:
    """A project of three sources; one uses a declaration, another one an included file."""

    def __init__(self, folder: Path, arguments: str = "") -> None:
        self.folder = folder / "project"
        self.log = folder / "log"
        self.site = folder / "site"
        for each in (self.folder, self.site):
            each.mkdir()
        (self.site / "watch.py").write_text(WATCH)
        (self.folder / "setup.py").write_text(SETUP.replace("ARGUMENTS", arguments))
        (self.folder / "common.pxd").write_text("cdef inline int base() noexcept: return 1\n")
        (self.folder / "text.pxi").write_text("TEXT = 'text'\n")
        self.write("one", "from common cimport base\ndef one(): return base()\n")
        self.write("two", 'include "text.pxi"\ndef two(): return TEXT\n')
        self.write("three", "def three(): return 3\n")

    def write(self, name: str, text: str) -> None:
        (self.folder / f"{name}.pyx").write_text(text)

    def build(
        self, hook: str = "build_wheel", *, jobs: int = 4, company: int = 1, backend: str = ""
    ) -> HookRun:
        self.log.write_text("")
        (self.folder.parent / "out").mkdir(exist_ok=True)
        env = {
            **QUICK_COMPILE,
            "PYTHONPATH": str(self.site),
            "WATCHED": str(self.log),
            "COMPANY": str(company),
        }
        if backend:
            return run_hook(self.folder, hook, self.folder.parent / "out", env=env, backend=backend)
        settings = {"jobs": str(jobs)}
        return run_hook(
            self.folder, hook, self.folder.parent / "out", env=env, config_settings=settings
        )

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.log.read_text().splitlines()]

    def translated(self) -> list[str]:
        """What was translated, by name."""
        return sorted(name.removesuffix(".pyx") for kind, name, _ in self.lines() if kind == "end")

    def later(self, name: str) -> None:
        """Let a file be newer than all that was translated."""
        moment = time.time() + 10
        os.utime(self.folder / name, (moment, moment))


def test_sources_are_translated_at_once_as_far_as_jobs_allow(tmp_path: Path) -> None:
    project = Project(tmp_path)
    done = project.build(jobs=2, company=2)
    assert done.returncode == 0, done.output
    assert project.translated() == sorted(NAMES)
    running = most = 0
    for kind, *_ in project.lines():
        running += 1 if kind == "begin" else -1
        most = max(most, running)
    assert most == 2
    assert len({pid for *_, pid in project.lines()}) == 3
    assert done.output.count("Cythonizing") == 3


def test_one_job_translates_one_after_another_in_the_hook_s_process(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert project.build(jobs=1).returncode == 0
    kinds = [kind for kind, *_ in project.lines()]
    assert kinds == ["begin", "end"] * 3
    assert len({pid for *_, pid in project.lines()}) == 1


def test_a_hook_for_metadata_translates_at_once_too(tmp_path: Path) -> None:
    project = Project(tmp_path)
    done = project.build("prepare_metadata_for_build_wheel", company=3)
    assert done.returncode == 0, done.output
    assert project.translated() == sorted(NAMES)


def test_a_project_that_chose_its_threads_is_left_alone(tmp_path: Path) -> None:
    project = Project(tmp_path, "nthreads=3")
    done = project.build(jobs=1, company=3)
    assert done.returncode == 0, done.output
    assert project.translated() == sorted(NAMES)


def test_the_wheel_is_that_of_a_serial_build(tmp_path: Path) -> None:
    wheels: list[Path] = []
    project = Project(tmp_path)
    for backend, company in ((PLAIN_BACKEND, 1), ("", 3)):
        done = project.build(company=company, backend=backend)
        assert done.returncode == 0, done.output
        wheel = next((tmp_path / "out").glob("*.whl"))
        place = tmp_path / f"wheel-{len(wheels)}"
        place.mkdir()
        wheels.append(wheel.rename(place / wheel.name))
        for name in NAMES:
            (project.folder / f"{name}.c").unlink()
    assert wheel_bytes_equal(*wheels)


@pytest.mark.parametrize(
    ("changed", "translated"),
    [("common.pxd", ["one"]), ("text.pxi", ["two"]), ("three.pyx", ["three"]), (None, [])],
)
def test_what_changed_is_translated_again_and_nothing_else(
    changed: str | None, translated: list[str], tmp_path: Path
) -> None:
    project = Project(tmp_path)
    assert project.build().returncode == 0
    if changed is not None:
        project.later(changed)
    done = project.build("build_editable")
    assert done.returncode == 0, done.output
    assert project.translated() == translated
    # The same C as before compiles nothing.
    assert done.stdout.endswith(": 0 compiled, 3 reused\n")


def test_a_source_that_fails_is_told_as_cython_tells_it(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("two", "def two(: return 2\n")
    done = project.build(company=2)
    assert done.returncode != 0
    assert "two.pyx:1:" in done.output
    assert done.output.count("Error compiling Cython file") == 1
    assert "CompileError" in done.output
    # What was broken off is not taken for translated.
    project.write("two", "def two(): return 2\n")
    project.later("two.pyx")
    again = project.build()
    assert again.returncode == 0, again.output
    assert "two" in project.translated()


def test_what_was_replaced_is_there_again_after_a_hook(tmp_path: Path) -> None:
    import sys

    import Cython.Build
    import Cython.Build.Dependencies as dependencies

    from parallel_backend.engine import installed
    from parallel_backend.settings import Settings

    def seen() -> tuple[object, ...]:
        return (
            Cython.Build.cythonize,
            dependencies.cythonize,
            dependencies.cythonize_one,
            *sys.meta_path,
        )

    before = seen()
    with installed(settings=Settings(), private=tmp_path, builds=False):
        assert seen()[:3] != before[:3]
        kept = dependencies.cythonize
    assert seen() == before
    assert list(kept([])) == []  # type: ignore[no-untyped-call]
