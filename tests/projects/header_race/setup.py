"""Each extension writes the one `config.h`, then compiles with it: well defined, one after the other."""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NAMES = ["first", "second", "third"]


class BuildExt(build_ext):
    def build_extension(self, ext):
        Path("config.h").write_text(f"#define NUMBER {NAMES.index(ext.name) + 1}\n")
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, ["number.c", f"{name}.c"]) for name in NAMES],
)
