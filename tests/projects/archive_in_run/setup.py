"""A library that `build_ext.run` compiles and archives by itself, before any extension is built."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

from distutils.ccompiler import new_compiler
from distutils.sysconfig import customize_compiler


class BuildExt(build_ext):
    def run(self):
        compiler = new_compiler()
        customize_compiler(compiler)
        objects = compiler.compile(["number.c"], output_dir="build/number")
        compiler.create_static_lib(objects, "number", output_dir="build/number")
        super().run()


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension(name, [f"{name}.c"], libraries=["number"], library_dirs=["build/number"])
        for name in ("first", "second")
    ],
)
