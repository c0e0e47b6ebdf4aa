"""An exception of setup.py's own class, raised in `build_extension` and caught around `setup()`."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildFailed(Exception):
    pass


class BuildExt(build_ext):
    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except Exception as error:
            raise BuildFailed from error


def run(names):
    setup(
        cmdclass={"build_ext": BuildExt},
        ext_modules=[Extension(name, [f"{name}.c"]) for name in names],
    )


try:
    run(["first", "broken"])
except BuildFailed:
    print("without extensions")
    run([])
