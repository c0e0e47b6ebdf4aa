"""The backend builds itself, in-tree, and its own wheel holds nothing but the package."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest

from harness import PLAIN_BACKEND, REPOSITORY, build_wheel, load_extension_values, wheel_bytes_equal
from projects import copy_repository


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repository(tmp_path_factory.mktemp("own") / "repository")


@pytest.fixture(scope="module")
def built(repository: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it, as `python -m build` makes them."""
    out = repository.parent / "from sdist"
    _build(repository, out)
    [sdist], [wheel] = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def wheel(repository: Path) -> Path:
    """The wheel that is built from the repository itself."""
    out = repository.parent / "from repository"
    _build(repository, out, "--wheel")
    [wheel] = out.glob("*.whl")
    return wheel


def _build(repository: Path, out: Path, *options: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *options]
    done = subprocess.run(
        [*command, "--outdir", out, repository],
        cwd=repository.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_wheel_holds_nothing_but_the_package(wheel: Path, repository: Path) -> None:
    source = repository / "src"
    package = {
        str(path.relative_to(source))
        for path in (source / "parallel_backend").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    assert {name for name in names if ".dist-info/" not in name} == package
    assert {name.partition("/")[0] for name in names} == {
        "parallel_backend",
        "parallel_backend-" + wheel.name.split("-")[1] + ".dist-info",
    }


def test_the_wheel_is_for_every_python_and_says_that_it_is_typed(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "parallel_backend/py.typed" in archive.namelist()
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    requirements = metadata.get_all("Requires-Dist") or []
    [always] = [requirement for requirement in requirements if "extra ==" not in requirement]
    assert always.startswith("setuptools>=")


def test_the_wheel_from_the_sdist_equals_that_from_the_repository(
    wheel: Path, built: tuple[Path, Path]
) -> None:
    assert wheel_bytes_equal(built[1], wheel)


def test_the_wheel_equals_that_of_plain_setuptools(wheel: Path, tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "repository")
    assert wheel_bytes_equal(build_wheel(folder, backend=PLAIN_BACKEND), wheel)


def test_the_sdist_holds_every_file_of_the_repository(
    built: tuple[Path, Path], repository: Path
) -> None:
    """Tests, and what they look at, are for those who package it."""
    sdist, _ = built
    with tarfile.open(sdist) as archive:
        members = [member.name for member in archive if member.isfile()]
    held = {name.partition("/")[2] for name in members}
    assert {*_files_of_the_repository(repository)} - held == set()
    assert not [name for name in held if name.endswith(".pyc")]


def _files_of_the_repository(copy: Path) -> Iterator[str]:
    """What is tracked; without git, as in an sdist, whatever was copied."""
    if (REPOSITORY / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(REPOSITORY), "ls-files", "-z"]
        listed = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
        yield from listed.stdout.rstrip("\0").split("\0")
        return
    for file in copy.rglob("*"):
        name = file.relative_to(copy).as_posix()
        if file.is_file() and not name.startswith("build/") and "__pycache__" not in file.parts:
            yield name


def test_what_the_wheel_holds_is_a_backend(wheel: Path) -> None:
    expression = "[parallel_backend.build_wheel.__name__, parallel_backend.__file__[-28:]]"
    assert load_extension_values(wheel, expression) == [
        "build_wheel",
        "parallel_backend/__init__.py",
    ]
