"""Two small projects that are alike and in each other's way, for processes that build both.

Each has a ``_custom.py`` that its ``setup.py`` imports, and a ``setup.py`` that changes the process
it runs in: the path, the environment, the folder. What it counts in the environment goes into its
extension module, so that a wheel tells of what an earlier hook has left.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from projects import make_project

__all__ = ["Run", "Twin", "read_log"]

_SETUP = """\
import json
import os
import sys

sys.path.insert(0, os.getcwd())
from _custom import NUMBER
from setuptools import Extension, setup

os.environ["TWIN_RUNS"] = str(int(os.environ.get("TWIN_RUNS", "0")) + 1)
run = [os.getpid(), os.getppid(), sys.argv[1], os.getcwd()]
with open({log!r}, "a") as log:
    print(json.dumps(run), file=log)
macros = [("NUMBER", str(NUMBER)), ("RUNS", os.environ["TWIN_RUNS"])]
setup(ext_modules=[Extension("_{name}", ["_{name}.c"], define_macros=macros)])
os.chdir("inner")
"""

_SOURCE = """\
#include <Python.h>

static PyObject *value(PyObject *self, PyObject *none)
{{
    return Py_BuildValue("[iii]", NUMBER, {source}, RUNS);
}}

static PyMethodDef methods[] = {{{{"value", value, METH_NOARGS, 0}}, {{0}}}};
static struct PyModuleDef module = {{PyModuleDef_HEAD_INIT, "_{name}", 0, -1, methods}};

PyMODINIT_FUNC PyInit__{name}(void)
{{
    return PyModule_Create(&module);
}}
"""


class Run(NamedTuple):
    """One run of a ``setup.py``: its process, the process that started it, the command, where."""

    process: int
    parent: int
    command: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class Twin:
    """One state of one of the projects. `number` stands in its helper module, `source` in its C.

    Both are written so that another number is another length: within a second, Python knows a
    module that has changed by its size alone.
    """

    name: str
    number: int
    source: int

    @property
    def expression(self) -> str:
        """An expression over its modules."""
        return f"_{self.name}.value()"

    @property
    def value(self) -> list[int]:
        """What the expression is in this state: one run of ``setup.py`` in each environment."""
        return [self.number, self.source, 1]

    def write(self, folder: Path, *, log: Path, build_system: str = "") -> Path:
        """Write the project to `folder`; each run of its ``setup.py`` adds a line to `log`."""
        table = build_system or 'requires = ["setuptools>=77"]'
        texts = {"log": str(log), "name": self.name, "source": self.source}
        return make_project(
            folder,
            name=self.name,
            setup=_SETUP.format(**texts),
            files={
                "_custom.py": f"NUMBER = {'+'.join('1' * self.number)}\n",
                f"_{self.name}.c": _SOURCE.format(**texts),
                "inner/setup.py": "raise SystemExit('this is another project')\n",
                "MANIFEST.in": (
                    "include _custom.py inner/*\nrecursive-include backend *.py py.typed\n"
                ),
            },
            build_system=table,
        )

    def write_anew(self, folder: Path, *, log: Path, build_system: str = "") -> Path:
        """The same, and nothing else is left in the folder, which a process may stand in."""
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return self.write(folder, log=log, build_system=build_system)


def read_log(log: Path) -> list[Run]:
    """The runs that were added to a log."""
    return [Run(*json.loads(line)) for line in log.read_text("utf-8").splitlines()]
