"""``parallel-backend init``: a project's ``pyproject.toml`` names parallel_backend."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


class _InitError(ParallelBackendError):
    """The project cannot be changed."""


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status.

    0: the project names parallel_backend; 1: nothing was changed, since nobody said yes; 2: it
    cannot be changed.
    """
    asked = parser().parse_args(words)
    folder = Path(asked.folder)
    path = folder / "pyproject.toml"
    try:
        system = read_build_system(folder)
        if _is_ours(system) and (system.backend_path or _is_required(system)):
            print(f"{path} names parallel_backend already")
            return 0
        old = path.read_bytes().decode("utf-8") if path.exists() else ""
        new = _changed(old, folder, system)
        print("".join(_difference(old, new, path)), end="")
        if not (asked.yes or _is_wanted(path)):
            print(f"nothing was changed; --yes changes {path}")
            return 1
        _write(path, new)
    except (ParallelBackendError, OSError) as error:
        print(f"{PROGRAM}: error: {reason_of(error)}", file=sys.stderr)
        return 2
    except (EOFError, KeyboardInterrupt):
        print("\nnothing was changed")
        return 1
    return 0


def _changed(text: str, folder: Path, system: BuildSystem) -> str:
    """The text of ``pyproject.toml`` with the backend and its requirement in it."""
    backend = system.backend if _is_ours(system) else backend_for(folder, system)
    if backend is None:
        place = f" in {', '.join(system.backend_path)}" if system.backend_path else ""
        raise _InitError(f"{folder} is built by {system.backend}{place}, not by setuptools")
    for requirement in system.requires:
        if _is_too_old(requirement):
            raise _InitError(
                f"{folder} requires {requirement}; parallel_backend works with "
                f"setuptools {OLDEST_SETUPTOOLS} or newer"
            )
    if "build-system" not in tomllib.loads(text):
        newline = "\r\n" if "\r\n" in text else "\n"
        lines = [
            "[build-system]",
            f'requires = ["setuptools>={OLDEST_SETUPTOOLS}", "{OWN_REQUIREMENT}"]',
            f'build-backend = "{backend}"',
        ]
        # At the end: a table at the beginning would take in what stands there before any other.
        gap = "" if not text else newline if text.endswith("\n") else 2 * newline
        return text + gap + newline.join([*lines, ""])
    try:
        import tomlkit
    except ImportError as error:
        raise _InitError("init needs tomlkit: pip install 'parallel-backend[build]'") from error
    document = tomlkit.parse(text)
    table: Any = document["build-system"]
    if not _is_required(system):
        table["requires"].append(OWN_REQUIREMENT)
    table["build-backend"] = backend
    return tomlkit.dumps(document)


def _is_ours(system: BuildSystem) -> bool:
    return system.backend.partition(":")[0] == "parallel_backend"


def _is_required(system: BuildSystem) -> bool:
    return any(requirement_name(each) == OWN_REQUIREMENT for each in system.requires)


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


def _difference(old: str, new: str, path: Path) -> list[str]:
    name = str(path) if old else os.devnull
    lines = [text.splitlines(keepends=True) for text in (old, new)]
    found = difflib.unified_diff(lines[0], lines[1], fromfile=name, tofile=str(path))
    return [line.rstrip("\r\n") + "\n" for line in found]


def _is_wanted(path: Path) -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return input(f"change {path}? [y/N] ").strip().lower() in ("y", "yes")


def _write(path: Path, text: str) -> None:
    """All at once, and with the mode that the file had."""
    path = path.resolve()
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, new = tempfile.mkstemp(prefix=".pyproject-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(text.encode("utf-8"))
        os.chmod(new, mode)
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = Parser(
        prog=f"{PROGRAM} init",
        description="Let the pyproject.toml of a setuptools project name parallel_backend. The "
        "change is shown first; all else stays as it is.",
        epilog="exit status: 0 it names parallel_backend, 1 nothing was changed, 2 it cannot be "
        "changed. example: parallel-backend init --yes",
    )
    made.add_argument(
        "folder", nargs="?", default=".", metavar="FOLDER", help="the project (default: here)"
    )
    made.add_argument("-y", "--yes", action="store_true", help="do not ask")
    return made
