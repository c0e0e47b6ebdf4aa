"""Assembler sources: as a suffix that the compiler is told to know, and compiled beside the extension."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extensions(self):
        self.compiler.src_extensions = [*self.compiler.src_extensions, ".S"]
        self.extensions[1].extra_objects = self.compiler.compile(
            ["number.S"], output_dir=self.build_temp, extra_postargs=["-DNUMBER=41"]
        )
        super().build_extensions()


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension("listed", ["listed.c", "sub/number.S"], define_macros=[("NUMBER", "40")]),
        Extension("added", ["added.c"]),
    ],
)
