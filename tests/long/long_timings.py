"""Pages of timings of real builds, as a real browser shows them.

    python tests/long/long_timings.py                # brotli, Cython, and a build of 5,000 units
    python tests/long/long_timings.py --short        # brotli not optimized, and the 5,000 units

Each page is opened by a headless Chromium. Its table must hold what the trace holds, its picture
as much of each color as the trace holds time. Needs a package index and `chromium`. Exit status 1
where something differs, which is told.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from harness import REPOSITORY, SOURCE
from projects import make_project
from timings_harness import BROWSER, Page, colors_of_rows, embedded, opened, slices

sys.path.insert(0, str(REPOSITORY))

from bench.sources import fetch

__all__ = ["main"]

_PACKAGES = ["brotli==1.2.1", "cython==3.0.9"]
_SOURCES = 4998  # with the recorder and the link, 5,000 units
_SETUP = """
from setuptools import Extension, setup
sources = [f"source_{{i:04}}.c" for i in range({sources})]
setup(ext_modules=[Extension("many", sources)])
"""
# It makes what it is told to in a moment, of nothing.
_COMPILER = """#!/bin/sh
case " $* " in *" -o "*) ;; *) exec cc "$@";; esac
while [ $# -gt 0 ]; do
    case "$1" in -o) made=$2;; -MF) rule=$2;; *.c) source=$1;; esac
    shift
done
echo made > "$made"
if [ -n "$rule" ]; then echo "$made: $source" > "$rule"; fi
"""
# Of the picture, in pixels: where the slots begin, how high each is, and their colors.
_GUTTER, _AXIS, _TALL = 64, 24, 26
_COLORS = {"compile": "2b6cb0", "translation": "0f766e"}
_FAR = 48  # between two colors, where one is a mixture at the edge of a block
# Of a row: what the gaps between blocks and their edges may cost.
_NEAR = 0.04
_SHOW_ALL = """
document.getElementById("kind").value = "";
document.getElementById("kind").dispatchEvent(new Event("input"));
document.getElementById("kind").dispatchEvent(new Event("change"));
document.getElementById("more").click();
"""


def main() -> int:
    """What the arguments ask for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("packages", nargs="*", default=_PACKAGES, metavar="NAME==VERSION")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--cache", type=Path, help="a folder that keeps what was downloaded")
    asked = parser.parse_args()
    if BROWSER is None:
        print("there is no chromium that runs", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="long-timings-") as folder:
        wrong = [*_differences(Path(folder), asked)]
    print("\n".join([*wrong, f"{len(wrong)} differences"]))
    return int(bool(wrong))


def _differences(top: Path, asked: argparse.Namespace) -> Iterator[str]:
    packages = asked.packages[:1] if asked.short else asked.packages
    flags = {"CFLAGS": "-O0", "CXXFLAGS": "-O0"} if asked.short else {}
    cache, python = asked.cache or top / "cache", Path(sys.executable)
    trees = [
        fetch(pin, cache=cache, python=python, environment=os.environ).tree for pin in packages
    ]
    builds = [(shutil.copytree(tree, top / tree.name), flags) for tree in trees]
    builds.append((_many(top / "many"), {"CC": _compiler(top / "quick-cc")}))
    for tree, variables in builds:
        began = time.monotonic()
        file = _timed(tree, top / f"{tree.name}-out", variables)
        built = time.monotonic()
        faults = [*_faults(file)]
        shown = time.monotonic()
        units = len(embedded(file)["units"])
        took = f"built in {built - began:.1f} s, shown in {shown - built:.1f} s"
        print(f"{tree.name}: {units} units, {took}, {len(faults)} faults", flush=True)
        yield from (f"{tree.name}: {fault}" for fault in faults)


def _timed(tree: Path, out: Path, variables: Mapping[str, str]) -> Path:
    """Build a tree; its page."""
    words = ["build", str(tree), "-q", "-j", "2", "-o", str(out), "--timings", str(out)]
    environment = {**os.environ, **variables, "PYTHONPATH": str(SOURCE)}
    subprocess.run([sys.executable, "-m", "parallel_backend", *words], env=environment, check=True)
    return out / "timings.html"


def _faults(file: Path) -> Iterator[str]:
    """What the browser's page does not show as it is."""
    happened = slices(file.with_suffix(".json"))
    shown = Page(opened(file, do=_SHOW_ALL))
    titles, *rows = shown.tables["units"]
    name, kind, took = titles.index("Unit"), titles.index("Kind"), titles.index("Time, s")
    for wanted in ("compile", "link", "translation", "recorder"):
        told = sorted(
            (each["name"], each["dur"] / 1e6) for each in happened if _kind(each) == wanted
        )
        seen = sorted((row[name], float(row[took])) for row in rows if row[kind] == wanted)
        if [unit for unit, _ in seen] != [unit for unit, _ in told]:
            yield f"the table has {len(seen)} units of {wanted}, the trace {len(told)}"
        # The table tells hundredths of a second.
        elif any(abs(one - other) > 0.011 for (_, one), (_, other) in zip(told, seen, strict=True)):
            yield f"the table has other times of {wanted} than the trace"
    length = max(each["ts"] + each["dur"] for each in happened)
    picture = colors_of_rows(file)
    width = sum(picture[0].values()) - _GUTTER
    for slot in (1, 2):
        pixels = picture[_AXIS + (slot - 1) * _TALL + 1]
        for wanted, color in _COLORS.items():
            work = [each for each in happened if each["tid"] == slot and _kind(each) == wanted]
            drawn = sum(n for other, n in pixels.items() if _distance(color, other) < _FAR) / width
            share = sum(each["dur"] for each in work) / length
            # A block is a pixel wide at least.
            if not share - _NEAR < drawn < max(share, len(work) / width) + _NEAR:
                yield f"slot {slot} shows {drawn:.3f} of {wanted}, the trace has {share:.3f}"


def _kind(slice_: Mapping[str, Any]) -> str:
    return "compile" if slice_["cat"] == "cache hit" else str(slice_["cat"])


def _distance(one: str, other: str) -> int:
    pairs = zip(bytes.fromhex(one), bytes.fromhex(other), strict=True)
    return sum(abs(a - b) for a, b in pairs)


def _many(folder: Path) -> Path:
    sources = {f"source_{i:04}.c": f"int number_{i};\n" for i in range(_SOURCES)}
    return make_project(folder, name="many", setup=_SETUP.format(sources=_SOURCES), files=sources)


def _compiler(path: Path) -> str:
    path.write_text(_COMPILER)
    path.chmod(0o755)
    return str(path)


if __name__ == "__main__":
    raise SystemExit(main())
