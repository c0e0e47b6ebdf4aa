"""Two extensions compile one source by one command; the first changes the object that it was given."""

import subprocess
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
        [number] = self.compiler.compile(["number.c"], output_dir=self.build_temp)
        Path(f"{ext.name}.compiled").touch()
        if ext.name == "first":
            if is_there("second.began", 0.4):
                is_there("second.compiled", 10)
            subprocess.check_call(["objcopy", "--redefine-sym", "number=renamed", number])
            Path("object.changed").touch()
        else:
            is_there("object.changed", 10)
        ext.extra_objects = [number]
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second")],
)
