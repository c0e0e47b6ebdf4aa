"""A `build_ext` that prepares every extension in `build_extensions`, then lets setuptools build them."""

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extensions(self):
        for number, ext in enumerate(self.extensions, 1):
            ext.define_macros.append(("NUMBER", str(10 * number)))
        super().build_extensions()
        # Whoever returns from super() may rely on what was built.
        for ext in self.extensions:
            self.announce(f"{ext.name}: {os.path.getsize(self.get_ext_fullpath(ext.name))} bytes")


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension("one", ["one.c"]), Extension("two", ["two.c"])],
)
