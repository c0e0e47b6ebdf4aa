"""``parallel-backend vendor``: a copy of this package in a project's own tree (PEP 517's
``backend-path``)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from parallel_backend.errors import ParallelBackendError
from parallel_backend.tools.cli.arguments import PROGRAM, Parser, directory, reason_of
from parallel_backend.tools.cli.copies import NAME, Copy, CopyError
from parallel_backend.tools.cli.projects import (
    BuildSystem,
    backend_for,
    read_build_system,
)

__all__ = ["main", "parser"]


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status.

    0: the copy is made, or current; 1: it is not current; 2: a mistake in what was asked for.
    """
    asked = parser().parse_args(words)
    try:
        target = Path(asked.directory).resolve()
        project = _project_of(target)
        copy = Copy(project=project, place=target.relative_to(project).as_posix())
        if asked.check:
            return _check(copy, Path(asked.directory, NAME))
        system = read_build_system(project) if _is_project(project) else BuildSystem()
        copy.write()
        lines = list(_instructions(copy, system))
    except (ParallelBackendError, OSError) as error:
        print(f"{PROGRAM}: error: {reason_of(error)}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


def _check(copy: Copy, named: Path) -> int:
    """Compare the copy, which the user `named` in another way perhaps."""
    if not copy.exists:
        raise CopyError(f"{named} is not a copy of {NAME}")
    differences = copy.differences()
    for name, state in differences.items():
        print(f"{named / name} {state}", file=sys.stderr)
    return int(bool(differences))


def _instructions(copy: Copy, system: BuildSystem) -> Iterator[str]:
    yield f"# {copy.summary}"
    yield f"# {copy.python_note}"
    yield f"# in {copy.project / 'pyproject.toml'}"
    yield "[build-system]"
    yield f"requires = {_toml(system.other_requires)}"
    yield f"build-backend = {_toml(backend_for(copy.project, system) or NAME)}"
    yield f"backend-path = {_toml([copy.place])}"
    yield f"# in {copy.project / 'MANIFEST.in'}, so that an sdist has it too"
    yield copy.manifest_line


def _project_of(target: Path) -> Path:
    """The project that the copy is for; without one, where the user is."""
    for above in [target, *target.parents]:
        if _is_project(above):
            return above
    here = Path.cwd().resolve()
    return here if target.is_relative_to(here) else target.parent


def _is_project(place: Path) -> bool:
    return any((place / name).is_file() for name in ("pyproject.toml", "setup.py"))


def _toml(value: str | list[str]) -> str:
    return json.dumps(value, ensure_ascii=False)  # strings and lists of JSON are those of TOML


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = Parser(
        prog=f"{PROGRAM} vendor",
        description="Copy the backend into DEST, a directory of a project's tree, and print what "
        "the project must state to build with the copy. (init does all of it.)",
        epilog="exit status: 0 copied, or current; 1 not current; 2 a mistake in what was asked "
        "for. example: parallel-backend vendor _backend",
    )
    made.add_argument(
        "directory", type=directory, metavar="DEST", help="where the copy is, or is to be"
    )
    made.add_argument("--check", action="store_true", help="only see if the copy is current")
    return made
