"""Each extension compiles one source to its own macros, and an archiver of its own takes the object
from where setuptools puts it, by a name that the project makes up."""

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extension(self, ext):
        number = 1 if ext.name == "first" else 2
        macros = [("NUMBER", str(number))]
        self.compiler.compile(["number.c"], output_dir=self.build_temp, macros=macros)
        library = os.path.join(self.build_temp, f"libnumber_{ext.name}.a")
        self.spawn(["ar", "crs", library, os.path.join(self.build_temp, "number.o")])
        ext.extra_objects = [library]
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second")],
)
