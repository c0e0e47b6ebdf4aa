"""Each extension wraps the compiler's `_compile` once more and never takes the wrapper away."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extension(self, ext):
        original = self.compiler._compile

        def compile_one(obj, src, suffix, cc_args, extra_postargs, pp_opts):
            original(obj, src, suffix, [f"-DSTEP_{ext.name.upper()}", *cc_args], extra_postargs, pp_opts)

        self.compiler._compile = compile_one
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, ["steps.c", f"{name}.c"]) for name in ("first", "second", "third")],
)
