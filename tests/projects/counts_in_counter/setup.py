"""A `build_ext` that counts its extensions in a `Counter`, an attribute of the command."""

from collections import Counter

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def finalize_options(self):
        super().finalize_options()
        self.built = Counter()

    def build_extension(self, ext):
        self.built["extensions"] += 1
        ext.define_macros.append(("NUMBER", str(self.built["extensions"])))
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second", "third")],
)
