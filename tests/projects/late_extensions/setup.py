"""A `build_ext` that finds its extensions only when it is made: the project seems to have none."""

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py


class BuildExt(build_ext):
    def finalize_options(self):
        self.distribution.ext_modules = [
            Extension(name, ["number.c", f"{name}.c"], define_macros=[("NUMBER", str(number))])
            for number, name in enumerate(("first", "second", "third"), 1)
        ]
        super().finalize_options()


class BuildPy(build_py):
    def run(self):
        self.run_command("build_ext")
        super().run()


class BdistWheel(bdist_wheel):
    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False


setup(cmdclass={"build_ext": BuildExt, "build_py": BuildPy, "bdist_wheel": BdistWheel})
