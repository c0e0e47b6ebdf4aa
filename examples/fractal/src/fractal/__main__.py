"""Draw a fractal in the terminal, or into a file."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from fractal.picture import VIEWS, View, draw


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(prog="fractal", description=__doc__)
    parser.add_argument("formula", nargs="*", help=f"any of: {', '.join(VIEWS)} (default: all)")
    parser.add_argument("-o", "--output", type=Path, help="a .png or .ppm file instead")
    parser.add_argument("-s", "--size", metavar="WxH", help="pixels; a line holds two rows of them")
    parser.add_argument("-z", "--zoom", type=float, default=1.0, help="look closer (default: 1)")
    options = parser.parse_args()
    formulas = options.formula or list(VIEWS)
    for formula in formulas:
        if formula not in VIEWS:
            parser.error(f"no formula {formula!r}; there are {', '.join(VIEWS)}")
    if options.output and (options.output.suffix not in {".png", ".ppm"} or len(formulas) != 1):
        parser.error("--output takes one formula and a name that ends in .png or .ppm")
    width, height = _size(options.size, bool(options.output), parser)
    for formula in formulas:
        place = VIEWS[formula]
        view = View(place.x, place.y, place.span / options.zoom)
        picture = draw(formula, width, height, view)
        if options.output:
            kind = picture.png if options.output.suffix == ".png" else picture.ppm
            options.output.write_bytes(kind())
        else:
            print(f"{formula.replace('_', ' ')}  {view.x:+.4f} {view.y:+.4f}i")
            print(picture.ansi() if _has_colour() else picture.text())


def _size(text: str | None, to_file: bool, parser: argparse.ArgumentParser) -> tuple[int, int]:
    if text:
        width, _, height = text.partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            parser.error(f"--size takes two numbers such as 160x90, not {text!r}")
        return int(width), int(height)
    if to_file:
        return 1200, 750
    columns = shutil.get_terminal_size().columns
    return columns, columns * 5 // 8 // 2 * 2


def _has_colour() -> bool:
    return bool(os.environ.get("FORCE_COLOR")) or (
        sys.stdout.isatty() and "NO_COLOR" not in os.environ
    )


if __name__ == "__main__":
    main()
