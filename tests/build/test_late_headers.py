"""A header that an extension changes after its own sources were compiled, for those after it.

Whether one of these read it too early is known by what its compiler tells. That the object is not
kept for another build is no reason not to ask.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import build_wheel, load_extension_values, run_hook, serial_wheel, understood

SETUP = """\
import time
from pathlib import Path
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

class BuildExt(build_ext):
    def build_extension(self, ext):
        super().build_extension(ext)
        if ext.name == "second":
            Path("second.built").touch()
            return
        until = time.monotonic() + 60
        while self.parallel and not Path("second.built").exists():
            assert time.monotonic() < until, "the second is not built beside the first"
            time.sleep(0.01)
        Path("number.h").write_text("#define NUMBER 2\\n")

Path("number.h").write_text("#define NUMBER 1\\n")
names = ("first", "second")
setup(
    name="late", version="1", cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in names],
)
"""
SOURCE = """\
#include <Python.h>
#include "number.h"
const char *more = MORE;
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "NAME", 0, -1, 0};
PyMODINIT_FUNC PyInit_NAME(void)
{
    PyObject *made = PyModule_Create(&module);
    PyModule_AddIntConstant(made, "number", NUMBER);
    return made;
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "late"
    folder.mkdir()
    (folder / "setup.py").write_text(SETUP)
    (folder / "pyproject.toml").write_text("[build-system]\nrequires = ['setuptools']\n")
    return folder


def write_sources(folder: Path, more: str = '""') -> None:
    for name in ("first", "second"):
        text = SOURCE.replace("NAME", name).replace("MORE", more)
        (folder / f"{name}.c").write_text(text)


def numbers(wheel: Path) -> list[int]:
    values: list[int] = load_extension_values(wheel, "[first.number, second.number]")
    return values


def test_a_serial_build_shows_each_extension_what_was_there_before_it(project: Path) -> None:
    write_sources(project)
    assert numbers(serial_wheel(project)) == [1, 2]


@pytest.mark.parametrize("more", ['""', "__TIMESTAMP__"])
def test_a_header_that_was_read_too_early_is_seen(more: str, project: Path) -> None:
    write_sources(project, more)
    assert numbers(build_wheel(project, jobs=2)) == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    ["-save-temps", "-fprofile-use -Wno-missing-profile", "-gsplit-dwarf", "--coverage", "-B/usr"],
)
def test_it_is_seen_beside_options_whose_objects_are_not_kept(options: str, project: Path) -> None:
    if not understood(options, project):
        pytest.skip(f"the compiler here does not know {options}")
    write_sources(project)
    assert numbers(build_wheel(project, jobs=2, env={"CFLAGS": options})) == [1, 2]


def test_what_was_compiled_again_is_counted_once_and_told(project: Path, tmp_path: Path) -> None:
    write_sources(project)
    done = run_hook(project, "build_wheel", tmp_path, config_settings={"jobs": "2"})
    assert "parallel-backend: 2 compiled, 2 linked, 0 reused" in done.stdout, done.output
