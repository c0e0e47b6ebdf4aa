"""Four extensions compile one source, each with its own macros, to one object path."""

from setuptools import Extension, setup

NAMES = ["north", "east", "south", "west"]

setup(
    ext_modules=[
        Extension(
            name,
            ["common.c", f"{name}.c"],
            define_macros=[("COMMON_VALUE", str(number)), ("COMMON_NAME", f'"{name}"')],
            depends=["common.h"],
        )
        for number, name in enumerate(NAMES)
    ],
)
