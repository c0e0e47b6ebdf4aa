"""Projects made up to measure, and compilers that only sleep."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bench.recording import compilers_on_path

__all__ = [
    "SLEEP",
    "make_sleeper",
    "many_extensions",
    "one_extension",
    "real_sources",
    "sleeping_compilers",
]

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


def one_extension(folder: Path, sources: int) -> Path:
    """One extension of many one-line sources."""
    for number in range(sources):
        _write(folder / f"part_{number:04}.c", f"int part_{number:04};\n")
    return _project(folder, f'[Extension("made", [f"part_{{n:04}}.c" for n in range({sources})])]')


_FUNCTION = """\
static PyObject *f{n}(PyObject *self, PyObject *arguments)
{{
    long a, b, table[64], sum = {n};
    if (!PyArg_ParseTuple(arguments, "ll", &a, &b))
        return NULL;
    for (int i = 0; i < 64; i++)
        table[i] = (a * i + {n}) % (b | 1);
    for (int i = 0; i < 64; i++)
        for (int j = i; j < 64; j += 1 + (int)(table[i] & 3))
            sum += table[i] * table[j] >> (table[j] & 7);
    return PyLong_FromLong(sum);
}}
"""


def real_sources(folder: Path, sources: int) -> Path:
    """One extension of many sources; the longest takes a compiler some times what others take."""
    for number in range(sources):
        functions = 3 + 4 * (number % 7) + (60 if number % 50 == 49 else 0)
        text = "".join(_FUNCTION.format(n=n) for n in range(functions))
        uses = ", ".join(f"f{n}" for n in range(functions))
        table = f"PyCFunction table_{number}[] = {{{uses}}};\n"
        _write(folder / f"part_{number:04}.c", f"#include <Python.h>\n{text}{table}")
    return _project(folder, f'[Extension("made", [f"part_{{n:04}}.c" for n in range({sources})])]')


def many_extensions(folder: Path, extensions: int) -> Path:
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


def sleeping_compilers(folder: Path) -> dict[str, str]:
    """Variables that put the sleeping compiler before every compiler that is on PATH.

    Copies, not links: whoever looks at what a compiler is finds a program of that name.
    """
    path = os.environ["PATH"]
    sleeper = make_sleeper(folder)
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name in compilers_on_path(path):
        shutil.copy2(sleeper, programs / name)
    return {"PATH": os.pathsep.join([str(programs), path]), "SLEEPER_PATH": path}


def _project(folder: Path, extensions: str) -> Path:
    _write(folder / "pyproject.toml", _PYPROJECT)
    call = f"setup(py_modules=[], ext_modules={extensions})"
    _write(folder / "setup.py", f"from setuptools import Extension, setup\n\n{call}\n")
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
