"""Isolated environments, offline: what is in them, and which backend builds there."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.metadata import distributions, version
from pathlib import Path

import pytest

from cli_harness import IN_TREE, in_tree, leftovers, run, wheel
from parallel_backend.tools import cli
from parallel_backend.tools.cli import environments
from parallel_backend.tools.cli.environments import (
    EnvironmentFailedError,
    Isolated,
    Runner,
    Surrounding,
    find_installer,
    lend_backend,
)
from parallel_backend.tools.cli.limits import limits, with_limit
from projects import TINY_C, make_project

PATIENCE = 300

# What setuptools is to a frontend: hooks. It tells what it finds where it runs.
META = """
import importlib.util, json, os, pathlib, sys
def get_requires_for_build_wheel(config_settings=None):
    return [os.environ["WANTED"]]
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    import wanted
    found = {name: bool(importlib.util.find_spec(name)) for name in ("pytest", "parallel_backend")}
    print(json.dumps({"prefix": sys.prefix != sys.base_prefix, **found}))
    name = "sample-1.0-py3-none-any.whl"
    pathlib.Path(wheel_directory, name).write_text("a wheel")
    return name
"""


@pytest.fixture
def wheels(tmp_path: Path) -> dict[str, str]:
    """Requirements that need no index."""
    texts = {
        "setuptools-69.5.1-py3-none-any.whl": {
            "setuptools/__init__.py": "",
            "setuptools/build_meta.py": META,
        },
        "wanted-2.0-py3-none-any.whl": {"wanted.py": ""},
    }
    made = [wheel(tmp_path / name, files) for name, files in texts.items()]
    names = [file.name.partition("-")[0] for file in made]
    return {name: f"{name} @ {file.as_uri()}" for name, file in zip(names, made, strict=True)}


def use_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(distributions(name="pip")):
        pytest.skip("this Python has no pip")
    monkeypatch.setattr(environments, "find_uv", lambda: None)


def use_own_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the new environment."""
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("this Python has no ensurepip")
    monkeypatch.setattr(environments, "find_uv", lambda: None)
    monkeypatch.setattr(environments, "has_pip", lambda: False)


def use_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("uv") is None:
        pytest.skip("uv is not installed")


def test_a_project_that_pins_an_older_setuptools_is_built_by_that(
    tmp_path: Path, wheels: dict[str, str]
) -> None:
    make_project(
        tmp_path / "old",
        build_system=f'requires = ["{wheels["setuptools"]}"]\n'
        'build-backend = "setuptools.build_meta"',
    )
    done = run("build", "old", "-o", "out", tmp_path=tmp_path, more={"WANTED": wheels["wanted"]})
    assert done.returncode == 0, done.stdout + done.stderr
    note = "built by setuptools.build_meta: its setuptools 69 is older than 77"
    assert done.stdout.splitlines()[1].endswith(note)
    log = (tmp_path / "out/sample-1.0.log").read_text()
    assert '{"prefix": true, "pytest": false, "parallel_backend": true}' in log
    assert leftovers(tmp_path, tmp_path / "out") == []


def test_a_requirement_that_cannot_be_had_fails_with_what_the_installer_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path / "one", build_system='requires = ["no-such-thing"]')
    done = run("build", "one", tmp_path=tmp_path)
    assert done.returncode == 1
    assert "failed: cannot install no-such-thing: exit status 1 of " in done.stdout
    assert "no-such-thing" in (tmp_path / "dist/sample-1.0.log").read_text()


def test_our_backend_builds_in_an_isolated_environment(tmp_path: Path) -> None:
    """With the setuptools that the tests run with."""
    if not any(distributions(name="pip")):
        pytest.skip("this Python has no pip")
    wanted = f"setuptools=={version('setuptools')}"
    download = ["pip", "download", "--quiet", "--no-deps", "--dest", tmp_path, wanted]
    done = subprocess.run(
        [sys.executable, "-m", *map(str, download)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"pip cannot get {wanted}: {done.stderr.strip().splitlines()[-1]}")
    [file] = tmp_path.glob("setuptools-*.whl")
    make_project(
        tmp_path / "one",
        setup="from setuptools import Extension, setup\n"
        "setup(ext_modules=[Extension('x', ['x.c'])])\n",
        files={"x.c": TINY_C.format(name="x")},
        build_system=f'requires = ["setuptools @ {file.as_uri()}"]\n'
        'build-backend = "setuptools.build_meta"',
    )
    ran = run("build", "one", tmp_path=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[1].split()[-3:] == ["1", "0", "built"]


@pytest.mark.slow
@pytest.mark.parametrize("use", [use_uv, use_pip, use_own_pip])
def test_an_environment_gets_what_is_required_and_no_more(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wheels: dict[str, str],
    use: Callable[[pytest.MonkeyPatch], None],
) -> None:
    use(monkeypatch)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    log = tmp_path / "log"
    lent = lend_backend(tmp_path)
    environment = Isolated(
        folder=tmp_path / "environment",
        base=sys.executable,
        lent=lent,
        shared={"SHARED": "1"},
        runner=Runner(log=log, folder=tmp_path),
        installer=find_installer(),
    )
    environment.create()
    assert environment.setuptools() == 0
    environment.install([])
    not_for_here = f"{wheels['wanted']} ; python_version < '3'"
    environment.install([wheels["setuptools"], not_for_here])
    assert environment.setuptools() == 69
    variables = environment.variables()
    assert (variables["SHARED"], variables["PYTHONPATH"]) == ("1", str(lent))
    names = ("setuptools", "wanted", "pytest", "parallel_backend")
    code = f"import importlib.util as u; print([bool(u.find_spec(n)) for n in {names}])"
    told = subprocess.run(
        [environment.python, "-c", code], env=variables, capture_output=True, text=True, check=True
    )
    assert told.stdout == "[True, False, False, True]\n"


def test_without_isolation_the_users_own_path_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = lend_backend(tmp_path)
    environment = Surrounding(python=sys.executable, lent=lent, shared={}, is_checked=True)
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    assert environment.variables()["PYTHONPATH"] == f"{lent}:/theirs"
    monkeypatch.delenv("PYTHONPATH")
    assert environment.variables()["PYTHONPATH"] == str(lent)
    # Whatever lies in the current folder.
    (tmp_path / "csv.py").write_text("raise RuntimeError\n")
    monkeypatch.chdir(tmp_path)
    assert environment.setuptools() == int(version("setuptools").partition(".")[0])
    assert [each.name for each in lent.iterdir()] == ["parallel_backend"]


def checked(*, python: str = sys.executable, is_checked: bool = True) -> Surrounding:
    return Surrounding(python=python, lent=Path(), shared={}, is_checked=is_checked)


def test_without_isolation_requirements_must_be_installed() -> None:
    met = ["pytest>=1", "no-such-thing; python_version < '3'"]
    checked().install(met)
    with pytest.raises(EnvironmentFailedError) as caught:
        checked().install([*met, "no-such-thing", "pytest<1"])
    assert str(caught.value) == (
        "not installed: no-such-thing, pytest<1; install it, or build with --skip-dependency-check"
    )
    with pytest.raises(EnvironmentFailedError, match=r"^a requirement cannot be read: "):
        checked().install(["!"])


def test_requirements_are_not_looked_at_where_nobody_wants_it_or_nobody_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked(is_checked=False).install(["no-such-thing"])
    checked(python="/another/python").install(["no-such-thing"])
    monkeypatch.setitem(sys.modules, "build", None)
    checked().install(["no-such-thing"])


def test_a_missing_requirement_is_told_before_anything_is_built(tmp_path: Path) -> None:
    system = 'requires = ["no-such-thing"]\nbuild-backend = "own"\nbackend-path = ["."]'
    make_project(
        tmp_path / "one",
        build_system=system,
        files={"own.py": IN_TREE.format(body="pass", name="one")},
    )
    done = run("build", "one", "-n", tmp_path=tmp_path)
    assert done.returncode == 1
    assert "failed: not installed: no-such-thing; install it, or build with" in done.stderr
    assert run("build", "one", "-n", "-x", tmp_path=tmp_path).returncode == 0


def test_our_own_package_is_lent_and_never_installed(tmp_path: Path) -> None:
    """So a project that names our backend is built wherever an index does not have it."""
    text = IN_TREE.format(body="pass", name="one")
    text = text.replace("return []", "return ['Parallel_Backend']")
    system = 'requires = ["parallel-backend>=99"]\nbuild-backend = "own"\nbackend-path = ["."]'
    make_project(tmp_path / "one", build_system=system, files={"own.py": text})
    assert run("build", "one", tmp_path=tmp_path).returncode == 0
    assert run("build", "one", "-n", tmp_path=tmp_path).returncode == 0


def test_a_backend_without_hooks_for_requirements_is_built_in_isolation(tmp_path: Path) -> None:
    text = IN_TREE.format(body="pass", name="one").replace("get_requires", "not_get_requires")
    system = 'requires = []\nbuild-backend = "own"\nbackend-path = ["."]'
    make_project(tmp_path / "one", build_system=system, files={"own.py": text})
    assert run("build", "one", tmp_path=tmp_path).returncode == 0


TOKENS = {"MAKEFLAGS": "-j4 --jobserver-auth=fifo:/x"}


@pytest.mark.parametrize(
    ("ninja", "variables", "told"),
    [
        (None, TOKENS, {}),
        ("1.13.0.git", TOKENS, {}),
        ("1.12.1", TOKENS, {"CMAKE_BUILD_PARALLEL_LEVEL": "2", "MAX_JOBS": "2"}),
        ("", TOKENS, {"CMAKE_BUILD_PARALLEL_LEVEL": "2", "MAX_JOBS": "2"}),
        ("what", TOKENS, {"CMAKE_BUILD_PARALLEL_LEVEL": "2", "MAX_JOBS": "2"}),
        ("1.11", {**TOKENS, "MAX_JOBS": "7"}, {"CMAKE_BUILD_PARALLEL_LEVEL": "2"}),
        (None, {}, {"CMAKE_BUILD_PARALLEL_LEVEL": "2", "MAX_JOBS": "2"}),
    ],
)
def test_a_number_of_jobs_is_given_only_where_tokens_do_not_reach(
    tmp_path: Path, ninja: str | None, variables: dict[str, str], told: dict[str, str]
) -> None:
    if ninja is not None:
        file = tmp_path / "ninja"
        file.write_text(f"#!/bin/sh\necho {ninja}\n" if ninja else "this does not run\0")
        file.chmod(0o755)
    assert limits({**variables, "PATH": str(tmp_path)}, jobs=2) == told


@pytest.mark.parametrize(
    ("backend", "given", "told"),
    [
        ("mesonpy", None, {"compile-args": "-j2"}),
        ("mesonpy", {"a": "b"}, {"a": "b", "compile-args": "-j2"}),
        ("mesonpy", {"compile-args": "-k0"}, {"compile-args": "-k0"}),
        ("flit_core.buildapi", None, None),
    ],
)
def test_a_backend_that_reads_no_variable_is_told_in_a_config_setting(
    backend: str, given: dict[str, str] | None, told: dict[str, str] | None
) -> None:
    number = {"CMAKE_BUILD_PARALLEL_LEVEL": "2", "MAX_JOBS": "2"}
    assert with_limit(given, backend=backend, limits=number) == told
    assert with_limit(given, backend=backend, limits={}) == given


def test_what_installs_is_looked_for_once_before_there_are_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv's own package asks `sysconfig`, whose first answers to two threads at once are wrong."""
    asked: list[bool] = []

    def find_uv() -> None:
        asked.append(threading.current_thread() is threading.main_thread())

    monkeypatch.setattr(environments, "find_uv", find_uv)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for name in ("one", "two"):
        in_tree(tmp_path / name)
    words = [str(tmp_path / name) for name in ("one", "two")]
    assert cli.main(["build", *words, "-q", "-j", "2", "-o", str(tmp_path / "out")]) == 0
    assert asked == [True]


def test_uv_is_looked_for_on_path_where_it_is_not_importable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environments.find_uv() is None
    (tmp_path / "uv").write_text("")
    (tmp_path / "uv").chmod(0o755)
    assert environments.find_uv() == str(tmp_path / "uv")


def test_an_interpreter_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    runner = Runner(log=tmp_path / "log", folder=tmp_path)
    with pytest.raises(EnvironmentFailedError, match=r"^no-such-program: No such file"):
        runner.run("no-such-program")
