"""Build many real packages at once, beside loops of `python -m build` and of `uv build`.

    python -m bench.many

Each peer builds wheels from fresh copies of the same trees, at the same path, in isolated
environments. `python -m build` installs by pip, `uv build` by uv, and ours by uv if there is one.
The first round is not counted: it fills the caches of downloads. Needs `build` and `uv` in this
interpreter.

A peer's wheels are compared with those of `python -m build`, whose backend is setuptools itself.
Exit status 1 if a ratio is above its goal, or a wheel differs.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.builds import clean_environment, say
from bench.sources import fetch

__all__ = ["main"]

_PINS = """
psutil==7.2.2 multidict==7.2.1 msgpack==1.2.4 markupsafe==3.0.4 greenlet==3.5.6 coverage==7.17.3
pyyaml==6.0.3 librt==0.16.0 cffi==2.1.1 brotli==1.2.1
""".split()
_GOALS = {"build": 0.5, "uv": 0.75}
_OURS = "parallel-backend"


def main(argv: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(argv)
    cache = asked.cache.resolve()
    environment = clean_environment(XDG_CACHE_HOME=str(cache / "cache"))
    python = Path(sys.executable)
    trees = [
        fetch(pin, cache=cache, python=python, environment=environment).tree for pin in asked.pins
    ]
    times: dict[str, list[float]] = {_OURS: [], "build": [], "uv": []}
    wheels: dict[str, dict[str, str]] = {}
    for round_ in range(asked.rounds):
        for peer, found in times.items():
            seconds, wheels[peer] = _built(peer, trees, cache / "work", environment, asked.jobs)
            say(f"round {round_}: {peer}: {seconds:.1f} s")
            if round_ or asked.rounds == 1:
                found.append(seconds)
    return _report(times, wheels)


def _built(
    peer: str, trees: Sequence[Path], work: Path, environment: dict[str, str], jobs: int
) -> tuple[float, dict[str, str]]:
    """Seconds, and a hash of each wheel by its name."""
    shutil.rmtree(work, ignore_errors=True)
    out = work / "out"
    copies = [work / tree.name for tree in trees]
    for tree, copy in zip(trees, copies, strict=True):
        shutil.copytree(tree, copy, symlinks=True)
    out.mkdir()
    module = [sys.executable, "-m"]
    if peer == _OURS:
        options = ["--jobs", str(jobs), "--keep-going", "--outdir", str(out)]
        commands = [[*module, "parallel_backend", "build", *map(str, copies), *options]]
    elif peer == "build":
        commands = [
            [*module, "build", "--wheel", "--outdir", str(out), str(copy)] for copy in copies
        ]
    else:
        commands = [
            [*module, "uv", "build", "--wheel", "--out-dir", str(out), str(copy)] for copy in copies
        ]
    began = time.perf_counter()
    with (work / "log").open("wb") as log:
        for command in commands:
            subprocess.run(command, env=environment, stdout=log, stderr=log, check=True)
    seconds = time.perf_counter() - began
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in out.glob("*.whl")}
    return seconds, found


def _report(times: dict[str, list[float]], wheels: dict[str, dict[str, str]]) -> int:
    ours = statistics.median(times[_OURS])
    wrong = False
    print(f"{_OURS}: {ours:.1f} s")
    for peer, goal in _GOALS.items():
        median = statistics.median(times[peer])
        wrong = wrong or ours / median > goal
        print(f"{peer}: {median:.1f} s, ratio {ours / median:.2f}, goal {goal}")
    reference = wheels["build"]
    for name in sorted(reference.keys() | wheels[_OURS].keys()):
        if reference.get(name) != wheels[_OURS].get(name):
            wrong = True
            also = " (as that of uv)" if reference.get(name) != wheels["uv"].get(name) else ""
            print(f"{name} differs{also}")
    return int(wrong)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description="Many packages at once, beside loops of build and uv build.",
        epilog="example: python -m bench.many --rounds 4",
    )
    made.add_argument("pins", nargs="*", default=_PINS, metavar="NAME==VERSION")
    made.add_argument("--jobs", type=int, default=2)
    made.add_argument(
        "--rounds", type=int, default=2, help="the first is not counted, unless it is the only one"
    )
    made.add_argument(
        "--cache", type=Path, default=Path("many-cache"), help="for sdists (default: many-cache)"
    )
    return made


if __name__ == "__main__":
    raise SystemExit(main())
