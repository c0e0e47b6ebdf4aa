"""bench/shuffled.py finds what leaks from hook to hook, on projects made up here."""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness import QUICK_COMPILE, REPOSITORY
from projects import TINY_C, make_project

sys.path.insert(0, str(REPOSITORY))

from bench import builds, environments, sessions, shuffled, sources

HERE = environments.Environment(
    python=Path(sys.executable), python_version="3", setuptools="this one"
)
# Each project has a module of this name, and a setup.py that leaves its folder on the path.
CUSTOM = "import os, sys\nsys.path.insert(0, os.getcwd())\nfrom _custom import ARGUMENTS\n"
SETUP = f"{CUSTOM}from setuptools import Extension, setup\nsetup(**ARGUMENTS)\n"
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no cc")


def _source(name: str, *requires: str) -> sources.Source:
    return sources.Source(
        name=name, tree=Path(name), requires=requires, legacy=False, backend_path=()
    )


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
    assert shuffled.main(two_projects) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [
        [name, way, "same", "(8", "of", "8)"] for way in shuffled.WAYS for name in ("one", "two")
    ]
    for way in shuffled.WAYS:
        assert len([*(tmp_path / "cache/shuffled" / way).rglob("*.whl")]) == 4


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


def test_every_round_calls_all_hooks_in_an_order_of_its_own() -> None:
    packages = [_source("one==1"), _source("two==2")]
    first, second = shuffled.shuffled(packages, rounds=2, seed=1)
    pairs = {(source.name, hook) for source in packages for hook in shuffled.HOOKS}
    orders = [[(call.source.name, call.hook) for call in calls] for calls in (first, second)]
    assert all(set(order) == pairs and len(order) == len(pairs) for order in orders)
    assert orders[0] != orders[1]
    assert shuffled.shuffled(packages, rounds=2, seed=1) == [first, second]
    assert shuffled.shuffled(packages, rounds=2, seed=2) != [first, second]


def test_packages_share_an_environment_where_what_they_need_agrees() -> None:
    packages = [
        _source("a"),
        _source("b", "Cython >= 3"),
        _source("c", "cython<3", "pkgconfig"),
        _source("d", "Cython>=3", "pkgconfig"),
    ]
    found = [[source.name for source in group] for group in shuffled.groups(packages)]
    assert found == [["a", "b", "d"], ["c"]]


@pytest.fixture
def outcomes(tmp_path: Path) -> list[sessions.Outcome]:
    """Two, and nothing in them differs yet."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return [
        sessions.Outcome(answer={"result": "x"}, made=tmp_path / name, built={"a.so": "1"})
        for name in ("one", "two")
    ]


def _changed(outcome: sessions.Outcome, **changes: Any) -> sessions.Outcome:
    return sessions.Outcome(**{**vars(outcome), **changes})


def _sdist(folder: Path, *, time: int, text: str = "text", mode: int = 0o644) -> None:
    with tarfile.open(folder / "x-1.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("x-1/file")
        member.size, member.mtime, member.mode = len(text), time, mode
        archive.addfile(member, io.BytesIO(text.encode()))


def test_results_files_and_built_modules_are_compared(outcomes: list[sessions.Outcome]) -> None:
    one, two = outcomes
    assert sessions.differences(one, two) == []
    for name in ("METADATA", "entry_points.txt"):
        (one.made / name).write_text(name, encoding="utf-8")
    (two.made / "METADATA").write_text("other", encoding="utf-8")
    error = {"error": ["SystemExit", "usage: setup.py\nerror: no luck"]}
    found = sessions.differences(one, _changed(two, answer=error, built={"b.so": "1"}))
    assert found == [
        "it gives SystemExit: error: no luck, not 'x'",
        "METADATA differs in its bytes",
        "entry_points.txt is missing",
        "in the source tree: a.so, b.so",
    ]


def test_sdists_may_differ_in_their_times_alone(outcomes: list[sessions.Outcome]) -> None:
    one, two = outcomes
    _sdist(one.made, time=1)
    _sdist(two.made, time=2)
    assert sessions.differences(one, two) == []
    for text, mode in (("TEXT", 0o644), ("text", 0o600)):
        _sdist(two.made, time=1, text=text, mode=mode)
        assert sessions.differences(one, two) == ["x-1.tar.gz differs in x-1/file"]


_LATE = """
import pathlib, zipfile
from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel

class Late(bdist_wheel):
    def run(self):
        super().run()
        [wheel] = pathlib.Path(self.dist_dir).glob("*.whl")
        counter = pathlib.Path({counter!r})
        count = len(counter.read_text()) + 1
        counter.write_text("x" * count)
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr(zipfile.ZipInfo("late", (2000 + count, 1, 1, 0, 0, 0)), {text})

setup(cmdclass={{"bdist_wheel": Late}})
"""


@pytest.mark.parametrize(("text", "status"), [("'text'", 0), ("str(count)", 1)])
def test_of_a_wheel_that_is_never_the_same_all_but_its_times_is_compared(
    text: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(shuffled, "make_environment", lambda cache, **options: HERE)
    monkeypatch.setattr(shuffled, "HOOKS", {"build_wheel": "wheel_directory"})
    counter = tmp_path / "counter"
    counter.touch()
    setup = _LATE.format(counter=str(counter), text=text)
    folder = make_project(tmp_path / "late", name="late", setup=setup)
    cache = ["--cache", str(tmp_path / "cache"), "--python", sys.executable]
    assert shuffled.main(["--packages", str(folder), *cache, "--ways", "fork"]) == status
    told = capsys.readouterr().out
    assert ("differs in late; plain setuptools differs from itself there" in told) == bool(status)


def test_a_process_that_dies_is_told_with_its_last_output(tmp_path: Path) -> None:
    folder = make_project(
        tmp_path / "project",
        setup="import os\nprint('last words', flush=True)\nos._exit(3)\n",
    )
    request = {
        "hook": "get_requires_for_build_wheel",
        "backend": "setuptools.build_meta",
        "backend_path": [],
        "folder": str(folder),
        "arguments": {},
    }
    opened = sessions.opened("direct", python=HERE.python, log=tmp_path / "log")
    with opened as call, pytest.raises(builds.BuildError, match="last words"):
        call(request)
