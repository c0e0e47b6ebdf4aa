"""One source stands twice in an extension's list: one command, one object, linked twice."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("twice", ["count.c", "twice.c", "count.c"])])
