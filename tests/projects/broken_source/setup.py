"""One extension of ten sources, one of which does not compile."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("parts", ["parts.c", *(f"part_{n}.c" for n in range(1, 10))])])
