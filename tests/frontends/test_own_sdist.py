"""The backend's own sdist: who packages it can run its tests, and needs no network for that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from harness import REPOSITORY, run_hook
from projects import copy_repository

_PATIENCE = 300  # seconds; tests that hang fail this one, not the whole run


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, built by its own backend and unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    repository = copy_repository(folder / "repository")
    done = run_hook(repository, "build_sdist", folder, path=[repository / "src"])
    assert done.returncode == 0, done.output
    with tarfile.open(folder / done.result) as archive:
        archive.extractall(folder, filter="data")
    return folder / str(done.result).removesuffix(".tar.gz")


def run_tests(folder: Path, *words: str) -> str:
    """Run pytest in `folder`, without a package index; what it printed."""
    # A worker of pytest-xdist tells its own pytest so, and coverage measures no other copy.
    dropped = ("PYTEST_", "COVERAGE_")
    environ = {name: text for name, text in os.environ.items() if not name.startswith(dropped)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words],
        cwd=folder,
        env={**environ, "PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "PIP_CONFIG_FILE": os.devnull},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_its_tests_are_collected(unpacked: Path) -> None:
    printed = run_tests(unpacked, "--collect-only", "--all")
    files = {line.partition("::")[0] for line in printed.splitlines() if "::" in line}
    tests = REPOSITORY.glob("tests/*/test_*.py")
    assert {file.relative_to(REPOSITORY).as_posix() for file in tests} - files == set()


@pytest.mark.slow
def test_its_unit_tests_pass(unpacked: Path) -> None:
    printed = run_tests(unpacked, "tests/unit")
    assert re.search(r"^\d+ passed", printed, re.MULTILINE)
