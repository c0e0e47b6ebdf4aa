"""A `build_ext` that numbers its extensions by an `itertools.count`, which tells its state in no attribute."""

import itertools

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

numbers = itertools.count(1)


class BuildExt(build_ext):
    def build_extension(self, ext):
        ext.define_macros.append(("NUMBER", str(next(numbers))))
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second", "third")],
)
