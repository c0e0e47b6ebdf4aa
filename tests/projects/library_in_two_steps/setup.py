"""`create_static_lib` twice on one library: `ar` adds what it is given to what is there."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extension(self, ext):
        library = f"numbers_{ext.name}"
        for source in ("one.c", "two.c"):
            objects = self.compiler.compile([source], output_dir=self.build_temp)
            self.compiler.create_static_lib(objects, library, output_dir=self.build_temp)
        ext.library_dirs = [self.build_temp]
        ext.libraries = [library]
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second")],
)
