"""Two C libraries compile one source with different macros to one object path, one after the other."""

from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib


class BuildClib(build_clib):
    def build_libraries(self, libraries):
        # setuptools skips a library's sources where their objects are there and new enough.
        for library in libraries:
            objects = self.compiler.compile(
                library[1]["sources"],
                output_dir=self.build_temp,
                macros=library[1]["macros"],
            )
            self.compiler.create_static_lib(objects, library[0], output_dir=self.build_clib)


setup(
    cmdclass={"build_clib": BuildClib},
    libraries=[
        ("little", {"sources": ["size.c"], "macros": [("SIZE", "1"), ("NAME", "little")]}),
        ("big", {"sources": ["size.c"], "macros": [("SIZE", "100"), ("NAME", "big")]}),
    ],
    ext_modules=[Extension("small", ["small.c"]), Extension("large", ["large.c"])],
)
