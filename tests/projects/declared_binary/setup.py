"""A file that only `depends` names is in the object: the assembler reads it, and no include does."""

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
                is_there("second.compiled", 10)
            Path("number.bin").write_bytes(b"\x02")
            Path("number.changed").touch()
        super().build_extension(ext)
        if ext.name == "second":
            Path("second.compiled").touch()
            is_there("number.changed", 10)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension(name, [f"{name}.c"], depends=["number.bin"]) for name in ("first", "second")
    ],
)
