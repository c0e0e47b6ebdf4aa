"""Byte-compile the site-packages of an environment in several ways, in turns, and print the ratios.

    python -m bench.bytecode --runs 3
    python -m bench.bytecode --environment .venv --runs 5 --no-extremes

Without ``--environment`` one is made, of the interpreter that runs this, with jupyter and plotly.
Before each run all ``__pycache__`` folders are deleted; then each peer runs once more, with nothing
to do. The peers take turns, and a ratio is the median of the ratios within each turn, to
``compileall -j1``. uv compiles what it installs, so it installs everything again, and what counts
is the time that it tells for compiling; for the others it is that of the whole process.

Then come two extremes: 100,000 tiny files, and the most memory that the parent has for them; and
10,000 files with 32 workers that sleep for each, against the best time there could be.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["main", "sleeping", "tiny_files", "turns"]

_SOURCE = Path(__file__).parents[1] / "src"
_PACKAGES = ("jupyter", "plotly")
_SLEEP = 0.03  # seconds for a file
# The worker, in which to compile is to sleep.
_SLEEPER = """
import builtins, sys, time
at = next(i for i, word in enumerate(sys.argv) if word.endswith("worker.py"))
sys.argv = sys.argv[at:]
real = compile
code = real("", "", "exec")
def sleeper(text, name, *rest, **more):
    time.sleep({sleep})
    return code
with open(sys.argv[0], "rb") as file:
    worker = real(file.read(), sys.argv[0], "exec")
builtins.compile = sleeper
exec(worker, {{"__name__": "__main__"}})
"""

Way = Callable[[], float]
"""Compiles a tree; how many seconds that took."""


def turns(ways: dict[str, Way], *, tree: Path, runs: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each way: "from none" and, right after it, with "nothing to do"."""
    found: dict[str, dict[str, list[float]]] = {
        name: {"from none": []} if name == "uv" else {"from none": [], "nothing to do": []}
        for name in ways
    }
    for _ in range(runs):
        for name, way in ways.items():
            for cache in [*tree.rglob("__pycache__")]:
                shutil.rmtree(cache)
            for work in found[name]:
                found[name][work].append(way())
                print(f"{name}, {work}: {found[name][work][-1]:.3f} s", file=sys.stderr)
    return found


def tiny_files(folder: Path, *, count: int, jobs: int) -> tuple[float, float]:
    """Compile `count` tiny files; the seconds, and the most MB that the parent had."""
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"m{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x = %d\n" % number)
    script = (
        "import resource, sys; from parallel_backend.tools.bytecode import compile_tree\n"
        "report = compile_tree(sys.argv[1:2], jobs=int(sys.argv[2]))\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(report.compiled, report.seconds, peak)"
    )
    command = [sys.executable, "-c", script, str(folder), str(jobs)]
    done = subprocess.run(command, env=_environment(), stdout=subprocess.PIPE, check=True)
    compiled, seconds, peak = done.stdout.split()
    if int(compiled) != count:
        raise SystemExit(f"{compiled.decode()} of {count} files were compiled")
    return float(seconds), int(peak) / 1024


def sleeping(folder: Path, *, files: int, workers: int) -> tuple[float, float]:
    """Compile with workers that only sleep; the seconds, and the least there could be."""
    tree = folder / "tree"
    for number in range(files):
        path = tree / f"{number // 500:03}" / f"m{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x = 1\n")
    script = folder / "sleeper.py"
    script.write_text(_SLEEPER.format(sleep=_SLEEP), encoding="utf-8")
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S -E "{script}" "$@"\n')
    program.chmod(0o755)
    took = _timed([*_ours(workers), "--python", str(program), str(tree)])
    return took, files * _SLEEP / workers


def _timed(command: Sequence[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=_environment(), stdout=subprocess.DEVNULL, check=False)
    took = time.perf_counter() - began
    if done.returncode not in (0, 1):  # compileall gives 1 for templates that are no Python
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}")
    return took


def _environment() -> dict[str, str]:
    unwanted = ("SOURCE_DATE_EPOCH", "MAKEFLAGS", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "PYTHONPATH": os.environ.get("PYTHONPATH", str(_SOURCE))}


def _ours(jobs: int) -> list[str]:
    return [sys.executable, "-m", "parallel_backend", "bytecode", "-q", f"-j{jobs}"]


def _ways(environment: Path, tree: Path, jobs: int) -> dict[str, Way]:
    compileall = [sys.executable, "-m", "compileall", "-qq"]
    ways: dict[str, Way] = {
        "compileall -j1": lambda: _timed([*compileall, "-j1", str(tree)]),
        f"compileall -j{jobs}": lambda: _timed([*compileall, f"-j{jobs}", str(tree)]),
        "parallel_backend": lambda: _timed([*_ours(jobs), str(tree)]),
    }
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv:
        install = [uv, "pip", "install", "--python", str(environment / "bin/python")]
        list_all = [uv, "pip", "freeze", "--python", str(environment / "bin/python")]
        packages = subprocess.run(list_all, stdout=subprocess.PIPE, text=True, check=True)
        again = [*install, "--reinstall", "--no-deps", *packages.stdout.split()]
        subprocess.run([*again, "-q"], check=True)  # fills its cache
        ways["uv"] = lambda: _told_by_uv([*again, "--offline", "--compile-bytecode"])
    return ways


def _told_by_uv(command: Sequence[str]) -> float:
    done = subprocess.run(
        command, env=_environment(), stderr=subprocess.PIPE, text=True, check=True
    )
    match = re.search(r"compiled \d+ files? in ([0-9.]+)(ms|s)", done.stderr)
    if match is None:
        raise SystemExit(f"uv does not tell how long it compiled: {done.stderr}")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def _made_environment(folder: Path) -> Path:
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python")]
    subprocess.run([*pip, "install", "-q", "--no-compile", *_PACKAGES], check=True)
    return environment


def _purelib(environment: Path) -> Path:
    scheme = {"base": str(environment), "platbase": str(environment)}
    return Path(sysconfig.get_path("purelib", "venv", scheme))


def _print_table(found: dict[str, dict[str, list[float]]]) -> None:
    reference = found["compileall -j1"]
    print("| way | work | median s | min | max | ratio |\n|---|---|---|---|---|---|")
    for name, works in found.items():
        for work, times in works.items():
            pairs = zip(times, reference[work], strict=True)
            ratio = statistics.median(one / other for one, other in pairs)
            numbers = [statistics.median(times), min(times), max(times), ratio]
            print(f"| {name} | {work} | {' | '.join(f'{number:.3f}' for number in numbers)} |")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--environment", type=Path, help="an environment; its own Python is ours")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-extremes", action="store_true", help="only the environment")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bytecode-") as private:
        folder = Path(private)
        environment = asked.environment or _made_environment(folder)
        tree = _purelib(environment.absolute())
        ways = _ways(environment.absolute(), tree, asked.jobs)
        _print_table(turns(ways, tree=tree, runs=asked.runs))
        if not asked.no_extremes:
            took, peak = tiny_files(folder / "tiny", count=100_000, jobs=asked.jobs)
            print(f"100,000 tiny files: {took:.1f} s, {peak:.1f} MB at most in the parent")
            took, best = sleeping(folder / "sleep", files=10_000, workers=32)
            print(f"32 workers that sleep: {took:.2f} s, {took / best:.3f} of the best time")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
