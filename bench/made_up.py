"""Projects made up to measure: a known best time, or nothing but the cost of building itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["SLEEP", "make_sleeper", "many_extensions", "one_extension"]

SLEEP = 0.2
"""Seconds that the sleeping compiler takes for one source, unless told otherwise."""

_PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "made-up"
version = "1"
"""


def one_extension(folder: Path, *, sources: int) -> Path:
    """One extension of many one-line sources."""
    for number in range(sources):
        _write(folder / f"part_{number:04}.c", f"int part_{number:04};\n")
    return _project(folder, f'[Extension("made", [f"part_{{n:04}}.c" for n in range({sources})])]')


def many_extensions(folder: Path, *, extensions: int) -> Path:
    """Many extensions of one line each that includes nothing: compilers have little to do."""
    for number in range(extensions):
        _write(folder / f"e{number:03}.c", f"void *PyInit_e{number:03}(void) {{ return 0; }}\n")
    return _project(
        folder, f'[Extension(f"e{{n:03}}", [f"e{{n:03}}.c"]) for n in range({extensions})]'
    )


def make_sleeper(folder: Path) -> Path:
    """Compile the sleeping compiler with ``cc``; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "sleeper"
    source = Path(__file__).with_name("sleeper.c")
    subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    return program


def _project(folder: Path, extensions: str) -> Path:
    _write(folder / "pyproject.toml", _PYPROJECT)
    call = f"setup(py_modules=[], ext_modules={extensions})"
    _write(folder / "setup.py", f"from setuptools import Extension, setup\n\n{call}\n")
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
