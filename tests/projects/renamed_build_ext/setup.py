"""A `build_ext` under another class name, with options in `setup.cfg`.

Its editable build loses every `[build_ext]` option in setuptools, which looks them up by the class.
"""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class CompileModules(build_ext):
    pass


setup(
    cmdclass={"build_ext": CompileModules},
    ext_modules=[Extension("one", ["one.c"]), Extension("two", ["two.c"])],
)
