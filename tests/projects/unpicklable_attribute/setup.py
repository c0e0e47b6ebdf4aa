"""Building an extension puts on it what can be sent to another process, and what cannot."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extension(self, ext):
        ext.built_by = lambda: self
        super().build_extension(ext)
        ext.done = True

    def run(self):
        super().run()
        assert all(ext.done for ext in self.extensions)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second")],
)
