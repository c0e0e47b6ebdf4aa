"""What a project says of its build: its requirements and its backend, and which one builds it."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_backend.errors import ParallelBackendError

__all__ = [
    "OLDEST_PYTHON",
    "OLDEST_SETUPTOOLS",
    "OWN_REQUIREMENT",
    "BuildSystem",
    "ProjectError",
    "backend_for",
    "known_name",
    "lets_in_older_pythons",
    "read_build_system",
    "required_python",
    "requirement_name",
]

#: What a project requires that names this package's backend.
OWN_REQUIREMENT = "parallel-backend"
#: Its major version, of the oldest setuptools that this package works with.
OLDEST_SETUPTOOLS = 77
#: The oldest Python that this package works with.
OLDEST_PYTHON = (3, 11)

_LEGACY = "setuptools.build_meta:__legacy__"
_REPLACEMENTS = {"setuptools.build_meta": "parallel_backend", _LEGACY: "parallel_backend:legacy"}


class ProjectError(ParallelBackendError):
    """A folder is no project, or its ``pyproject.toml`` cannot be used."""


@dataclass(frozen=True, kw_only=True)
class BuildSystem:
    """The ``[build-system]`` table (PEP 517, PEP 518), or what stands for one that is missing."""

    requires: tuple[str, ...] = ("setuptools>=40.8.0",)
    backend: str = _LEGACY
    backend_path: tuple[str, ...] = ()
    #: Whether the project has the table, and the table names a backend.
    is_told: bool = False

    @property
    def replacement(self) -> str | None:
        """Our backend that builds in place of the project's; None: it must build itself."""
        return None if self.backend_path else _REPLACEMENTS.get(self.backend)

    @property
    def is_ours(self) -> bool:
        """Whether the project names this package."""
        return self.backend.partition(":")[0] == "parallel_backend"

    @property
    def is_required(self) -> bool:
        """Whether the project requires this package."""
        return any(requirement_name(each) == OWN_REQUIREMENT for each in self.requires)

    @property
    def other_requires(self) -> list[str]:
        """What a project requires that has this package; that of its own is not in it."""
        if self == BuildSystem():
            return [f"setuptools>={OLDEST_SETUPTOOLS}"]
        return [each for each in self.requires if requirement_name(each) != OWN_REQUIREMENT]


def read_build_system(folder: Path) -> BuildSystem:
    """Read a project's ``pyproject.toml``.

    Raises ProjectError.
    """
    path = folder / "pyproject.toml"
    try:
        whole = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if not (folder / "setup.py").exists():
            text = f"{folder} is no Python project: it has no pyproject.toml and no setup.py"
            raise ProjectError(text) from error
        return BuildSystem()
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ProjectError(f"{path} cannot be read: {reason}") from error
    table = whole.get("build-system")
    if table is None:
        return BuildSystem()
    if not isinstance(table, dict) or "requires" not in table:
        raise ProjectError(f"{path}: [build-system] must be a table with a list, requires")
    return BuildSystem(
        requires=_texts(path, table, "requires"),
        backend=_text(path, table),
        backend_path=_texts(path, table, "backend-path"),
        is_told="build-backend" in table,
    )


def backend_for(folder: Path, system: BuildSystem) -> str | None:
    """The backend of ours that a project should name; None: it is not one of setuptools.

    Where it names none the legacy one would stand in for it, which few need: a ``setup.py`` that
    imports modules from its own folder.
    """
    if system.is_ours:
        return system.backend
    if system.is_told or not system.replacement:
        return system.replacement
    return system.replacement if _imports_own_modules(folder / "setup.py") else "parallel_backend"


def _imports_own_modules(setup: Path) -> bool:
    try:
        tree = ast.parse(setup.read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValueError, SyntaxError, RecursionError):
        return True
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    tops = {name.partition(".")[0] for name in names}
    return any(
        (setup.parent / top).is_dir() or (setup.parent / f"{top}.py").exists() for top in tops
    )


def requirement_name(requirement: str) -> str:
    """The name alone, as indexes write it."""
    found = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""


def required_python(folder: Path) -> str:
    """What ``requires-python`` says, or in ``setup.cfg`` and ``setup.py`` ``python_requires``.

    "" where it is not stated, or is the result of code.
    """
    try:
        table = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        return str(table["project"]["requires-python"])
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        pass
    parser = configparser.RawConfigParser()
    try:
        parser.read(folder / "setup.cfg", encoding="utf-8")
        return parser["options"]["python_requires"].strip()
    except (configparser.Error, ValueError, LookupError):
        pass
    try:
        tree = ast.parse((folder / "setup.py").read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError):
        return ""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    words = (word for call in calls for word in call.keywords if word.arg == "python_requires")
    values = (word.value.value for word in words if isinstance(word.value, ast.Constant))
    return next((value for value in values if isinstance(value, str)), "")


def lets_in_older_pythons(required: str) -> bool:
    """Whether a specifier of Python (PEP 440) lets in one that this package does not work with."""
    bounds = re.findall(r"(?:>=?|~=|===?)\s*(\d+)(?:\.(\d+))?", required)
    return not any((int(major), int(minor or 0)) >= OLDEST_PYTHON for major, minor in bounds)


def _text(path: Path, table: Mapping[str, Any]) -> str:
    value = table.get("build-backend", _LEGACY)
    if not isinstance(value, str) or not value:
        raise ProjectError(f"{path}: build-backend in [build-system] must be a string")
    return value


def _texts(path: Path, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ProjectError(f"{path}: {key} in [build-system] must be a list of strings")
    return tuple(value)


def known_name(folder: Path) -> str:
    """NAME-VERSION as ``[project]`` has it, or what is known of that; else the folder's name."""
    try:
        table = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        words = [table["name"], *([table["version"]] if "version" in table else [])]
        name = "-".join(words)
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        name = folder.resolve().name
    return re.sub(r"[^\w.+-]", "_", name) or "project"
