"""`cythonize()` translates everything while `setup.py` runs, before any command does."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    ext_modules=cythonize(
        [Extension(name, [f"{name}.pyx"]) for name in ("doubled", "tripled")], language_level=3
    ),
)
