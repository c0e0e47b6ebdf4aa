"""C and C++ in one extension, linked by the C++ compiler, beside one in C alone."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension("mixed", ["mixed.c", "sum.cpp", "twice.cc"]),
        Extension("plain", ["plain.c"]),
    ],
)
