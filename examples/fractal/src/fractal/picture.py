"""Pictures: where to look, drawn in strips on all cores, and what a picture can become."""

from __future__ import annotations

import importlib
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """The centre and the width of a part of the plane."""

    x: float
    y: float
    span: float


# The best known place of each formula; the names are those of the extension modules.
VIEWS = {
    "mandelbrot": View(-0.7436, 0.1318, 0.012),
    "julia": View(0.0, 0.0, 3.1),
    "burning_ship": View(-1.762, 0.028, 0.115),
    "tricorn": View(-0.25, 0.0, 5.4),
}


@dataclass(frozen=True)
class Picture:
    """Rows of red, green and blue bytes."""

    width: int
    height: int
    pixels: bytes

    def png(self) -> bytes:
        """The picture as a PNG file's contents."""
        stride = 3 * self.width
        rows = (self.pixels[at : at + stride] for at in range(0, len(self.pixels), stride))
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        body = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
        chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)

    def ppm(self) -> bytes:
        """The picture as a binary PPM file's contents."""
        return b"P6 %d %d 255\n" % (self.width, self.height) + self.pixels

    def ansi(self) -> str:
        """Lines for a terminal with 24-bit colour: an upper half block shows two pixels."""
        lines = []
        for row in range(0, self.height - 1, 2):
            pairs = (
                (self._at(column, row), self._at(column, row + 1)) for column in range(self.width)
            )
            cells = (f"\x1b[38;2;{upper}m\x1b[48;2;{lower}m▀" for upper, lower in pairs)
            lines.append("".join(cells) + "\x1b[0m")
        return "\n".join(lines)

    def text(self, ramp: str = " .:-=+*#%@") -> str:
        """Lines for where there is no colour: the brighter, the denser the letter."""
        lines = []
        for row in range(0, self.height - 1, 2):
            start = 3 * self.width * row
            rows = self.pixels[start : start + 6 * self.width]
            light = [sum(rows[3 * i : 3 * i + 3]) for i in range(2 * self.width)]
            pairs = zip(light[: self.width], light[self.width :], strict=True)
            lines.append("".join(ramp[(a + b) * len(ramp) // 1531] for a, b in pairs).rstrip())
        return "\n".join(lines)

    def _at(self, column: int, row: int) -> str:
        at = 3 * (self.width * row + column)
        return ";".join(map(str, self.pixels[at : at + 3]))


def draw(formula: str, width: int, height: int, view: View | None = None) -> Picture:
    """Draw `formula`, one of VIEWS; the extensions let go of the interpreter while they work."""
    view = view or VIEWS[formula]
    render = importlib.import_module(f"fractal.{formula}").render
    step = view.span / width
    top = view.y + step * height / 2
    strips = [(at, min(16, height - at)) for at in range(0, height, 16)]

    def strip(at: int, rows: int) -> bytes:
        middle = top - step * (at + rows / 2)
        pixels: bytes = render(width, rows, view.x, middle, view.span, samples=3)
        return pixels

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return Picture(width, height, b"".join(threads.map(lambda each: strip(*each), strips)))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
