"""Building an extension changes the options of all that come after it."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extension(self, ext):
        for other in self.extensions:
            if other is not ext:
                other.undef_macros.append(f"NOT_{ext.name}")
        ext.define_macros.append(("NUMBER", str(1 + len(ext.undef_macros))))
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second", "third")],
)
