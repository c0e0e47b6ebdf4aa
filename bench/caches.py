"""Count what ccache and sccache find in second builds, by real frontends, of real packages.

    python -m bench.caches multidict==7.2.1 librt==0.16.0 greenlet==3.5.6

Each package is built once to fill an empty cache, then again: E in a new isolated environment, S
from a copy of its tree in another folder, in the same environment, and E+S both. A frontend makes a
new environment for each build; S is built without isolation. The backend is this repository's,
carried in the tree (PEP 517's ``backend-path``).

Exit status 1 if anything was missed, or if a wheel is not that of the first build.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.builds import clean_environment
from bench.environments import make_environment
from bench.sources import Source, fetch

__all__ = ["main"]

_BACKEND = Path(__file__).resolve().parent.parent / "src" / "parallel_backend"
_COLUMNS = ("package", "cache", "frontend", "build", "hits", "misses", "wheel")
_PORT = "14226"


@dataclass(frozen=True)
class _Cache:
    """A cache in a folder of its own."""

    name: str
    folder: Path

    def environment(self) -> dict[str, str]:
        """What tells both caches, and the backend, of it."""
        folder = str(self.folder)
        return clean_environment(
            PARALLEL_BACKEND_LAUNCHER=self.name,
            CCACHE_DIR=folder,
            SCCACHE_DIR=folder,
            SCCACHE_SERVER_PORT=_PORT,
        )

    def count(self) -> tuple[int, int]:
        """Hits and misses since it was last asked."""
        is_ccache = self.name == "ccache"
        text = self.run("--print-stats" if is_ccache else "--show-stats")
        self.run("--zero-stats")
        if is_ccache:
            return _sum(r"^(?:direct|preprocessed)_cache_hit\s", text), _sum(r"^cache_miss\s", text)
        return _sum(r"^Cache hits  ", text), _sum(r"^Cache misses  ", text)

    def run(self, option: str) -> str:
        """What it says."""
        done = subprocess.run(
            [self.name, option],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        return done.stdout


def _sum(pattern: str, text: str) -> int:
    return sum(map(int, re.findall(rf"{pattern}\s*(\d+)", text, re.MULTILINE)))


def _tree(source: Source, folder: Path) -> Path:
    """A fresh copy of a source tree, which is built by the backend that it carries."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source.tree, folder, symlinks=True)
    carried = folder / "carried-backend" / "parallel_backend"
    shutil.copytree(_BACKEND, carried, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "pyproject.toml"
    text = re.sub(r"(?m)^\s*(build-backend|backend-path)\s*=.*\n", "", path.read_text("utf-8"))
    ours = 'build-backend = "parallel_backend"\nbackend-path = ["carried-backend"]'
    text = re.sub(r"(?m)^\[build-system\].*$", f"[build-system]\n{ours}", text, count=1)
    path.write_text(text, "utf-8")
    return folder


Frontend = Callable[[Path, Path], Sequence[str | Path]]
_PYTHON = Path(sys.executable)
_FRONTENDS: dict[str, Frontend] = {
    "pip": lambda tree, out: [_PYTHON, "-m", "pip", "wheel", "--no-deps", "-w", out, tree],
    "build": lambda tree, out: [_PYTHON, "-m", "build", "--wheel", "--outdir", out, tree],
    "uv": lambda tree, out: ["uv", "build", "--python", _PYTHON, "--wheel", "-o", out, tree],
}


def _rows(source: Source, cache: _Cache, work: Path) -> Iterator[tuple[str, ...]]:
    """A row for each second build."""
    requires = ("build", *source.requires)
    shared = str(make_environment(work.parent, python=_PYTHON, requires=requires).python)

    def without_isolation(tree: Path, out: Path) -> Sequence[str | Path]:
        return [shared, "-m", "build", "--no-isolation", "-x", "--wheel", "--outdir", out, tree]

    here, there = work / "here" / "tree", work / "another place" / "of" / "tree"
    for name, frontend, builds in (
        *((name, frontend, {"E": here, "E+S": there}) for name, frontend in _FRONTENDS.items()),
        ("build --no-isolation", without_isolation, {"S": there}),
    ):
        cache.run("--stop-server")
        shutil.rmtree(work, ignore_errors=True)
        cache.folder.mkdir(parents=True)
        first = _build(source, here, frontend, cache)
        hits, misses = cache.count()
        yield source.name, cache.name, name, "first", str(hits), str(misses), first[:12]
        for build, folder in builds.items():
            wheel = _build(source, folder, frontend, cache)
            hits, misses = cache.count()
            same = "same" if wheel == first else "DIFFERS"
            yield source.name, cache.name, name, build, str(hits), str(misses), same
    cache.run("--stop-server")


def _build(source: Source, folder: Path, frontend: Frontend, cache: _Cache) -> str:
    """Build a wheel in a fresh tree; its hash. Raises CalledProcessError."""
    tree, out = _tree(source, folder), folder.with_name("wheel")
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run(
        frontend(tree, out),
        env=cache.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        done.check_returncode()
    (wheel,) = out.glob("*.whl")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def main() -> int:
    """Build, and print a table; the exit status."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Needs build, pip and uv, and the caches on PATH.",
    )
    parser.add_argument("packages", nargs="+", metavar="NAME==VERSION")
    parser.add_argument("--cache", type=Path, default=Path("build/bench"), help="for sdists")
    parser.add_argument("--launchers", nargs="+", default=["ccache", "sccache"])
    options = parser.parse_args()
    cache = options.cache.resolve()
    print("\t".join(_COLUMNS))
    passed = True
    for pin in options.packages:
        source = fetch(pin, cache=cache, python=_PYTHON, environment=dict(os.environ))
        for launcher in options.launchers:
            work = cache / "caches"
            for row in _rows(source, _Cache(launcher, work / launcher), work):
                print("\t".join(row), flush=True)
                passed &= row[3] == "first" or (row[5] == "0" and row[6] == "same")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
