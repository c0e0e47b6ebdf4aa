"""Editable builds again: nothing twice, nothing stale, and nobody's file torn from under him."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rebuild_project import Tree, make_tree, tiny_tree

# The second page is not read before the file has been replaced.
MODULE = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
static const char padding[1 << 16] = {NUMBER, [40000] = NUMBER};
static PyObject *number(PyObject *self, PyObject *none)
{ return PyLong_FromLong(padding[40000]); }
static PyMethodDef methods[] = {{"number", number, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "m", "", -1, methods};
PyMODINIT_FUNC PyInit_m(void) { return PyModule_Create(&module); }
"""
WAITS = "import m; print(flush=True); input(); print(m.number())"

# brotli's, and many another one's: setuptools' own look at times, in the project's own class.
OWN_LOOK = """
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group
class own(build_ext):
    def build_extension(self, ext):
        path = self.get_ext_fullpath(ext.name)
        if not (self.force or newer_group(ext.sources + ext.depends, path, "newer")):
            return
        objects = self.compiler.compile(
            ext.sources, output_dir=self.build_temp, include_dirs=ext.include_dirs
        )
        self.compiler.link_shared_object(objects, path, build_temp=self.build_temp)
cmdclass = {"build_ext": own}
"""
IN_PLACE = """
import distutils.command.build_ext
class own(distutils.command.build_ext.build_ext):
    def finalize_options(self):
        super().finalize_options()
        self.inplace = 1
cmdclass = {"build_ext": own}
"""


def in_place(tree: Tree) -> Path:
    [path] = tree.folder.glob("m.*.so")
    return path


def test_a_process_keeps_the_extension_that_it_has_imported(tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, {"m.c": MODULE.replace("NUMBER", "1")})
    tree.step("build_editable", beside=False)
    before = in_place(tree).stat()
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS],
        cwd=tree.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    tree.write({"m.c": MODULE.replace("NUMBER", "2")})
    assert tree.step("build_editable").wrong == []
    assert in_place(tree).stat().st_ino != before.st_ino
    assert process.communicate("\n")[0] == "1\n"
    assert process.returncode == 0
    new = [sys.executable, "-c", "import m; print(m.number())"]
    assert subprocess.check_output(new, cwd=tree.folder, text=True) == "2\n"
    assert {path.name for path in tree.folder.glob("m.*")} == {"m.c", in_place(tree).name}


@pytest.mark.smoke
def test_an_editable_build_again_compiles_nothing_and_touches_nothing(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "made", recorded=True)
    first = tree.step("build_editable")
    assert (first.compiles, first.links, first.wrong) == (8, 3, [])
    before = {path: path.stat() for path in tree.folder.glob("*.so")}
    again = tree.step("build_editable", beside=False)
    assert (again.compiles, again.links) == (0, 0)
    for path, status in before.items():
        now = path.stat()
        assert (now.st_ino, now.st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
    wheel = tree.step("build_wheel")
    assert (wheel.compiles, wheel.links, wheel.wrong) == (0, 0, [])


def test_an_extension_in_place_that_is_not_what_would_be_built_is_replaced(tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, {"m.c": "int number = 1;\n"})
    tree.step("build_editable", beside=False)
    path = in_place(tree)
    data = path.read_bytes()
    path.write_bytes(bytes(len(data)))
    os.utime(path, (4 * 10**9, 4 * 10**9))
    assert tree.step("build_editable").wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("setup", [OWN_LOOK, IN_PLACE, ""], ids=["own look", "in place", "plain"])
@pytest.mark.parametrize("hook", ["build_wheel", "build_editable"])
def test_no_look_at_times_keeps_a_stale_extension(hook: str, setup: str, tmp_path: Path) -> None:
    files = {"m.c": '#include "m.h"\nint number = H;\n', "m.h": "#define H 1\n"}
    tree = tiny_tree(tmp_path, files, setup=setup)
    tree.record_compilers()
    tree.step(hook, beside=False)
    for path in tree.folder.glob("**/*.so"):
        os.utime(path, (4 * 10**9, 4 * 10**9))
    again = tree.step(hook, beside=False)
    assert (again.compiles, again.links) == (0, 0)
    tree.write({"m.h": "#define H 2\n"})
    # In place plain setuptools' wheel would hold none.
    step = tree.step(hook, beside=setup != IN_PLACE)
    assert (step.compiles, step.links, step.wrong if step.fresh else []) == (1, 1, [])


def test_an_extension_in_place_has_a_time_of_today(tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, {"m.c": "int number = 1;\n"}, setup=IN_PLACE)
    for _ in range(2):
        tree.step("build_editable", beside=False)
        assert in_place(tree).stat().st_mtime > 10**9


@pytest.mark.slow
def test_what_cannot_be_built_any_more_is_no_longer_there(tmp_path: Path) -> None:
    """From nothing, an optional extension that fails is not in the wheel."""
    tree = tiny_tree(tmp_path, {"m.c": "int number = 1;\n"}, optional="True")
    assert len(tree.step().built) == 1
    tree.write({"m.c": "#error no\n"})
    step = tree.step()
    assert step.built == step.fresh == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "links"),
    [("object", 1), ("command", 1), ("library", 1), ("comment", 0), ("times", 0)],
)
def test_what_is_linked_again(change: str, links: int, tmp_path: Path) -> None:
    tree = tiny_tree(
        tmp_path,
        {"m.c": "int number = 1;\n", "o.c": "int other = 1;\n", "more": ""},
        extra_link_args="open('more').read().split()",
        extra_objects="['o.o']",
    )
    tree.env["CFLAGS"] = "-O0"  # debug information tells of comments, too
    make = ["gcc", "-fPIC", "-c", "o.c"]
    subprocess.run(make, cwd=tree.folder, check=True)
    tree.record_compilers()
    tree.step("build_editable", beside=False)
    if change == "object":
        tree.write({"m.c": "int number = 2;\n"})
    elif change == "command":
        tree.write({"more": "-Wl,-z,now"})
    elif change == "library":
        tree.write({"o.c": "int other = 2;\n"})
        subprocess.run(make, cwd=tree.folder, check=True)
    elif change == "comment":
        tree.write({"m.c": "int number = 1; // one\n"})
    else:
        os.utime(tree.folder / "o.o", (10**9, 10**9))
    step = tree.step("build_editable")
    assert (step.links, step.wrong) == (links, [])
    assert step.compiles == (change in ("object", "comment"))


@pytest.mark.slow
def test_an_archive_has_nothing_of_a_source_that_it_was_made_of_before(tmp_path: Path) -> None:
    library = "[('own', {'sources': open('sources').read().split()})]"
    tree = tiny_tree(
        tmp_path,
        {
            "m.c": "int f(void); int m(void) { return f(); } void *PyInit_m(void) { return 0; }",
            "b.c": "int f(void) { return 1; }",
            "c.c": "int f(void) { return 2; }",
            "sources": "b.c",
        },
        setup=f"import functools\nsetup = functools.partial(setup, libraries={library})\n"
        "cmdclass = {}",
    )
    assert tree.step().wrong == []
    tree.write({"sources": "c.c"})
    assert tree.step().wrong == []
