"""A `build_ext` that counts its extensions in a class attribute and in a global, and compiles the counts in."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

built = 0


class BuildExt(build_ext):
    started = 0

    def build_extension(self, ext):
        global built
        built += 1
        BuildExt.started += 1
        ext.define_macros += [("BUILT", str(built)), ("STARTED", str(BuildExt.started))]
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second", "third")],
)
