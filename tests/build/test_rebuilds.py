"""What is edited, in whatever way, is built again as from nothing; and nothing else is."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rebuild_edits import EDITS, Made
from rebuild_project import Step, Tree, make_tree

H1, H2 = "#define H 1\n", "#define H 2\n"
NUMBER = "#include <h.h>\nint number[] = {H};\n"
NESTED = "#include <sub/h.h>\nint number[] = {H};\n"
QUOTED = '#include "h.h"\nint number[] = {H};\n'
HAS_LIBRARY = "int lib(void);\nint number(void) { return lib(); }\n"

_SETUP = """
import json, os
from setuptools import Extension, setup

def filled(value, here):
    if isinstance(value, list):
        return [filled(each, here) for each in value]
    return value.replace("{h}", here)

cases = json.load(open("cases.json"))
setup(ext_modules=[
    Extension(name, **{"sources": [f"{name}/src/m.c"],
                       **{k: filled(v, name) for k, v in options.items()}})
    for name, options in cases.items()
])
"""


# --- random edits


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_after_every_edit_a_rebuild_is_as_from_nothing(seed: int, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "made", recorded=bool(seed % 2))
    chance = random.Random(seed)
    tree.step(beside=False)
    for edit in chance.sample(EDITS, 7):
        needed = edit(tree, chance)
        hook = chance.choice(["build_wheel", "build_editable"])
        tree.told.append(f"{edit.__name__} {hook}")
        step = tree.step(hook)
        assert step.wrong == [], (tree.told, step.output)
        if needed is not None:
            assert step.compiled == needed, (tree.told, step.output)
        if tree.recorded:
            assert step.compiles == step.compiled


@pytest.mark.slow
def test_what_did_not_change_is_neither_compiled_nor_linked(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "made", recorded=True)
    first = tree.step(beside=False)
    assert (first.compiles, first.links) == (8, 3)
    again = tree.step("build_editable", beside=False)
    assert (again.compiles, again.links, again.reused) == (0, 0, 11)
    for path in tree.folder.rglob("*.[ch]*"):
        os.utime(path, (10**9, 10**9))
    touched = tree.step(beside=False)
    assert (touched.compiles, touched.links) == (0, 0)
    for name, sources, extensions in (
        ("src/lone.c", 1, 1), ("src/own.h", 1, 1), ("second/nested/deep.h", 4, 3)
    ):  # fmt: skip
        text = (tree.folder / name).read_text()
        tree.write({name: text.replace("1", "8")})
        assert Made.readers(tree, name) == sources
        step = tree.step()
        assert (step.compiles, step.links, step.wrong) == (sources, extensions, [])
    fresh = tree.step("build_wheel", "fresh=true")
    assert (fresh.compiles, fresh.reused, fresh.links, fresh.wrong) == (8, 0, 3, [])


# --- guesses at what could be missed, an extension each, all in one project


@dataclass(frozen=True)
class Case:
    """An extension: its options, its files, and what becomes of them. `{h}` is its folder."""

    options: dict[str, Any]
    files: dict[str, str]
    edit: dict[str, str | None] | Callable[[Path], None]
    begin: Callable[[Path], None] | None = None
    folders: list[str] = field(default_factory=lambda: ["a"])


def make_library(value: int, name: str) -> Callable[[Path], None]:
    """A static library in an extension's folder."""

    def make(folder: Path) -> None:
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        target.unlink(missing_ok=True)
        compile_c = ["gcc", "-O0", "-fPIC", "-c", "-x", "c", "-", "-o", "lib.o"]
        text = f"int lib(void) {{ return {value}; }}\n"
        subprocess.run(compile_c, cwd=folder, input=text, text=True, check=True)
        subprocess.run(["ar", "rcD", target, "lib.o"], cwd=folder, check=True)

    return make


def linked(*words: str) -> Case:
    """A library is in `l2`, and then in `l1`, too."""
    begin, edit = make_library(1, "l2/libfoo.a"), make_library(2, "l1/libfoo.a")
    return Case({"extra_link_args": list(words)}, {"src/m.c": HAS_LIBRARY}, edit, begin, ["l1"])


def compiled(*words: str, found: str, better: str, text: str = NUMBER, **options: Any) -> Case:
    """A header is found in one place, and then there is one in a better place."""
    files = {"src/m.c": text, found: H1}
    return Case({"extra_compile_args": list(words), **options}, files, {better: H2})


def symlink(target: str, name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return make


def a_file_instead_of_a_folder(folder: Path) -> None:
    shutil.rmtree(folder / "a/sub")
    (folder / "a/sub").write_text("")


def precompile(folder: Path) -> None:
    (folder / "a/h.h").write_text(H2)
    subprocess.run(["gcc", "-O0", "-g", "-fPIC", "a/h.h"], cwd=folder, check=True)
    (folder / "a/h.h").write_text(H1)


ASKS = "#if __has_include({0})\n#include {0}\n#else\n#define H 1\n#endif\nint number[] = {{H}};\n"
STANDARD = "#include <stdlib.h>\nint number[] = {\n#ifdef H\nH\n#endif\n};\n"
ASSEMBLER = '__asm__(".data\\n{} \\"{}/src/x.s\\"\\n.text");\n'
AB: dict[str, Any] = {"include_dirs": ["{h}/a", "{h}/b"]}
CASES = {
    # Where headers are looked for, and in which order (gcc: "Directory Options").
    "plain": compiled(found="b/h.h", better="a/h.h", **AB),
    "new_folder": compiled(found="b/sub/h.h", better="a/sub/h.h", text=NESTED, **AB),
    "slash": compiled(found="b/h.h", better="a/h.h", include_dirs=["{h}/a", "{h}/b/", "."]),
    "dot": compiled(
        found="b/sub/h.h", better="a/sub/h.h", text=NESTED, include_dirs=["{h}/a", "./{h}/b"]
    ),
    "two_dots": compiled(found="b/h.h", better="a/h.h", include_dirs=["{h}/a", "{h}/src/../b"]),
    "isystem": compiled("-isystem", "{h}/b", "-I{h}/a", found="b/h.h", better="a/h.h"),
    "idirafter": compiled("-idirafter", "{h}/b", "-I{h}/a", found="b/h.h", better="a/h.h"),
    "iquote": compiled(
        "-I{h}/b", "-iquote{h}/a", found="b/h.h", better="a/h.h", text=QUOTED
    ),
    "long_option": compiled("--include-directory={h}/a", "-I{h}/b", found="b/h.h", better="a/h.h"),
    "preprocessor": compiled("-Wp,-I{h}/a", "-idirafter{h}/b", found="b/h.h", better="a/h.h"),
    "include_option": Case(
        {"extra_compile_args": ["-include", "of_the_case.h", "-I{h}/b"]},
        {"src/m.c": "int number[] = {H};\n", "b/of_the_case.h": H1},
        {"../of_the_case.h": H2},
    ),
    "imacros": Case(
        {"extra_compile_args": ["-imacros", "{h}/b/h.h"]},
        {"src/m.c": "int number[] = {H};\n", "b/h.h": H1},
        {"b/h.h": H2},
    ),
    "include_next": Case(
        {"include_dirs": ["{h}/a", "{h}/b", "{h}/c"]},
        {"src/m.c": NUMBER, "a/h.h": "#include_next <h.h>\n", "c/h.h": H1, "b/o.h": ""},
        {"b/h.h": H2},
    ),
    "includer": Case(
        {"include_dirs": ["{h}/b"]},
        {"src/m.c": '#include "sub/i.h"\nint number[] = {H};\n', "src/sub/i.h": '#include "h.h"\n',
         "b/h.h": H1},
        {"src/sub/h.h": H2},
    ),
    "standard": compiled(
        found="b/o.h", better="a/stdlib.h", text=STANDARD, **AB
    ),
    "standard_nested": Case(
        {"sources": ["{h}/src/m.cpp"], **AB},
        {"src/m.cpp": "#include <cstddef>\nint number[] = {\n#ifdef H\nH\n#endif\n};\n",
         "a/bits/o.h": ""},
        {"a/bits/c++config.h": "#include_next <bits/c++config.h>\n" + H2},
    ),
    "spaces": Case(
        {"include_dirs": ["{h}/b c"]},
        {"src/m.c": '#include "$h #1.h"\nint number[] = {H};\n', "b c/$h #1.h": H1},
        {"b c/$h #1.h": H2},
    ),
    # What a compiler does not tell.
    "asked": Case(AB, {"src/m.c": ASKS.format("<h.h>"), "b/o.h": ""}, {"a/h.h": H2}),
    "asked_gone": Case(AB, {"src/m.c": ASKS.format("<h.h>"), "b/h.h": H2}, {"b/h.h": None}),
    "asked_by_macro": Case(
        AB, {"src/m.c": "#define N <h.h>\n" + ASKS.format("N"), "b/o.h": ""}, {"a/h.h": H2}
    ),
    "asm_include": Case(
        {}, {"src/m.c": ASSEMBLER.format(".include", "asm_include"), "src/x.s": ".long 1\n"},
        {"src/x.s": ".long 2\n"},
    ),
    "asm_incbin": Case(
        {}, {"src/m.c": ASSEMBLER.format(".incbin", "asm_incbin"), "src/x.s": ".long 1\n"},
        {"src/x.s": ".long 2\n"},
    ),
    "precompiled": Case(AB, {"src/m.c": NUMBER, "a/h.h": H1}, precompile),
    "response_file": Case(
        {"extra_compile_args": ["@{h}/words"]},
        {"src/m.c": "int number[] = {H};\n", "words": "-DH=1"}, {"words": "-DH=2"},
    ),
    # Links in the file system.
    "link_turned": Case(
        {"include_dirs": ["{h}/l"]}, {"src/m.c": NUMBER, "b/h.h": H1, "c/h.h": H2},
        symlink("c", "l"), symlink("b", "l"),
    ),
    "link_instead": Case(
        AB, {"src/m.c": NUMBER, "b/h.h": H1, "c/h.h": H2}, symlink("../c/h.h", "b/h.h")
    ),
    "link_shortened": Case(
        {"extra_compile_args": ["-I{h}/a", "-isystem", "{h}/longer/link"]},
        {"src/m.c": NESTED, "r/sub/h.h": H1, "longer/o": "", "a/sub/o": ""},
        {"a/sub/h.h": H2}, symlink("../r", "longer/link"),
    ),
    "file_for_folder": Case(
        AB, {"src/m.c": NESTED, "a/sub/h.h": H1, "b/sub/h.h": H2}, a_file_instead_of_a_folder
    ),
    # What a linker reads.
    "library": linked("-L{h}/l1", "-L{h}/l2", "-lfoo"),
    "library_folder_word": linked("-L", "{h}/l1", "-L", "{h}/l2", "-lfoo"),
    "library_word": linked("-L{h}/l1", "-L{h}/l2", "-l", "foo"),
    "library_file": linked("-L{h}/l1", "-L{h}/l2", "-l:libfoo.a"),
    "library_for_linker": linked("-Wl,-L,{h}/l1", "-Wl,-L{h}/l2", "-lfoo"),
    "library_prefix": linked("-B{h}/l1", "-B{h}/l2", "-lfoo"),
    "library_script": Case(
        {"library_dirs": ["{h}/l1", "{h}/l2"], "libraries": ["all"]},
        {"src/m.c": HAS_LIBRARY, "l2/liball.so": "INPUT(-lfoo)\n", "l1/o": ""},
        make_library(2, "l1/libfoo.a"), make_library(1, "l2/libfoo.a"),
    ),
    "symbols": Case(
        {"extra_link_args": ["-Wl,--retain-symbols-file={h}/list"]},
        {"src/m.c": "int one, two;\n", "list": "one\n"}, {"list": "two\n"},
    ),
    "versions": Case(
        {"extra_link_args": ["-Wl,--version-script={h}/map"]},
        {"src/m.c": "int one, two;\n", "map": "V1 { global: one; local: *; };\n"},
        {"map": "V2 { global: two; local: *; };\n"},
    ),
    "script": Case(
        {"extra_link_args": ["{h}/more.ld"]},
        {"src/m.c": "int one;\n", "more.ld": "other = 1;\n"}, {"more.ld": "another = 2;\n"},
    ),
}  # fmt: skip
# Of what is there and is not read, nothing counts.
UNREAD = {
    "unread": Case(
        {}, {"src/m.c": '#include "../b/i.h"\nint number[] = {H};\n', "b/i.h": '#include "h.h"\n',
             "b/h.h": H1, "src/h.h": H1}, {"src/h.h": H2},
    ),
    "unread_later": Case(AB, {"src/m.c": NUMBER, "a/h.h": H1, "b/h.h": H1}, {"b/h.h": H2}),
}  # fmt: skip


@pytest.fixture(scope="module")
def guesses(tmp_path_factory: pytest.TempPathFactory) -> tuple[Step, Step]:
    tree = Tree(folder=tmp_path_factory.mktemp("guesses") / "tree")
    cases = CASES | UNREAD
    options = {name: case.options for name, case in cases.items()}
    tree.write({"setup.py": _SETUP, "cases.json": json.dumps(options), "pyproject.toml": PYPROJECT})
    tree.record_compilers()
    for name, case in cases.items():
        tree.write({f"{name}/{path}": text for path, text in case.files.items()})
        for folder in case.folders:
            (tree.folder / name / folder).mkdir(exist_ok=True)
        if case.begin is not None:
            case.begin(tree.folder / name)
    before = tree.step(beside=False)
    for name, case in cases.items():
        if callable(case.edit):
            case.edit(tree.folder / name)
        else:
            tree.write({f"{name}/{path}": text for path, text in case.edit.items()})
    return before, tree.step()


PYPROJECT = '[project]\nname = "made"\nversion = "1.0"\n[tool.setuptools]\npackages = []\n'


@pytest.mark.parametrize("name", CASES)
def test_what_changes_a_result_is_seen(name: str, guesses: tuple[Step, Step]) -> None:
    before, after = guesses
    [extension] = [each for each in after.fresh if each.startswith(f"{name}.")]
    assert before.built[extension] != after.fresh[extension], "the edit changes nothing"
    assert after.built[extension] == after.fresh[extension]


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_read_does_not_count(name: str, guesses: tuple[Step, Step]) -> None:
    before, after = guesses
    assert any(f"{name}/src/m.c" in command for command in before.commands)
    assert not any(f"{name}/src/m.c" in command for command in after.commands)
