"""Sources of one name in several folders, in one extension and in another."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension("together", ["together.c", "x.c", "a/x.c", "b/x.c"], include_dirs=["."]),
        Extension("apart", ["apart.c", "b/x.c"], include_dirs=["."]),
    ],
)
