"""A build backend: ``setuptools.build_meta`` with pybind11's ``ParallelCompile`` installed in it.

What a ``setup.py`` gets that says ``ParallelCompile("BENCH_JOBS").install()`` before ``setup()``:
https://pybind11.readthedocs.io/en/stable/compiling.html
"""

from pybind11 import setup_helpers  # type: ignore[import-not-found,unused-ignore]
from setuptools.build_meta import *  # noqa: F403 - the hooks are those of setuptools
from setuptools.build_meta import __legacy__ as legacy  # noqa: F401

setup_helpers.ParallelCompile("BENCH_JOBS").install()
