"""Small projects that a test writes itself; those that are a defect each lie in `packages/`."""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Mapping
from pathlib import Path

from harness import REPOSITORY
from parallel_backend.tools.cli.copies import Copy

__all__ = ["TINY_C", "carry_backend", "copy_repository", "make_cargo_project", "make_project"]

# What tools leave: anywhere, and at the top alone (tests/build is ours).
_LEAVINGS = """
    .git .nox .tox .venv .coverage* .hypothesis *_cache __pycache__ *.egg-info *.so
""".split()
_LEAVINGS_AT_THE_TOP = "build dist htmlcov venv env".split()

# An extension module that compiles in a moment. It cannot be imported.
TINY_C = "void *PyInit_{name}(void) {{ return 0; }}\n"

_CARGO = """
[package]
name = "rusty"
version = "1.0.0"
edition = "2021"
[lib]
crate-type = ["cdylib"]
path = "lib.rs"
"""
_RUST = """
[[tool.setuptools-rust.ext-modules]]
target = "rusty.native"
binding = "NoBinding"
"""


def make_project(
    folder: Path,
    *,
    name: str = "sample",
    setup: str | None = None,
    files: Mapping[str, str] | None = None,
    build_system: str = 'requires = ["setuptools>=77"]',
    tables: str = "",
) -> Path:
    """Write a project with one pure Python module, version 1.0, to `folder`; returns `folder`.

    `setup` is its ``setup.py``, `files` maps further paths to their text, `build_system` is the
    inside of that table, and `tables` is put at the end of ``pyproject.toml``.
    """
    texts = {
        "pyproject.toml": (
            f"[build-system]\n{build_system}\n\n"
            f'[project]\nname = "{name}"\nversion = "1.0"\n\n'
            f'[tool.setuptools]\npy-modules = ["{name}"]\n\n{tables}'
        ),
        f"{name}.py": "VALUE = 1\n",
        **({} if setup is None else {"setup.py": setup}),
        **(files or {}),
    }
    for path, text in texts.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def carry_backend(folder: Path) -> Path:
    """Put a copy of the backend into the project, for ``backend-path``; returns the path for it."""
    Copy(project=folder, place="backend").write()
    return folder / "backend"


def copy_repository(folder: Path) -> Path:
    """Copy this repository to `folder`, less what tools leave in it; returns `folder`."""
    shutil.copytree(REPOSITORY, folder, ignore=_left_behind)
    return folder


def _left_behind(folder: str, names: list[str]) -> set[str]:
    patterns = [*_LEAVINGS, *(_LEAVINGS_AT_THE_TOP if Path(folder) == REPOSITORY else ())]
    return {name for pattern in patterns for name in fnmatch.filter(names, pattern)}


def make_cargo_project(folder: Path) -> Path:
    """A project of the real setuptools-rust, whose library needs no crate and returns 7."""
    return make_project(
        folder,
        name="rusty",
        build_system='requires = ["setuptools", "setuptools-rust"]\n'
        'build-backend = "setuptools.build_meta"',
        files={
            "Cargo.toml": _CARGO,
            "lib.rs": '#[no_mangle]\npub extern "C" fn seven() -> i32 { 7 }\n',
            "rusty/__init__.py": "",
        },
        tables=_RUST,
    )
