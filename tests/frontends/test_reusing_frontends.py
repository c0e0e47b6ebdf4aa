"""Frontends that call many hooks in one process: pyproject-api's and gpep517."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness import (
    PLAIN_BACKEND,
    QUICK_COMPILE,
    SOURCE,
    run_hook,
    wheel_bytes_equal,
)
from made_files import contents
from scripts import run_script
from standard_hooks import HOOKS, WRITES
from twins import Run, Twin, read_log

pytest.importorskip("pyproject_api", reason="pyproject-api is not installed")

from pyproject_api import BackendFailed, Frontend, SubprocessFrontend

from kept_backend import KeptBackend

NORTH = Twin(name="north", number=1, source=10)
NORTH_LATER = Twin(name="north", number=2, source=200)
SOUTH = Twin(name="south", number=3, source=3000)

_PATIENCE = 300  # seconds; a frontend that hangs fails its test, not the whole run


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where projects lie, and what plain setuptools makes of them, each hook in a fresh process.

    `expected` is by state and hook. Paths are the same for all: files name them.
    """

    home: Path
    expected: dict[tuple[Twin, str], Any] = field(default_factory=dict)

    @property
    def made(self) -> Path:
        """The folder that hooks write to."""
        return self.home / "made"

    @property
    def log(self) -> Path:
        """What each run of a ``setup.py`` adds a line to."""
        return self.home / "log"

    def folder(self, twin: Twin) -> Path:
        """The project."""
        return self.home / twin.name

    def anew(self, twin: Twin) -> Path:
        """The project, written anew; returns its folder."""
        return twin.write_anew(self.folder(twin), log=self.log)

    def empty(self) -> None:
        """Nothing is made."""
        shutil.rmtree(self.made, ignore_errors=True)
        self.made.mkdir()

    def plain(self, twin: Twin, hook: str) -> Any:
        """What plain setuptools gives, and what it makes."""
        if (twin, hook) not in self.expected:
            self.anew(twin)
            self.empty()
            folders = [self.made] if hook in WRITES else []
            done = run_hook(
                self.folder(twin), hook, *folders, backend=PLAIN_BACKEND, env=QUICK_COMPILE, path=()
            )
            assert done.returncode == 0, done.output
            self.log.unlink()
            self.expected[twin, hook] = [done.result, contents(self.made)]
        return self.expected[twin, hook]

    def ask(self, frontend: Frontend, hook: str) -> Any:
        """What a frontend gets, and what is made."""
        self.empty()
        folders = [self.made] if hook in WRITES else []
        answer = getattr(frontend, hook)(*folders)[0]
        result = answer.name if isinstance(answer, Path) else [str(each) for each in answer]
        return [result, contents(self.made)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(home=tmp_path_factory.mktemp("reusing"))


@pytest.fixture(autouse=True)
def _new_log(place: Place) -> None:
    place.log.unlink(missing_ok=True)


def _kept(place: Place, twin: Twin) -> KeptBackend:
    private = place.home / f"{twin.name}-kept"
    private.mkdir(exist_ok=True)
    env = {**QUICK_COMPILE}
    return KeptBackend(place.anew(twin), private=private, env=env)


def _assert_one_process(runs: list[Run], process: int) -> None:
    """All that ran, ran in a fork of this process each."""
    assert runs
    assert {run.parent for run in runs} == {process}
    assert len({run.process for run in runs}) == len(runs)


# --- pyproject-api


def test_all_hooks_in_sequence_and_again_are_as_in_fresh_processes(place: Place) -> None:
    expected = [place.plain(NORTH, hook) for hook in HOOKS]
    with _kept(place, NORTH) as frontend:
        assert all(frontend.optional_hooks.values())
        for _ in range(2):
            assert [place.ask(frontend, hook) for hook in HOOKS] == expected
        assert frontend.process is not None
        runs = read_log(place.log)
        assert len(runs) == 2 * len(HOOKS)
        _assert_one_process(runs, frontend.process.pid)


def test_hooks_in_any_order_for_two_projects_in_turn_are_as_in_fresh_processes(
    place: Place,
) -> None:
    steps = [
        *((twin, hook) for twin in (NORTH, SOUTH) for hook in HOOKS),
        *((NORTH_LATER, hook) for hook in ("build_wheel", "build_editable", "build_sdist")),
    ]
    expected = {(twin, hook): place.plain(twin, hook) for twin, hook in steps}
    chance = random.Random(7)
    chance.shuffle(steps)
    with _kept(place, NORTH) as north, _kept(place, SOUTH) as south:
        for twin, hook in steps:
            # Now and then in a tree as the former hooks have left it, edited.
            if chance.random() < 0.3:
                place.anew(twin)
            else:
                twin.write(place.folder(twin), log=place.log)
            frontend = south if twin is SOUTH else north
            assert place.ask(frontend, hook) == expected[twin, hook], (twin, hook)
        for frontend, twin in ((north, NORTH), (south, SOUTH)):
            assert frontend.process is not None
            folder = str(place.folder(twin))
            own = [run for run in read_log(place.log) if run.folder == folder]
            _assert_one_process(own, frontend.process.pid)


def test_metadata_that_is_taken_from_a_wheel_is_that_of_a_fresh_process(place: Place) -> None:
    expected = {
        f"prepare_metadata_for_build_{target}": place.plain(
            SOUTH, f"prepare_metadata_for_build_{target}"
        )
        for target in ("wheel", "editable")
    }
    with _kept(place, SOUTH) as frontend:
        for target in ("wheel", "editable", "editable", "wheel"):
            place.empty()
            found = frontend.metadata_from_built(place.made, target)[0]
            name, files = expected[f"prepare_metadata_for_build_{target}"]
            assert found.name == name
            assert contents(place.made)[f"{name}/METADATA"] == files[f"{name}/METADATA"]


def test_after_a_hook_that_failed_the_process_serves_on(place: Place) -> None:
    expected = place.plain(SOUTH, "build_wheel")
    with _kept(place, SOUTH) as frontend:
        setup = place.folder(SOUTH) / "setup.py"
        text = setup.read_text("utf-8")
        setup.write_text(f"{text}\nraise RuntimeError('no luck')\n", encoding="utf-8")
        with pytest.raises(BackendFailed) as caught:
            place.ask(frontend, "build_wheel")
        assert (caught.value.exc_type, caught.value.exc_msg) == ("RuntimeError", "no luck")
        setup.write_text(text, encoding="utf-8")
        assert place.ask(frontend, "build_wheel") == expected
        assert frontend.process is not None
        _assert_one_process(read_log(place.log), frontend.process.pid)


def test_the_frontend_that_starts_a_process_for_each_hook_gets_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in QUICK_COMPILE.items():
        monkeypatch.setenv(name, value)
    hooks = ["get_requires_for_build_wheel", "prepare_metadata_for_build_wheel", "build_wheel"]
    expected = [place.plain(SOUTH, hook) for hook in hooks]
    frontend = SubprocessFrontend(place.anew(SOUTH), (SOURCE,), "parallel_backend", None, ())
    assert [place.ask(frontend, hook) for hook in hooks] == expected


# --- gpep517: it patches zipfile, and forgets all modules that were imported meanwhile

_GPEP517 = """
import json, os, sys, zipfile
from gpep517.__main__ import main

def seen():
    functions = [getattr(zipfile.ZipFile, name) for name in ("open", "write", "writestr")]
    return functions, sys.path[:], set(sys.modules) & {"setuptools", "parallel_backend"}

before = seen()
assert not before[2]
for folder, files, arguments in json.loads(sys.argv[1]):
    os.chdir(folder)
    for name, text in files.items():
        with open(name, "w") as file:
            file.write(text)
    assert not main(["gpep517", *arguments])
    assert seen() == before
print(os.getpid())
"""


def _build(out: Path, *options: str, backend: str = "parallel_backend") -> list[str]:
    return [
        *["build-wheel", "--backend", backend, "--output-fd", "2"],
        *["--wheel-dir", str(out), *options],
    ]


def _gpep517(folder: Path, *arguments: str, env: Mapping[str, str]) -> None:
    """In a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "gpep517", *arguments],
        cwd=folder,
        env={**os.environ, **QUICK_COMPILE, "PYTHONPATH": str(SOURCE), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _plain_gpep517(place: Place, twin: Twin, *options: str) -> Path:
    """The wheel that gpep517 makes with plain setuptools, in a new process and a new tree."""
    out = place.home / "-".join(["gpep517", str(twin.number), *options])
    if not out.exists():
        _gpep517(place.anew(twin), *_build(out, *options, backend=PLAIN_BACKEND), env={})
        place.log.unlink()
    [wheel] = out.iterdir()
    return wheel


def _install(wheel: Path, destination: Path) -> list[str]:
    return ["install-wheel", "--destdir", str(destination), "--prefix", "/usr", str(wheel)]


def _value_of_installed(destination: Path, twin: Twin) -> object:
    [module] = destination.rglob(f"_{twin.name}.*.so")
    script = f"import sys; sys.path.insert(0, sys.argv[1]); import _{twin.name}"
    command = [sys.executable, "-I", "-c", f"{script}; print({twin.expression})"]
    done = subprocess.run(
        [*command, str(module.parent)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def test_gpep517_builds_project_after_project_in_its_process(place: Place, tmp_path: Path) -> None:
    pytest.importorskip("gpep517", reason="gpep517 is not installed")
    states = [NORTH, SOUTH, NORTH_LATER]
    plain = {twin: _plain_gpep517(place, twin) for twin in states}
    packed = _plain_gpep517(place, SOUTH, "--allow-compressed")
    with zipfile.ZipFile(packed) as one, zipfile.ZipFile(plain[SOUTH]) as other:
        # Else there was no patch, and the test says nothing of it.
        assert {each.compress_type for each in one.infolist()} == {zipfile.ZIP_DEFLATED}
        assert {each.compress_type for each in other.infolist()} == {zipfile.ZIP_STORED}

    folders = {twin: str(place.anew(twin)) for twin in (NORTH, SOUTH)}
    later = {
        path.name: path.read_text("utf-8")
        for path in NORTH_LATER.write(tmp_path / "later", log=place.log).iterdir()
        if path.is_file()
    }
    out = [tmp_path / str(number) for number in range(6)]
    steps: list[Any] = [
        (folders[NORTH], {}, _build(out[0])),
        (folders[SOUTH], {}, _build(out[1])),
        (folders[NORTH], {}, _build(out[2])),
        (folders[SOUTH], {}, _build(out[3], "--allow-compressed")),
        (folders[NORTH], later, _build(out[4])),
        (folders[NORTH], {}, _install(out[4] / plain[NORTH_LATER].name, tmp_path / "root")),
        (folders[SOUTH], {}, _build(out[5])),
    ]
    env = {**QUICK_COMPILE}
    done = run_script(_GPEP517, json.dumps(steps), cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = [
        *(plain[NORTH], plain[SOUTH], plain[NORTH]),
        *(packed, plain[NORTH_LATER], plain[SOUTH]),
    ]
    for folder, wheel in zip(out, expected, strict=True):
        assert wheel_bytes_equal(folder / wheel.name, wheel)
    assert _value_of_installed(tmp_path / "root", NORTH_LATER) == NORTH_LATER.value
    runs = read_log(place.log)
    assert len(runs) == len(out)
    _assert_one_process(runs, int(done.stdout.splitlines()[-1]))


def test_gpep517_builds_twice_and_installs(place: Place, tmp_path: Path) -> None:
    pytest.importorskip("gpep517", reason="gpep517 is not installed")
    plain = _plain_gpep517(place, NORTH)
    folder = place.anew(NORTH)
    for name in ("one", "two"):
        _gpep517(folder, *_build(tmp_path / name), env={})
        assert wheel_bytes_equal(tmp_path / name / plain.name, plain)
    _gpep517(folder, *_install(tmp_path / "two" / plain.name, tmp_path / "root"), env={})
    assert _value_of_installed(tmp_path / "root", NORTH) == NORTH.value
