"""Building `first` leaves a header before another one of its name, on `second`'s path of includes."""

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
                is_there("second.done", 10)
            Path("generated").mkdir(exist_ok=True)
            Path("generated/config.h").write_text("#define NUMBER 2\n")
        super().build_extension(ext)
        Path(f"{ext.name}.done").touch()


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension(name, [f"{name}.c"], include_dirs=["generated", "default"])
        for name in ("first", "second")
    ],
)
