"""``parallel-backend init``: a project is built by parallel_backend from now on."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parallel_backend.errors import ParallelBackendError
from parallel_backend.tools.cli.arguments import PROGRAM, Parser, directory, reason_of
from parallel_backend.tools.cli.copies import Copy
from parallel_backend.tools.cli.edits import Edit, build_system_edit, line_edit
from parallel_backend.tools.cli.projects import (
    OLDEST_SETUPTOOLS,
    OWN_REQUIREMENT,
    BuildSystem,
    backend_for,
    read_build_system,
    requirement_name,
)

__all__ = ["main", "parser"]

# With a dot in its name no discovery of packages takes it for one, so no wheel gets the copy.
_PLACE = "_backend.vendored"
# True as long as it is on no index, which is also why a copy is what init proposes.
_NOT_ON_AN_INDEX = (
    f"no package index has {OWN_REQUIREMENT} yet: pip needs --no-build-isolation to build this, or "
    "--find-links with a wheel of it"
)


class _InitError(ParallelBackendError):
    """The project cannot be changed."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What has to be done to the project."""

    edits: Sequence[Edit]
    copy: Copy | None
    notes: Sequence[str]


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status.

    0: the project names parallel_backend; 1: nothing was changed, since nobody said yes; 2: it
    cannot be changed.
    """
    asked = parser().parse_args(words)
    project = Path(asked.project)
    try:
        plan = _plan(project, in_tree=asked.in_tree)
        if not plan.edits and plan.copy is None:
            print(f"{project / 'pyproject.toml'} names parallel_backend already")
            return 0
        print("".join(each.difference for each in plan.edits), end="")
        print("\n".join(plan.notes))
        if not (asked.yes or _is_wanted()):
            print("nothing was changed; --yes makes these changes")
            return 1
        if plan.copy is not None:
            plan.copy.write()
        for edit in reversed(plan.edits):  # pyproject.toml last: it names what must be there
            edit.write()
    except (ParallelBackendError, OSError) as error:
        print(f"{PROGRAM}: error: {reason_of(error)}", file=sys.stderr)
        return 2
    except (EOFError, KeyboardInterrupt):
        print("\nnothing was changed")
        return 1
    return 0


def _plan(project: Path, *, in_tree: bool | None) -> _Plan:
    """What `in_tree` asks for; None: a copy, unless the project requires the package already.

    Raises ParallelBackendError.
    """
    system = read_build_system(project)
    is_named = system.is_ours and (system.is_required or bool(system.backend_path))
    if in_tree is None:
        in_tree = not is_named or bool(system.backend_path)
    if not in_tree:
        edits = [] if is_named else [_edit(project, system)]
        return _Plan(edits=edits, copy=None, notes=[_NOT_ON_AN_INDEX])
    copy = Copy(project=project, place=_place(project, system) if system.is_ours else _PLACE)
    is_current = copy.exists and not copy.differences()
    if not is_current:
        copy.check_target()
    edits = [
        _edit(project, system, place=copy.place),
        line_edit(project / "MANIFEST.in", copy.manifest_line),
    ]
    notes = [
        f"{copy.package}: {copy.summary}; it belongs into version control",
        copy.python_note,
    ]
    return _Plan(
        edits=[each for each in edits if each.old != each.new],
        copy=None if is_current else copy,
        notes=notes,
    )


def _edit(project: Path, system: BuildSystem, *, place: str = "") -> Edit:
    """The change of ``pyproject.toml``; `place`: of a copy, else the package is required."""
    backend = backend_for(project, system)
    if backend is None:
        where = f" in {', '.join(system.backend_path)}" if system.backend_path else ""
        raise _InitError(f"{project} is built by {system.backend}{where}, not by setuptools")
    for requirement in system.requires:
        if _is_too_old(requirement):
            raise _InitError(
                f"{project} requires {requirement}; parallel_backend works with "
                f"setuptools {OLDEST_SETUPTOOLS} or newer"
            )
    requires = system.other_requires
    values: dict[str, str | list[str]] = {"build-backend": backend}
    if place:
        values["backend-path"] = [*system.backend_path] or [place]
    else:
        requires = [*system.requires] if system.is_required else [*requires, OWN_REQUIREMENT]
    return build_system_edit(project / "pyproject.toml", requires=requires, values=values)


def _place(project: Path, system: BuildSystem) -> str:
    """Where the project's copy is, or is to be."""
    places = [*system.backend_path, _PLACE]
    return next((each for each in places if Copy(project=project, place=each).exists), places[0])


def _is_too_old(requirement: str) -> bool:
    """Whether a requirement lets in no setuptools that is new enough."""
    if requirement_name(requirement) != "setuptools":
        return False
    bounds = re.findall(r"(<=?|==|~=)\s*(\d+)(\.[1-9])?", requirement.partition(";")[0])
    return any(
        int(major) < OLDEST_SETUPTOOLS
        or (sign == "<" and int(major) == OLDEST_SETUPTOOLS and not minor)
        for sign, major, minor in bounds
    )


def _is_wanted() -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return input("make these changes? [y/N] ").strip().lower() in ("y", "yes")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = Parser(
        prog=f"{PROGRAM} init",
        description="Let a setuptools project be built by parallel_backend. All changes are shown "
        "first; all else stays as it is.",
        epilog="exit status: 0 it names parallel_backend, 1 nothing was changed, 2 it cannot be "
        "changed. example: parallel-backend init --yes",
    )
    made.add_argument(
        "project",
        nargs="?",
        default=".",
        type=directory,
        metavar="PROJECT",
        help="its directory (default: .)",
    )
    how = made.add_mutually_exclusive_group()
    how.add_argument(
        "--in-tree",
        action="store_true",
        default=None,
        help=f"put a copy of the backend into {_PLACE} of the project (default)",
    )
    how.add_argument(
        "--require",
        action="store_false",
        dest="in_tree",
        default=None,
        help=f"require {OWN_REQUIREMENT} by name, for builds where it is installed already",
    )
    made.add_argument("-y", "--yes", action="store_true", help="do not ask")
    return made
