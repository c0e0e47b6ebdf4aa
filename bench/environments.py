"""Interpreters and the virtual environments that builds run in, without isolation."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.builds import clean_environment

__all__ = ["Environment", "find_interpreter", "install_apart", "make_environment"]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment, ready to build with, its ``.pyc`` files in place."""

    python: Path
    python_version: str
    setuptools: str
    """Version."""


def find_interpreter(version: str) -> Path | None:
    """An interpreter of a version ("3.12") or at a path; None if there is none that runs."""
    wanted = "" if os.sep in version else f"{version}."
    for python in [Path(version)] if not wanted else _candidates(version):
        found, path = _about(python)
        if found and f"{found}.".startswith(wanted):
            return path
    return None


def _candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)
    # pyenv's shims on PATH answer only for versions that the user made active.
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"))


def _about(python: Path) -> tuple[str, Path]:
    """Version of an interpreter (empty if it does not run), its path behind what may be a shim."""
    code = "import platform, sys; print(platform.python_version(), sys.executable)"
    try:
        run = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return "", python
    version, _, path = run.stdout.strip().partition(" ")
    return (version, Path(path)) if run.returncode == 0 else ("", python)


def make_environment(
    cache: Path, *, python: Path, setuptools: str = "newest", requires: Sequence[str] = ()
) -> Environment:
    """An environment with one setuptools ("newest" or a version) and `requires`, made once.

    Raises CalledProcessError if pip fails.
    """
    wanted = "setuptools" if setuptools == "newest" else f"setuptools=={setuptools}"
    version, python = _about(python)
    key = json.dumps([str(python), version, wanted, sorted(requires)])
    name = f"py{version}-{wanted}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    folder = cache / "environments" / name
    inside = folder / "bin" / "python"
    finished = folder / "finished"
    if not finished.exists():
        env = clean_environment()
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([str(python), "-m", "venv", str(folder)], check=True, env=env)
        # --upgrade: up to Python 3.11 a new environment holds an old setuptools already.
        install = ["-m", "pip", "install", "--quiet", "--upgrade", wanted, *requires]
        subprocess.run([str(inside), *install], check=True, env=env)
        packages = sorted(folder.glob("lib/python*/site-packages"))
        compile_all = ["-m", "compileall", "-q", *map(str, packages)]
        # Files that hold another Python's syntax on purpose make it exit with 1.
        subprocess.run([str(inside), *compile_all], env=env, stdout=subprocess.DEVNULL, check=False)
        finished.touch()
    code = "from importlib.metadata import version; print(version('setuptools'))"
    installed = subprocess.run(
        [str(inside), "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()
    return Environment(python=inside, python_version=version, setuptools=installed)


def install_apart(cache: Path, pin: str, *, python: Path) -> Path:
    """The folder that holds one package and nothing else: it can go on PATH or on ``sys.path``.

    Raises CalledProcessError if pip fails.
    """
    folder = cache / "apart" / pin
    if not folder.exists():
        unfinished = folder.with_name(f".{pin}")
        shutil.rmtree(unfinished, ignore_errors=True)
        pip = [str(make_environment(cache, python=python).python), "-m", "pip", "install"]
        options = ["--quiet", "--no-deps", "--target", str(unfinished), pin]
        subprocess.run([*pip, *options], check=True, env=clean_environment())
        unfinished.rename(folder)
    return folder
