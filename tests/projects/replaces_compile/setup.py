"""While an extension builds, the compiler's `_compile` is a closure that adds that extension's flag."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extension(self, ext):
        original = self.compiler._compile

        def compile_one(obj, src, suffix, cc_args, extra_postargs, pp_opts):
            flags = [*extra_postargs, f"-DNUMBER={ext.number}"] if src == "number.c" else extra_postargs
            original(obj, src, suffix, cc_args, flags, pp_opts)

        self.compiler._compile = compile_one
        try:
            super().build_extension(ext)
        finally:
            self.compiler._compile = original


def extension(number, name):
    made = Extension(name, ["number.c", f"{name}.c"])
    made.number = number
    return made


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[extension(n, name) for n, name in enumerate(("first", "second", "third"), 1)],
)
