"""Objects that the project compiles by itself, one while `setup.py` runs and one in `build_ext.run`."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

from distutils.ccompiler import new_compiler
from distutils.sysconfig import customize_compiler


def compiled(number):
    compiler = new_compiler()
    customize_compiler(compiler)
    return compiler.compile(
        ["number.c"], output_dir=f"build/number-{number}", macros=[("NUMBER", str(number))]
    )


class BuildExt(build_ext):
    def run(self):
        self.distribution.ext_modules[1].extra_objects = compiled(6)
        super().run()


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension("early", ["early.c"], extra_objects=compiled(5)),
        Extension("late", ["late.c"]),
    ],
)
