"""Real sdists of all kinds of backends, broken ones among them, built by one `build`.

    python tests/long/long_sdists.py
    python tests/long/long_sdists.py --short         # a few small ones

The wheels are held to those of `python -m build`, one after another, byte for byte. Compilers
write no debug information for that, which would name the folder of a build. Needs a package index,
`build` and `uv`. Exit status 1 where something is not as it should be, which is told.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from cli_harness import pack
from harness import REPOSITORY, SOURCE
from projects import make_cargo_project

sys.path.insert(0, str(REPOSITORY))

from bench.sources import fetch

__all__ = ["main"]

# By setuptools, flit and hatchling.
_SHORT = "markupsafe==3.0.4 msgpack==1.2.4 tomli==2.5.0 soupsieve==4.1.2".split()
# More by setuptools, and one by meson-python.
_MORE = """
psutil==7.2.2 multidict==7.2.1 greenlet==3.5.6 coverage==7.17.3 pyyaml==6.0.3 librt==0.16.0
cffi==2.1.1 brotli==1.2.1 contourpy==1.3.2
""".split()
# Its wheel has the folder that it was built in: two of python -m build differ, too.
_TELLS_ITS_FOLDER = "contourpy"


def main() -> int:
    """What the arguments ask for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--short", action="store_true", help="small packages only")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="a folder that keeps what was downloaded")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="long-sdists-") as folder:
        wrong = [*_differences(Path(folder), asked)]
    print("\n".join([*wrong, f"{len(wrong)} differences"]))
    return int(bool(wrong))


def _differences(top: Path, asked: argparse.Namespace) -> Iterator[str]:
    pins = _SHORT if asked.short else [*_SHORT, *_MORE]
    cache, python = asked.cache or top / "cache", Path(sys.executable)
    trees = [fetch(pin, cache=cache, python=python, environment=os.environ).tree for pin in pins]
    sdists = [cache / "sdists" / f"{tree.name}.tar.gz" for tree in trees]
    if shutil.which("cargo"):
        trees.append(make_cargo_project(top / "rusty"))
        sdists.append(pack(trees[-1]))
    else:
        print("there is no cargo: nothing is built by setuptools-rust")
    broken = {
        "no-source": _edited(trees[1], top / "no-source.tar.gz", _without_c_code),
        "half": _half(sdists[0], top / "half.tar.gz"),
    }
    (top / "temporary").mkdir()
    environment = {
        **os.environ,
        "CFLAGS": "-O0 -g0",
        "CXXFLAGS": "-O0 -g0",
        "SOURCE_DATE_EPOCH": "1704067200",
        "PYTHONPATH": str(SOURCE),
        "TMPDIR": str(top / "temporary"),
    }
    words = [*sdists, *broken.values(), "-k", "--json", "-j", str(asked.jobs), "-o", top / "ours"]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "parallel_backend", "build", *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=sys.stdout,
        check=False,
    )
    print(f"{len(sdists) + len(broken)} sdists in {time.monotonic() - began:.1f} s", flush=True)
    if done.returncode != 1:
        yield f"the exit status is {done.returncode}, where two sdists are broken"
    if left := [*os.listdir(top / "temporary"), *(top / "ours").glob(".*")]:
        yield f"something is left: {left}"
    yield from _not_told(json.loads(done.stdout)["projects"], broken)
    for tree in trees:
        copy = shutil.copytree(tree, top / "trees" / tree.name)
        command = [sys.executable, "-m", "build", "--wheel", "--installer", "uv", "--outdir"]
        with (top / f"{tree.name}.log").open("wb") as log:
            done = subprocess.run(
                [*command, top / "theirs", copy],
                env=environment,
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode:
            print(Path(log.name).read_text(errors="replace"))
            yield f"python -m build does not build {tree.name}"
    ours, theirs = _wheels(top / "ours"), _wheels(top / "theirs")
    for name in sorted(ours.keys() | theirs.keys()):
        is_both = name in ours and name in theirs
        if not is_both or (ours[name] != theirs[name] and not name.startswith(_TELLS_ITS_FOLDER)):
            yield f"{name} is not that of python -m build"


def _not_told(projects: Sequence[dict[str, str]], broken: dict[str, Path]) -> Iterator[str]:
    """What is not told as it is."""
    for project in projects:
        name, status = project["project"], project["status"]
        if (status == "failed") != (name in broken):
            yield f"{name} is {status}: {project['note']}"
        if not Path(project["log"]).is_file():
            yield f"{name} has no log"


def _wheels(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.whl")
    }


def _half(sdist: Path, path: Path) -> Path:
    """As a download leaves it that was broken off."""
    data = sdist.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def _edited(tree: Path, path: Path, edit: Callable[[Path], None]) -> Path:
    """The sdist of a tree that was changed."""
    name = path.name.removesuffix(".tar.gz")
    copy = shutil.copytree(tree, path.with_name(name))
    edit(copy)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(copy, name)
    return path


def _without_c_code(tree: Path) -> None:
    for source in (each for each in tree.rglob("*") if each.suffix in (".c", ".pyx")):
        source.write_text("#error this was taken out\n")


if __name__ == "__main__":
    raise SystemExit(main())
