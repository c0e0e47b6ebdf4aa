"""Compiling one source writes anew a header that the next source of that extension includes."""

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
    def build_extensions(self):
        original = self.compiler._compile

        def compile_one(obj, src, *args):
            Path(f"{src}.began").touch()
            if src == "first.c":
                if is_there("number.c.began", 0.4):
                    is_there("number.c.done", 2)
                Path("generated.h").write_text("#define NUMBER 5\n")
            try:
                original(obj, src, *args)
            finally:
                Path(f"{src}.done").touch()

        self.compiler._compile = compile_one
        super().build_extensions()


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension("first", ["first.c", "number.c"])],
)
