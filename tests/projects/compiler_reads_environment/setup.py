"""The compiler is a script that reads the environment, which each extension sets and puts back."""

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

os.environ["CC"] = os.path.abspath("cc.sh")


class BuildExt(build_ext):
    def build_extension(self, ext):
        os.environ["WRAPPER_FLAGS"] = "-DNUMBER=1" if ext.name == "first" else "-DNUMBER=2"
        try:
            super().build_extension(ext)
        finally:
            del os.environ["WRAPPER_FLAGS"]


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c", "number.c"]) for name in ("first", "second")],
)
