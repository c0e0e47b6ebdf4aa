"""SWIG interfaces: `build_ext` writes the C source that it then compiles."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension("_square", ["square.i", "square.c"]),
        Extension("_cube", ["cube.i", "cube.c"]),
    ],
)
