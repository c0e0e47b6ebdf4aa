"""An extension that may fail does; the wheel holds the others."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension("before", ["before.c"]),
        Extension("broken", ["broken.c", "whole.c"], optional=True),
        Extension("after", ["after.c"]),
    ],
)
