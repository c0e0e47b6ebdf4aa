"""Real frontends build real projects with the backend, in-tree and from its own wheel."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import pytest

from harness import (
    QUICK_COMPILE,
    REPOSITORY,
    SOURCE,
    build_wheel,
    copy_package,
    expectation,
    load_extension_values,
)
from projects import carry_backend, copy_repository

JOBS = "3"
_PATIENCE = 300  # seconds; a frontend that hangs fails its test, not the whole run


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project to build, and an expression over its modules with the value that it has."""

    folder: Path
    expression: str
    value: object
    #: Where the backend can be imported from, for a frontend that neither isolates nor looks.
    backend: Path


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where frontends work: offline, with what `wheels` holds."""

    wheels: Path
    cache: Path

    def run(self, *command: str | Path, env: dict[str, str] | None = None) -> str:
        """Run a frontend, a module of this Python; returns all that it printed."""
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            cwd=self.wheels,
            env={
                **os.environ,
                **QUICK_COMPILE,
                "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": str(self.wheels),
                "PIP_NO_INPUT": "1",
                "UV_CACHE_DIR": str(self.cache),
                "UV_NO_CONFIG": "1",
                **(env or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=_PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def uv(self, *command: str | Path) -> str:
        words = [*command, "--offline", "--no-index", "--find-links", self.wheels]
        return self.run("uv", *words)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """With the backend's own wheel, and that of the setuptools which the tests run with."""
    folder = tmp_path_factory.mktemp("frontends")
    wheels = folder / "wheels"
    repository = copy_repository(folder / "repository")
    build_wheel(repository, out=wheels, path=[repository / "src"])
    _download(f"setuptools=={version('setuptools')}", wheels)
    return Workshop(wheels=wheels, cache=folder / "cache")


@pytest.fixture(scope="session")
def sdists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the sdist of a real package."""
    folder = tmp_path_factory.mktemp("sdists")
    _download("markupsafe>=3,<4", folder, "--no-binary", "markupsafe", "--no-build-isolation")
    return folder


def _download(requirement: str, folder: Path, *options: str) -> None:
    # Not by find_spec: on 3.11 setuptools takes a look for pip as a reason to drop its distutils.
    if not any(distributions(name="pip")):
        pytest.skip("this Python has no pip")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options]
    done = subprocess.run(
        [*command, "--dest", folder, requirement],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it does not say why"])[-1]
        pytest.skip(f"pip cannot get {requirement}: {reason}")


# --- projects


def _use_backend(folder: Path, table: str) -> None:
    """Replace the inside of ``[build-system]``."""
    file = folder / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    text = re.sub(r"(?ms)^\[build-system\]\n.*?(?=^\[|\Z)", "", text)
    file.write_text(f"{text}\n[build-system]\n{table}\n", encoding="utf-8")


def _in_tree(tmp_path: Path, _request: pytest.FixtureRequest) -> Project:
    folder = copy_package("shared_source", tmp_path)
    backend = carry_backend(folder)
    _use_backend(
        folder,
        'requires = ["setuptools>=77"]\n'
        'build-backend = "parallel_backend"\nbackend-path = ["backend"]',
    )
    with (folder / "MANIFEST.in").open("a") as file:
        file.write("recursive-include backend *.py py.typed\n")
    [expression, *_], [value, *_] = zip(*expectation("shared_source").values.items(), strict=True)
    return Project(folder=folder, expression=expression, value=value, backend=backend)


def _example(tmp_path: Path, _request: pytest.FixtureRequest) -> Project:
    folder = tmp_path / "fractal"
    ignored = shutil.ignore_patterns("build", "*.egg-info", "*.so", "__pycache__")
    shutil.copytree(REPOSITORY / "examples" / "fractal", folder, ignore=ignored)
    expression = "[bool(fractal.draw(name, 8, 8).png()) for name in fractal.VIEWS]"
    return Project(folder=folder, expression=expression, value=[True] * 4, backend=SOURCE)


def _real_sdist(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    [sdist] = request.getfixturevalue("sdists").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / sdist.name.removesuffix(".tar.gz")
    _use_backend(
        folder,
        'requires = ["setuptools>=77", "parallel-backend"]\nbuild-backend = "parallel_backend"',
    )
    expression = "[str(markupsafe._speedups._escape_inner('<')), markupsafe.escape.__name__]"
    return Project(folder=folder, expression=expression, value=["&lt;", "escape"], backend=SOURCE)


# --- frontends that make a wheel: each returns its folder's wheel, and what it printed


def _pip_wheel(workshop: Workshop, project: Project, out: Path) -> str:
    options = ["--no-deps", "--verbose", "-C", f"jobs={JOBS}"]
    return workshop.run("pip", "wheel", *options, "--wheel-dir", out, project.folder)


def _build(workshop: Workshop, project: Project, out: Path) -> str:
    printed = workshop.run("build", "-C", f"jobs={JOBS}", "--outdir", out, project.folder)
    assert len(list(out.glob("*.tar.gz"))) == 1
    return printed


def _uv_build(workshop: Workshop, project: Project, out: Path) -> str:
    options = ["--python", sys.executable, "-C", f"jobs={JOBS}"]
    printed = workshop.uv("build", *options, "--out-dir", out, project.folder)
    assert len(list(out.glob("*.tar.gz"))) == 1
    return printed


def _gpep517(workshop: Workshop, project: Project, out: Path) -> str:
    out.mkdir()
    settings = json.dumps({"jobs": JOBS})
    options = ["--backend", "parallel_backend", "--config-json", settings, "--output-fd", "1"]
    # It builds the project of the current folder, and takes the backend from where Python looks.
    done = subprocess.run(
        [sys.executable, "-m", "gpep517", "build-wheel", *options, "--wheel-dir", out],
        cwd=project.folder,
        env={**os.environ, **QUICK_COMPILE, "PYTHONPATH": str(project.backend)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = out.iterdir()
    assert done.stdout.splitlines()[-1] == wheel.name
    return done.stdout


def _named(function: Any) -> str:
    return str(function.__name__).strip("_")


# Each frontend and each kind of project; a frontend does not know which kind it has.
@pytest.mark.parametrize(
    ("builder", "project"),
    [
        (_pip_wheel, _in_tree),
        (_gpep517, _in_tree),
        pytest.param(_pip_wheel, _real_sdist, marks=pytest.mark.slow),
        pytest.param(_build, _example, marks=pytest.mark.slow),
        pytest.param(_uv_build, _real_sdist, marks=pytest.mark.slow),
    ],
    ids=_named,
)
def test_a_frontend_builds_a_wheel_with_the_jobs_that_it_was_told(
    builder: Callable[[Workshop, Project, Path], str],
    project: Callable[[Path, pytest.FixtureRequest], Project],
    workshop: Workshop,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    made = project(tmp_path, request)
    out = tmp_path / "out"
    printed = builder(workshop, made, out)
    [wheel] = out.glob("*.whl")
    assert load_extension_values(wheel, made.expression) == made.value
    assert f" on {JOBS} jobs (" in printed


# --- frontends that install


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The Python of a new virtual environment, with nothing in it."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def _evaluate(python: Path, expression: str) -> object:
    """The value of an expression over modules that are installed for `python`."""
    names = sorted(set(re.findall(r"\b(north|east|south|west|fractal|markupsafe)\b", expression)))
    script = f"import json, {', '.join(names)}\nprint(json.dumps({expression}))"
    done = subprocess.run(
        [python, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _pip_install_editable(workshop: Workshop, project: Project, python: Path) -> str:
    options = ["install", "--no-deps", "--verbose", "-C", f"jobs={JOBS}", "--editable"]
    return workshop.run("pip", "--python", python, *options, project.folder)


def _uv_pip_install(workshop: Workshop, project: Project, python: Path) -> str:
    options = ["--verbose", "-C", f"jobs={JOBS}", "--python"]
    return workshop.uv("pip", "install", *options, python, project.folder)


@pytest.mark.parametrize(
    ("installer", "project"),
    [
        (_uv_pip_install, _in_tree),
        pytest.param(_pip_install_editable, _example, marks=pytest.mark.slow),
        pytest.param(_uv_pip_install, _real_sdist, marks=pytest.mark.slow),
    ],
    ids=_named,
)
def test_a_frontend_installs_a_project_that_then_works(
    installer: Callable[[Workshop, Project, Path], str],
    project: Callable[[Path, pytest.FixtureRequest], Project],
    workshop: Workshop,
    environment: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    made = project(tmp_path, request)
    printed = installer(workshop, made, environment)
    assert _evaluate(environment, made.expression) == made.value
    assert f" on {JOBS} jobs (" in printed


@pytest.mark.smoke
def test_a_wrong_setting_is_told_by_a_frontend_too(workshop: Workshop, tmp_path: Path) -> None:
    folder = copy_package("shared_source", tmp_path)
    carry_backend(folder)
    table = 'requires = []\nbuild-backend = "parallel_backend"\nbackend-path = ["backend"]'
    _use_backend(folder, table)
    with pytest.raises(AssertionError) as caught:
        workshop.run("build", "--no-isolation", "--wheel", "-C", "jobs=none", folder)
    assert "parallel-backend: error: " in str(caught.value)
    assert "'none'" in str(caught.value)
    assert not (folder / "build").exists()
