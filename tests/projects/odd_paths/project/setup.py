"""Sources beside the project's folder, by absolute path, and with spaces and other letters in their names."""

from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).parent.absolute()

setup(
    ext_modules=[
        Extension(
            "odd",
            [
                "odd.c",
                "../beside/beside.c",
                str(HERE / "absolute.c"),
                "a folder/two words.c",
                "a folder/smørbrød.c",
            ],
        ),
        Extension("plain", ["plain.c", "sub/../sub/../../beside/beside.c"]),
    ],
)
