"""What the tests of launchers share: a project, environments at random paths, caches and farms."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import setuptools

from harness import SOURCE, HookRun, build_wheel, run_hook
from projects import make_project

__all__ = ["SOURCES", "Cache", "Shim", "Tree", "environment", "make_tree"]

# One source each of C and C++, headers of the project and of the environment, absolute paths for
# both, and what tells paths: debug information and __FILE__.
_SETUP = """
import os, sys
from setuptools import Extension, setup

include_dirs = [os.path.join(sys.prefix, "include"), os.path.abspath("include")]
sources = ["one.c", "src/two.c", "src/three.cpp"]
setup(ext_modules=[Extension("sample_ext", sources, include_dirs=include_dirs)])
"""
_FILES = {
    "include/own.h": "#include <assert.h>\nstatic inline const char *own(void){return __FILE__;}\n",
    "one.c": '#include <theirs.h>\n#include "own.h"\n'
    "const char *one(void) { return theirs(); }\nvoid *PyInit_sample_ext(void) { return 0; }\n",
    "src/two.c": '#include "own.h"\nconst char *two(int n) { assert(n); return own(); }\n',
    "src/three.cpp": '#include <theirs.h>\nextern "C" const char *three() { return theirs(); }\n',
}
_THEIRS = "static inline const char *theirs(void) { return __FILE__; }\n"
SOURCES = 3


@dataclass(frozen=True)
class Tree:
    """A source tree and an environment to build it in."""

    folder: Path
    python: Path

    def wheel(self, *, launcher: str | None = None, env: Mapping[str, str] | None = None) -> Path:
        """Build its wheel, as `env` and the setting say."""
        settings = {} if launcher is None else {"launcher": launcher}
        return build_wheel(
            self.folder,
            config_settings=settings,
            env=env,
            python=str(self.python),
            path=[SOURCE, _packages()],
        )

    def run(self, *, launcher: str, env: Mapping[str, str] | None = None) -> HookRun:
        """The same, whatever comes of it."""
        return run_hook(
            self.folder,
            "build_wheel",
            self.folder,
            config_settings={"launcher": launcher},
            env=env,
            python=str(self.python),
            path=[SOURCE, _packages()],
        )


def make_tree(folder: Path, python: Path) -> Tree:
    """The project in a new folder."""
    return Tree(make_project(folder, setup=_SETUP, files=_FILES), python)


def environment(folder: Path) -> Path:
    """A new virtual environment, as ``build`` and uv make them; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (folder / "include").mkdir(exist_ok=True)
    (folder / "include" / "theirs.h").write_text(_THEIRS, encoding="utf-8")
    return folder / "bin" / "python"


@cache
def _packages() -> Path:
    return Path(setuptools.__file__).parent.parent


class Shim:
    """A launcher that notes each command, and what it was told in the environment, and runs it.

    `text` is shell code that comes before that, `config` what ccache says of its configuration.
    """

    def __init__(
        self, folder: Path, name: str, text: str = "", config: str = "(default) hash_dir = true"
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.path = folder / name
        self._log = folder / f"{name}.log"
        self.path.write_text(
            f"#!/bin/sh\nconfig='{config}'\n"
            'if [ "$1" = --show-config ]; then echo "$config"; exit; fi\n'
            f'echo "nohashdir=$CCACHE_NOHASHDIR prefix=$CCACHE_PREFIX $*" >> {self._log}\n'
            f'{text}\nexec "$@"\n',
            encoding="utf-8",
        )
        self.path.chmod(0o755)

    def commands(self) -> list[str]:
        """The commands that compiled since the last time."""
        text = self._log.read_text(encoding="utf-8") if self._log.exists() else ""
        self._log.unlink(missing_ok=True)
        return [line for line in text.splitlines() if " -dM " not in line]


class Cache:
    """A cache of its own, in a folder of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.program = shutil.which(name) or ""
        folder.mkdir()
        self.env = {
            "CCACHE_DIR": str(folder),
            "CCACHE_CONFIGPATH": str(folder / "ccache.conf"),
            "SCCACHE_DIR": str(folder),
            "SCCACHE_CONF": str(folder / "none"),
            "SCCACHE_SERVER_UDS": str(folder / "socket"),
            "SCCACHE_IDLE_TIMEOUT": "120",
        }

    def counted(self) -> tuple[int, int]:
        """Hits and misses since the last time."""
        if self.name == "ccache":
            text = self._run("--print-stats")
            self._run("--zero-stats")
            hits = ("direct_cache_hit", "preprocessed_cache_hit")
            return sum(_number(text, rf"^{hit}\s+") for hit in hits), _number(
                text, r"^cache_miss\s+"
            )
        text = self._run("--show-stats")
        self._run("--zero-stats")
        return _number(text, r"^Cache hits  +"), _number(text, r"^Cache misses  +")

    def close(self) -> None:
        """End sccache's server."""
        if self.name == "sccache":
            self._run("--stop-server")

    def _run(self, option: str) -> str:
        done = subprocess.run(
            [self.program, option],
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=option != "--stop-server",  # there may be none
        )
        return done.stdout


def _number(text: str, pattern: str) -> int:
    found = re.search(rf"{pattern}(\d+)", text, re.MULTILINE)
    assert found, text
    return int(found[1])
