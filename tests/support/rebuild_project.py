"""A made-up project that is edited and built again, each time beside a build from nothing.

Run as a script it is one step: a hook of ours in the current folder, then plain setuptools' wheel
from nothing at the same path. The last line that it prints is JSON.
"""

from __future__ import annotations

import configparser
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["FIXED", "Step", "Tree", "kill_session", "make_extra", "make_tree", "tiny_tree"]

_SOURCE = Path(__file__).parents[2] / "src"
_RESULT = "\nRESULT "
FIXED = {"SOURCE_DATE_EPOCH": "1700000000", "CFLAGS": "-O0 -g", "CXXFLAGS": "-O0 -g"}

_SETUP = """
import json
from setuptools import Extension, setup

config = json.load(open("config.json"))
setup(
    libraries=[("own", {"sources": ["clib/lib.c"], "include_dirs": ["first", "second"]})],
    ext_modules=[
        Extension(
            name,
            config["sources"][name],
            include_dirs=config["include_dirs"][name],
            define_macros=[("MACRO", str(config["macros"][name]))],
            extra_objects=["extra/libextra.a"] if name == "one" else [],
        )
        for name in config["order"]
    ],
)
"""

_CONFIG: dict[str, Any] = {
    "order": ["one", "two", "three"],
    "macros": {"one": 1, "two": 2, "three": 3},
    "sources": {
        "one": ["src/one.c", "src/shared.c", "src/lone.c"],
        "two": ["src/two.c", "src/shared.c", "src/dated.c"],
        "three": ["src/three.cpp"],
    },
    "include_dirs": {
        "one": ["none", "first", "second"],
        "two": ["none", "first", "second"],
        "three": ["none", "first", "second"],
    },
}

_FILES = {
    "src/one.c": '#include "own.h"\n#include <lib.h>\nint extra(void);\n'
    "int one(void) { return OWN + lib() + extra(); }\nvoid *PyInit_one(void) { return 0; }\n",
    "src/two.c": '#include <lib.h>\n#if __has_include("asked.h")\n#include "asked.h"\n#endif\n'
    "#ifndef ASKED\n#define ASKED 0\n#endif\nint two[] = {ASKED};\n"
    "int two_lib(void) { return lib(); }\nvoid *PyInit_two(void) { return 0; }\n",
    "src/shared.c": "#include <shared.h>\nint shared[] = {SHARED, DEEP, MACRO};\n",
    "src/dated.c": "const char dated[] = __DATE__ __TIME__;\n",
    "src/lone.c": "int lone = 1;\n",
    "src/three.cpp": '#include <plus.hpp>\nint three[] = {PLUS, DEEP};\nextern "C" int lib(void);\n'
    'int three_lib() { return lib(); }\nextern "C" void *PyInit_three() { return 0; }\n',
    "src/own.h": "#define OWN 1\n",
    "second/shared.h": '#include "nested/deep.h"\n#define SHARED 1\n',
    "second/nested/deep.h": "#define DEEP 1\n",
    "second/plus.hpp": "#include <nested/deep.h>\n#define PLUS 1\n",
    "first/lib.h": "int lib(void);\n",
    "clib/lib.c": '#include "lib.h"\n#include <shared.h>\nint lib(void) { return SHARED; }\n',
    "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n\n[project]\nname = "made"\n'
    'version = "1.0"\n\n[tool.setuptools]\npackages = []\n',
    "setup.py": _SETUP,
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """What came of one build. `fresh`: what plain setuptools makes of the same, from nothing."""

    built: dict[str, str]
    fresh: dict[str, str]
    compiled: int
    reused: int
    output: str
    #: What recorded compilers were told.
    commands: tuple[str, ...] = ()

    @property
    def compiles(self) -> int:
        """How often a recorded compiler compiled a source."""
        return sum("-c" in command.split() for command in self.commands)

    @property
    def links(self) -> int:
        """How often one linked a library."""
        return sum("-shared" in command.split() for command in self.commands)

    @property
    def wrong(self) -> list[str]:
        """Extensions that are not as a build from nothing makes them."""
        names = {*self.built, *self.fresh}
        return sorted(name for name in names if self.built.get(name) != self.fresh.get(name))


@dataclass(kw_only=True)
class Tree:
    """A project folder, the variables that it is built with, and what happened to it."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    recorded: bool = False
    told: list[str] = field(default_factory=list)

    @property
    def tools(self) -> Path:
        """Where the recorded compilers are."""
        return self.folder.parent / "tools"

    def write(self, files: Mapping[str, str | None]) -> None:
        """Write files, or delete those whose text is None."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """The whole environment of a build."""
        from harness import clean_environment

        own = {**FIXED, "PYTHONPATH": str(_SOURCE), **self.env}
        return {**clean_environment(os.environ), "PYTHONPATH": "", **own}

    def record_compilers(self) -> None:
        """From now on a script that notes its words stands for each compiler."""
        self.recorded = True
        self.tools.mkdir(exist_ok=True)
        for name, program in (("cc", "gcc"), ("c++", "g++")):
            wrapper = self.tools / name
            wrapper.write_text(
                f'#!/bin/sh\n# {0:03}\necho "$*" >> "$0.log"\nexec {program} $WRAPPED "$@"\n'
            )
            wrapper.chmod(0o755)
        self.env |= {"CC": str(self.tools / "cc"), "CXX": str(self.tools / "c++")}

    def commands(self) -> list[str]:
        """What the recorded compilers were told, taken out."""
        lines = []
        for log in self.tools.glob("*.log"):
            lines += log.read_text().splitlines()
            log.unlink()
        return lines

    def start(self, hook: str, out: str = "out", **options: Any) -> subprocess.Popen[str]:
        """Begin a hook of ours, and nothing beside it."""
        return self._popen(hook, out, "alone", **options)

    def step(self, hook: str = "build_wheel", *settings: str, beside: bool = True) -> Step:
        """Build as it is, and from nothing (or not `beside`)."""
        self.commands()
        process = self._popen(hook, "out", "beside" if beside else "alone", *settings)
        output = process.communicate()[0]
        text, found, result = output.rpartition(_RESULT)
        assert found, f"{self.told}\n{output}"
        told = json.loads(result)
        last = re.findall(r"(\d+) compiled, \d+ linked, (\d+) reused", text)
        numbers = [int(number) for number in last[-1]] if last else [0, 0]
        return Step(
            built=told["built"],
            fresh=told.get("fresh", {}),
            compiled=numbers[0],
            reused=numbers[1],
            output=text,
            commands=tuple(told["commands"]),
        )

    def _popen(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, __file__, str(self.tools), *words],
            cwd=self.folder,
            env=self.environment() | options.pop("env", {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            **options,
        )


# --- the step, in a process of its own


def _extensions_in_place() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in glob.glob("*.so")}


def _extensions_of(wheel: str) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {n: archive.read(n) for n in archive.namelist() if n.endswith(".so")}


def _digests(contents: Mapping[str, bytes]) -> dict[str, str]:
    import hashlib

    return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}


def _main(tools: str, hook: str, out: str, how: str, *settings: str) -> None:
    sys.path[:1] = []
    import parallel_backend

    out = os.path.join(os.pardir, out)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    options = dict(setting.split("=", 1) for setting in settings)
    name = getattr(parallel_backend, hook)(out, options or None)
    is_wheel = hook == "build_wheel"
    built = _extensions_of(os.path.join(out, name)) if is_wheel else _extensions_in_place()
    told: dict[str, Any] = {"built": _digests(built), "commands": []}
    for log in glob.glob(os.path.join(tools, "*.log")):
        told["commands"] += Path(log).read_text().splitlines()
    if how == "beside":
        told["fresh"] = _digests(_built_from_nothing())
    print(_RESULT + json.dumps(told), flush=True)


def _built_from_nothing() -> dict[str, bytes]:
    """What plain setuptools makes at this very path, all results of builds laid aside."""
    aside, out = os.path.abspath("../aside"), os.path.abspath("../fresh")
    for folder in (aside, out):
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
    cfg = configparser.ConfigParser()
    cfg.read("setup.cfg")
    places = ("build", cfg.get("build", "build_base", fallback="build"))
    results = [n for n in os.listdir() if n in places or n.endswith((".egg-info", ".so"))]
    for name in results:
        os.rename(name, os.path.join(aside, name))
    child = os.fork()
    if not child:
        _build_plainly(out)
    _, status = os.waitpid(child, 0)
    for name in os.listdir():
        if name in places or name.endswith((".egg-info", ".so")):
            shutil.rmtree(name)
    for name in results:
        os.rename(os.path.join(aside, name), name)
    assert status == 0
    [wheel] = glob.glob(os.path.join(out, "*.whl"))
    return _extensions_of(wheel)


def _build_plainly(out: str) -> None:
    code = 1
    try:
        import setuptools.build_meta

        setuptools.build_meta.build_wheel(out)
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)


# --- the project


def make_tree(top: Path, *, recorded: bool = False) -> Tree:
    """The project in a new folder `top`."""
    tree = Tree(folder=top / "tree")
    tree.write({**_FILES, "config.json": json.dumps(_CONFIG)})
    make_extra(tree, 1)
    (tree.folder / "first").mkdir(exist_ok=True)
    if recorded:
        tree.record_compilers()
    return tree


def make_extra(tree: Tree, value: int) -> None:
    """A static library that the project has with it."""
    folder = tree.folder / "extra"
    folder.mkdir(exist_ok=True)
    compile_c = ["gcc", "-O0", "-fPIC", "-c", "-x", "c", "-", "-o", "extra.o"]
    text = f"int extra(void) {{ return {value}; }}\n"
    subprocess.run(compile_c, cwd=folder, input=text, text=True, check=True)
    (folder / "libextra.a").unlink(missing_ok=True)
    subprocess.run(["ar", "rcD", "libextra.a", "extra.o"], cwd=folder, check=True)


def tiny_tree(top: Path, files: Mapping[str, str], *, setup: str = "", **options: str) -> Tree:
    """A project of one extension, `m` of ``m.c``, whose options are given as source text."""
    tree = Tree(folder=top / "tree")
    words = ", ".join(f"{name}={text}" for name, text in options.items())
    text = (
        f"import os, sys\nfrom setuptools import Extension, setup\n{setup or 'cmdclass = {}'}\n"
        f"setup(cmdclass=cmdclass, ext_modules=[Extension('m', ['m.c'], {words})])\n"
    )
    tree.write({"pyproject.toml": _FILES["pyproject.toml"], "setup.py": text, **files})
    return tree


def kill_session(leader: int) -> None:
    """Kill -9 all processes of a session, whatever groups they have."""
    for entry in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            _, _, rest = Path(entry).read_text().rpartition(")")
            if int(rest.split()[3]) == leader:
                os.kill(int(entry.split("/")[2]), signal.SIGKILL)


if __name__ == "__main__":
    _main(*sys.argv[1:])
