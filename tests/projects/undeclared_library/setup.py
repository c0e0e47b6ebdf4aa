"""Building `first` makes a library anew that `second` links by -l, and nothing says so."""

import time
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


def is_there(path, seconds):
    """Whether `path` appears. The first wait is short: a serial build never comes so far."""
    until = time.monotonic() + seconds
    while not Path(path).exists() and time.monotonic() < until:
        time.sleep(0.01)
    return Path(path).exists()


class BuildExt(build_ext):
    def build_extension(self, ext):
        Path(f"{ext.name}.began").touch()
        if ext.name == "first":
            if is_there("second.began", 0.4):
                is_there("second.done", 2)
            objects = self.compiler.compile(["number.c"], output_dir=self.build_temp)
            self.compiler.create_static_lib(objects, "number", output_dir="libraries")
        try:
            super().build_extension(ext)
        finally:
            Path(f"{ext.name}.done").touch()


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension("first", ["first.c"]),
        Extension("second", ["second.c"], libraries=["number"], library_dirs=["libraries"]),
    ],
)
