"""What the tests of byte-compilation share: trees, and interpreters that misbehave."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from harness import SOURCE

__all__ = [
    "SECONDS",
    "clean_variables",
    "compileall",
    "misbehaving",
    "run_command",
    "standard_tree",
    "write_tree",
    "written",
]

SECONDS = 120  # a test that hangs fails

# Runs the worker, but names of sources tell how to compile them.
_MISBEHAVING = """
import builtins, os, signal, sys, time
at = next(i for i, word in enumerate(sys.argv) if word.endswith("worker.py"))
sys.argv = sys.argv[at:]
folder = {folder!r}
real = compile

def fake(text, name, *rest, **more):
    word = os.path.basename(os.fsdecode(name)).partition("_")[0]
    if word == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "exits":
        sys.stderr.write("last words\\n")
        os._exit(3)
    elif word == "hangs":
        open(os.path.join(folder, "hangs"), "w").close()
        time.sleep(1000)
    elif word == "writes":
        print("noise on stdout", flush=True)
        sys.stderr.write("noise on stderr\\n" * 10_000)
    elif word == "sleeps":
        time.sleep(0.05)
    return real(text, name, *rest, **more)

builtins.compile = fake
print("a broken sitecustomize", flush=True)
{more}
path = sys.argv[0]
with open(path, "rb") as file:
    code = real(file.read(), path, "exec")
exec(code, {{"__name__": "__main__", "__file__": path}})
"""


def write_tree(folder: Path, *names: str, text: str = "answer = 42\n") -> Path:
    """`folder`, with a source for each name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def standard_tree(folder: Path, *packages: str) -> Path:
    """`folder`, with copies of packages of the standard library."""
    library = Path(sysconfig.get_path("stdlib"))
    for package in packages:
        shutil.copytree(
            library / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def clean_variables(**more: str) -> dict[str, str]:
    """The environment without what changes how files are compiled."""
    names = ("SOURCE_DATE_EPOCH", "MAKEFLAGS", "PYTHONOPTIMIZE", "PYTHONPYCACHEPREFIX")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "PYTHONPATH": str(SOURCE), **more}


def compileall(
    *arguments: str,
    cwd: Path,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
) -> int:
    """The exit status of the standard library's compileall."""
    return subprocess.run(
        [python, "-m", "compileall", "-j1", "-qq", *arguments],
        cwd=cwd,
        env=clean_variables(**(env or {})),
        timeout=SECONDS,
        check=False,
    ).returncode


def run_command(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """``python -m parallel_backend bytecode`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "parallel_backend", "bytecode", *map(str, arguments)],
        cwd=cwd,
        env=clean_variables(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=SECONDS,
        check=False,
    )


def written(folder: Path) -> dict[bytes, tuple[int, bytes]]:
    """The mode and the bytes of every file that is no source, by its path in `folder`."""
    found = {}
    for place, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(place, name)
            if not name.endswith(b".py") and os.path.isfile(path):
                with open(path, "rb") as file:
                    mode = os.fstat(file.fileno()).st_mode
                    found[os.path.relpath(path, os.fsencode(folder))] = (mode, file.read())
    return found


def misbehaving(folder: Path, *, more: str = "") -> str:
    """An interpreter that is killed, exits, hangs or writes at sources that are called so.

    It prints, as a broken sitecustomize would. `more` is what it runs besides, when it starts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "misbehaving.py"
    script.write_text(_MISBEHAVING.format(folder=str(folder), more=more), encoding="utf-8")
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S -E "{script}" "$@"\n')
    program.chmod(0o755)
    return str(program)
