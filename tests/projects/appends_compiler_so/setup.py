"""Each extension appends a flag to the compiler's command; the ones after it are built with it too."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extension(self, ext):
        self.compiler.compiler_so.append(f"-DSTEP_{ext.name.upper()}")
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, ["steps.c", f"{name}.c"]) for name in ("first", "second", "third")],
)
