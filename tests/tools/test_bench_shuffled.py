"""bench/shuffled.py finds what leaks from hook to hook, on projects made up here."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from harness import QUICK_COMPILE, REPOSITORY
from projects import TINY_C, make_project

sys.path.insert(0, str(REPOSITORY))

from bench import builds, environments, shuffled

pytestmark = pytest.mark.slow

HERE = environments.Environment(
    python=Path(sys.executable), python_version="3", setuptools="this one"
)
# Each project has a module of this name, and a setup.py that leaves its folder on the path.
CUSTOM = "import os, sys\nsys.path.insert(0, os.getcwd())\nfrom _custom import ARGUMENTS\n"
SETUP = f"{CUSTOM}from setuptools import Extension, setup\nsetup(**ARGUMENTS)\n"
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no cc")


@pytest.fixture
def two_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Command line: two projects, and the environment that the tests run in."""
    for name, value in QUICK_COMPILE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(shuffled, "make_environment", lambda cache, **options: HERE)
    native = (
        "from setuptools import Extension\n"
        "ARGUMENTS = {'ext_modules': [Extension('native', ['native.c'])]}\n"
    )
    files = {"native.c": TINY_C.format(name="native"), "_custom.py": native}
    one = make_project(tmp_path / "one", name="one", setup=SETUP, files=files)
    pure = {"_custom.py": "ARGUMENTS = {}\n"}
    two = make_project(tmp_path / "two", name="two", setup=SETUP, files=pure)
    cache = ["--cache", str(tmp_path / "cache"), "--python", sys.executable]
    return ["--packages", f"{one},{two}", *cache]


@needs_cc
def test_hooks_in_one_process_give_what_fresh_processes_give(
    two_projects: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shuffled.main([*two_projects, "--ways", "fork"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [[name, "fork", "same", "(8", "of", "8)"] for name in ("one", "two")]
    assert len([*(tmp_path / "cache/shuffled/fork").rglob("*.whl")]) == 4


@needs_cc
def test_what_plain_setuptools_leaks_from_hook_to_hook_is_found(
    two_projects: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(shuffled, "parallel", lambda jobs: builds.serial())
    few = {hook: shuffled.HOOKS[hook] for hook in ("get_requires_for_build_wheel", "build_wheel")}
    monkeypatch.setattr(shuffled, "HOOKS", few)
    assert shuffled.main([*two_projects, "--ways", "fork"]) == 1
    told = capsys.readouterr().out
    assert "DIFFERS" in told
    # Whichever project comes first, the other one is built with its _custom.py.
    assert "ModuleNotFoundError" in told or "native" in told
    assert "differs from itself" not in told
