"""One extension a formula. All of them compile the same four sources, each with its own macros."""

from setuptools import Extension, setup

SHARED = ["c/image.c", "c/module.c", "c/palette.c"]

# The phases of red, green and blue along each formula's palette, in turns.
PALETTES = {
    "mandelbrot": "0.60, 0.50, 0.37",
    "julia": "0.30, 0.45, 0.57",
    "burning_ship": "0.47, 0.57, 0.72",
    "tricorn": "0.22, 0.28, 0.40",
}

setup(
    ext_modules=[
        Extension(
            f"fractal.{name}",
            [*SHARED, f"c/{name}.c"],
            depends=["c/fractal.h"],
            define_macros=[("FORMULA", name), ("PALETTE_PHASES", phases)],
        )
        for name, phases in PALETTES.items()
    ],
)
