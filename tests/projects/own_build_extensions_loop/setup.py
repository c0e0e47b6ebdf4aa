"""A `build_ext` that never calls setuptools' `build_extensions`: it has a loop of its own."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extensions(self):
        self.check_extensions_list(self.extensions)
        for number, ext in enumerate(self.extensions, 1):
            ext.define_macros.append(("NUMBER", str(10 * number)))
            self.build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension("one", ["one.c"]), Extension("two", ["two.c"])],
)
