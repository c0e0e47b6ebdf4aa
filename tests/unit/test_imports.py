"""What the backend imports: nothing of ``tools/``, and nothing that would have to be installed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import SOURCE

PACKAGE = SOURCE / "parallel_backend"
# These two start programs of tools/, and no vendored copy has them.
DOORS = ("__main__.py", "hook_server.py")
BACKEND = [
    file.relative_to(PACKAGE)
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.relative_to(PACKAGE).parts[0] not in ("tools", *DOORS)
]
INSTALLED = {"distutils", "parallel_backend", "setuptools", *sys.stdlib_module_names}


def imported(source: str, *, package: str) -> Iterator[str]:
    """The absolute names of all that a module of `package` imports, wherever it does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) + 1 - node.level] if node.level else []
            origin = [*base, *([node.module] if node.module else [])]
            yield from (".".join([*origin, alias.name]) for alias in node.names)


def is_of_tools(name: str) -> bool:
    return f"{name}.".startswith("parallel_backend.tools.")


def imports_of(module: Path) -> list[str]:
    package = ".".join(["parallel_backend", *module.parent.parts])
    return [*imported((PACKAGE / module).read_text(encoding="utf-8"), package=package)]


def test_no_module_of_the_backend_imports_tools() -> None:
    found = [(str(each), name) for each in BACKEND for name in imports_of(each)]
    assert len(found) > len(BACKEND)
    assert [pair for pair in found if is_of_tools(pair[1])] == []


def test_the_backend_imports_the_standard_library_and_setuptools_only() -> None:
    found = {name.partition(".")[0] for each in BACKEND for name in imports_of(each)}
    assert found - INSTALLED == set()


@pytest.mark.parametrize(
    ("source", "package"),
    [
        ("import parallel_backend.tools.cli", "parallel_backend"),
        ("from parallel_backend import tools", "parallel_backend"),
        ("def f():\n    from parallel_backend.tools.cli import main", "parallel_backend"),
        ("from . import tools", "parallel_backend"),
        ("from .tools import cli", "parallel_backend"),
        ("from ..tools.cli import main", "parallel_backend.timings"),
    ],
)
def test_each_way_to_import_tools_is_seen(source: str, package: str) -> None:
    assert any(is_of_tools(name) for name in imported(source, package=package))


def test_both_doors_of_the_tools_are_thin() -> None:
    for door in DOORS:
        assert any(is_of_tools(name) for name in imports_of(Path(door)))
        assert len((PACKAGE / door).read_text(encoding="utf-8").splitlines()) <= 20
