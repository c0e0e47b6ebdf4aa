"""A `build_extension` that works out by itself where the compiler puts objects, and links those."""

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extension(self, ext):
        path = self.get_ext_fullpath(ext.name)
        self.mkpath(os.path.dirname(path))
        self.compiler.compile(
            ext.sources, output_dir=self.build_temp, macros=ext.define_macros, include_dirs=["."]
        )
        objects = self.compiler.object_filenames(ext.sources, output_dir=self.build_temp)
        self.compiler.link_shared_object(objects, path)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension(name, [f"{name}.c", "number.c"], define_macros=[("NUMBER", str(number))])
        for number, name in enumerate(("red", "green", "blue"), 1)
    ],
)
