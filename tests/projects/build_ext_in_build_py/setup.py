"""`build_py` makes a `build_ext` of its own and runs it, before it is the turn of the build's."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

extensions = [
    Extension(name, ["number.c", f"{name}.c"], define_macros=[("NUMBER", str(number))])
    for number, name in enumerate(("first", "second", "third"), 1)
]


class BuildPy(build_py):
    def run(self):
        command = build_ext(self.distribution)
        command.ensure_finalized()
        command.run()
        super().run()


setup(cmdclass={"build_py": BuildPy}, ext_modules=extensions)
