"""Cython's own `build_ext` translates each extension's source as it builds it."""

from Cython.Distutils import build_ext
from setuptools import Extension, setup

setup(
    cmdclass={"build_ext": build_ext},
    ext_modules=[Extension(name, [f"{name}.pyx"]) for name in ("doubled", "tripled")],
)
