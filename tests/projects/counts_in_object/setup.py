"""A `build_ext` that counts its extensions in an attribute of an object, which is a global."""

from types import SimpleNamespace

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

state = SimpleNamespace(built=0)


class BuildExt(build_ext):
    def build_extension(self, ext):
        state.built += 1
        ext.define_macros.append(("NUMBER", str(state.built)))
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second", "third")],
)
