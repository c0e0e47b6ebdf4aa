"""Each extension writes a header of its own right before it compiles the one source that includes it."""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NAMES = ("first", "second", "third")


class BuildExt(build_ext):
    def build_extension(self, ext):
        number = 1 + NAMES.index(ext.name)
        Path(f"{ext.name}_config.h").write_text(f"#define NUMBER {number}\n")
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in NAMES],
)
