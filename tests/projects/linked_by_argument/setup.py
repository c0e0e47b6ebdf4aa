"""Building `first` makes an object anew that `second` names in its linker's arguments alone."""

import os
import time
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

from distutils.ccompiler import new_compiler
from distutils.sysconfig import customize_compiler


def is_there(path, seconds):
    """Whether `path` appears. The first wait is short: a serial build never comes so far."""
    until = time.monotonic() + seconds
    while not Path(path).exists() and time.monotonic() < until:
        time.sleep(0.01)
    return Path(path).exists()


def make_number(number):
    compiler = new_compiler()
    customize_compiler(compiler)
    folder = f"build/number-{number}"
    [made] = compiler.compile(["number.c"], folder, macros=[("NUMBER", str(number))])
    os.replace(made, "number.o")


class BuildExt(build_ext):
    def build_extension(self, ext):
        Path(f"{ext.name}.began").touch()
        if ext.name == "first":
            if is_there("second.began", 0.4):
                is_there("second.done", 2)
            make_number(2)
        try:
            super().build_extension(ext)
        finally:
            Path(f"{ext.name}.done").touch()


make_number(1)
setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension("first", ["first.c"]),
        Extension("second", ["second.c"], extra_link_args=["number.o"]),
    ],
)
