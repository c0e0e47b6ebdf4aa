"""Sources that end in `.m`. They hold plain C and are compiled as such: few machines have Objective-C."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extensions(self):
        # Before the source's name on the command line: `-x` counts for what comes after it.
        self.compiler.compiler_so = [*self.compiler.compiler_so, "-xc"]
        super().build_extensions()


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.m"]) for name in ("message", "reply")],
)
