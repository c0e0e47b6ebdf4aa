"""``parallel-backend vendor``: a copy of this package in a project's own tree (PEP 517's
``backend-path``)."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import parallel_backend
from parallel_backend.errors import ParallelBackendError
from parallel_backend.tools.cli.arguments import PROGRAM, Parser, reason_of
from parallel_backend.tools.cli.projects import (
    OLDEST_SETUPTOOLS,
    OWN_REQUIREMENT,
    BuildSystem,
    backend_for,
    read_build_system,
    requirement_name,
)

__all__ = ["main", "parser"]

_PACKAGE = Path(parallel_backend.__file__).resolve().parent
_NAME = _PACKAGE.name


class _VendorError(ParallelBackendError):
    """The copy cannot be made."""


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status.

    0: the copy is made, or current; 1: it is not current; 2: a mistake in what was asked for.
    """
    asked = parser().parse_args(words)
    folder = Path(asked.folder)
    try:
        if asked.check:
            return _check(folder)
        _copy(folder)
        lines = _instructions(folder)
    except (ParallelBackendError, OSError) as error:
        print(f"{PROGRAM}: error: {reason_of(error)}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


def _check(folder: Path) -> int:
    ours, theirs = _contents(_PACKAGE), _contents(folder / _NAME)
    if not theirs:
        raise _VendorError(f"{folder / _NAME} is no copy of {_NAME}")
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            states = {name in theirs: "is missing", name in ours: "is not ours"}
            print(f"{folder / _NAME / name} {states.get(False, 'differs')}", file=sys.stderr)
    return int(ours != theirs)


def _copy(folder: Path) -> None:
    """Copy beside the target first, so that what stands there is whole at any time."""
    target = folder / _NAME
    if target.exists():
        if target.resolve() == _PACKAGE:
            raise _VendorError(f"{target} is the package that runs, and no copy of it")
        if not (target / "hooks.py").is_file():
            raise _VendorError(f"{target} is no copy of {_NAME}; it stays as it is")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".vendor-", dir=folder) as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        shutil.copytree(_PACKAGE, new, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        if target.exists():
            os.replace(target, old)
        os.replace(new, target)


def _instructions(folder: Path) -> Iterator[str]:
    project, system = _project_of(folder)
    place = folder.resolve().relative_to(project).as_posix()
    is_ours = system.backend.partition(":")[0] == _NAME
    backend = system.backend if is_ours else backend_for(project, system) or _NAME
    yield f"# in {project / 'pyproject.toml'}"
    yield "[build-system]"
    told = system.requires if system.is_told else (f"setuptools>={OLDEST_SETUPTOOLS}",)
    required = [each for each in told if requirement_name(each) != OWN_REQUIREMENT]
    yield f"requires = [{', '.join(map(_quoted, required))}]"
    yield f"build-backend = {_quoted(backend)}"
    yield f"backend-path = [{_quoted(place)}]"
    yield f"# in {project / 'MANIFEST.in'}, so that an sdist has it too"
    yield f"recursive-include {_as_pattern(place)} *.py *.html *.css *.js py.typed"


def _project_of(folder: Path) -> tuple[Path, BuildSystem]:
    """The project that the folder lies in, and what it says now."""
    whole = folder.resolve()
    for project in [whole, *whole.parents]:
        if (project / "pyproject.toml").is_file() or (project / "setup.py").is_file():
            return project, read_build_system(project)
    here = Path.cwd().resolve()
    return (here if whole.is_relative_to(here) else whole.parent), BuildSystem(is_told=False)


def _as_pattern(place: str) -> str:
    """A folder as ``MANIFEST.in`` takes it, which splits its lines at spaces."""
    return re.sub(r"\s", "?", _NAME if place == "." else place)


def _quoted(text: str) -> str:
    import json  # a string of JSON is one of TOML

    return json.dumps(text, ensure_ascii=False)


def _contents(package: Path) -> dict[str, bytes]:
    """What each file of a copy holds, by its path in there; of the .pyc files nothing."""
    return {
        file.relative_to(package).as_posix(): file.read_bytes()
        for file in package.rglob("*")
        if file.suffix != ".pyc" and file.is_file()
    }


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = Parser(
        prog=f"{PROGRAM} vendor",
        description="Copy this package into DEST, a folder of a project's tree, and print what its "
        "pyproject.toml must say to build with the copy.",
        epilog="exit status: 0 copied, or current; 1 not current; 2 a mistake in what was asked "
        "for. example: parallel-backend vendor backend",
    )
    made.add_argument("folder", metavar="DEST", help="the folder that gets, or has, the copy")
    made.add_argument("--check", action="store_true", help="only see if the copy is current")
    return made
