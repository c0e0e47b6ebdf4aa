"""A compiler class that has a whole compile() of its own: setuptools' for MSVC, whose programs are
played here by scripts around the real compiler."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from harness import build_wheel, copy_package, serial_wheel, wheel_bytes_equal

JOBS = 4  # as many as the sample has extensions
REAL = (sysconfig.get_config_var("CC") or "cc").split()[0]

# What distutils asks of cl.exe, in gcc's words.
CL = """\
#!/bin/sh
for word do
    shift
    case $word in
        /Tc*) source=${word#/Tc}; set -- "$@" "$source" ;;
        /Fo*) set -- "$@" -o "${word#/Fo}" ;;
        /c) set -- "$@" -c ;;
        -[DIU]*) set -- "$@" "$word" ;;
    esac
done
REAL -O0 -fPIC "$@" || exit
echo "$source" >>LOG
"""

LINK = """\
#!/bin/sh
for word do
    shift
    case $word in
        *.obj) set -- "$@" "$word" ;;
        /OUT:*) set -- "$@" -o "${word#/OUT:}" ;;
    esac
done
exec REAL -shared "$@"
"""

# On Windows the compiler initializes itself, when it compiles the first time.
AS_ON_WINDOWS = """
import sys
from distutils._msvccompiler import MSVCCompiler

sys.modules[MSVCCompiler.__module__].get_platform = lambda: "win-amd64"
setup(
"""

# A project that initializes it before any extension is built.
INITIALIZED = """
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extensions(self):
        self.compiler.initialize("win-amd64")
        {more}
        super().build_extensions()


setup(
    cmdclass={"build_ext": BuildExt},
"""

# And that has replaced a method of it for a while.
PUT_BACK = INITIALIZED.replace(
    "{more}",
    """original = self.compiler.compile
        self.compiler.compile = lambda *args, **options: original(*args, **options)
        self.compiler.compile = original""",
)


def write_tools(folder: Path) -> tuple[dict[str, str], Path]:
    """The programs of MSVC in `folder`; an environment that has them, and the sources compiled."""
    folder.mkdir()
    log = folder / "log"
    for name, text in {"cl.exe": CL, "link.exe": LINK}.items():
        (folder / name).write_text(text.replace("REAL", REAL).replace("LOG", f"'{log}'"))
        (folder / name).chmod(0o755)
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    return {"PATH": path, "DISTUTILS_USE_SDK": "1"}, log


def a_project(tmp_path: Path, code: str) -> Path:
    folder = copy_package("shared_source", tmp_path)
    setup = folder / "setup.py"
    text = setup.read_text()
    assert "setup(\n" in text
    setup.write_text(text.replace("setup(\n", code))
    (folder / "setup.cfg").write_text("[build_ext]\ncompiler = msvc\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("code", [AS_ON_WINDOWS, PUT_BACK], ids=["", "put-back"])
def test_extensions_that_share_a_source_get_the_serial_wheel(code: str, tmp_path: Path) -> None:
    folder = a_project(tmp_path, code)
    plain, _ = write_tools(tmp_path / "plain-tools")
    expected = serial_wheel(folder, env=plain)
    env, _ = write_tools(tmp_path / "tools")
    wheel = build_wheel(folder, jobs=JOBS, env=env)
    assert wheel_bytes_equal(wheel, expected)


@pytest.mark.parametrize(
    "code",
    [AS_ON_WINDOWS, INITIALIZED.replace("{more}", ""), PUT_BACK],
    ids=["", "project", "put-back"],
)
def test_the_compiler_is_as_it_was_when_an_extension_is_built(code: str, tmp_path: Path) -> None:
    folder = a_project(tmp_path, code)
    env, log = write_tools(tmp_path / "tools")
    build_wheel(folder, jobs=2, env=env)
    # Each is compiled once: nothing was built again for what building has left behind.
    names = ["common.c"] * JOBS + [f"{name}.c" for name in ("east", "north", "south", "west")]
    assert sorted(log.read_text().split()) == names
