"""Two C libraries; a source of theirs has one name, one more is shared with other macros."""

from setuptools import Extension, setup

setup(
    libraries=[
        ("metric", {"sources": ["metric/length.c"]}),
        ("imperial", {"sources": ["imperial/length.c", "imperial/inch.c"], "cflags": ["-DYARD=3"]}),
    ],
    ext_modules=[
        Extension("metric", ["metric.c"]),
        Extension("imperial", ["imperial.c"]),
        Extension("both", ["both.c"]),
    ],
)
