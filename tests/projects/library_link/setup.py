"""A setuptools `Library` that two extensions of its package link."""

import os
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.extension import Library


class BuildExt(build_ext):
    def get_libraries(self, ext):
        # setuptools puts the interpreter's tag into a Library's file name, but not into `-l`.
        tag = os.path.splitext(sysconfig.get_config_var("EXT_SUFFIX"))[0]
        return [f"{name}{tag}" for name in super().get_libraries(ext)]


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Library("shapes.rectangle", ["area_of.c", "edge_of.c"]),
        Extension("shapes.area", ["area.c"], libraries=["rectangle"]),
        Extension("shapes.edge", ["edge.c"], libraries=["rectangle"]),
    ],
)
