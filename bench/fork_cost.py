"""What the fork adds to a hook in a fresh process, in milliseconds.

    python -m bench.fork_cost --runs 40

A pure project's metadata hook, in turns: once as it is, and once with the hook called in the
process itself, nothing put back. The interpreter that runs this must have setuptools.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["main", "measure"]

_PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "parallel_backend"
[project]
name = "pure"
version = "1"
"""

_FORK = """\
import sys, parallel_backend
parallel_backend.prepare_metadata_for_build_wheel(sys.argv[1])
"""
_DIRECT = f"""\
import os, pathlib, shutil, tempfile
from parallel_backend import hooks
from parallel_backend.hook_process.process_groups import make_record
def run_hook(function, *, place=None):
    private = pathlib.Path(tempfile.mkdtemp())
    make_record(private)
    try:
        return function(private)
    finally:
        shutil.rmtree(private)
hooks.run_hook = run_hook
{_FORK}"""


def measure(script: str, *, project: Path) -> float:
    """Seconds from the start of a fresh process to its end."""
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", script, out],
            cwd=project,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - start


def main(arguments: list[str] | None = None) -> None:
    """Measure in turns, print medians and the median of the differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=40, help="turns (default: 40)")
    options = parser.parse_args(arguments)
    # Without .pyc files every start would compile setuptools anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent / "src")
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "pyproject.toml").write_text(_PYPROJECT, encoding="utf-8")
        pairs = []
        for turn in range(options.runs + 1):
            order = (_FORK, _DIRECT) if turn % 2 else (_DIRECT, _FORK)
            taken = {script: measure(script, project=project) for script in order}
            if turn:  # the first one makes the .pyc files
                pairs.append((taken[_FORK] * 1000, taken[_DIRECT] * 1000))
    fork, direct = zip(*pairs, strict=True)
    print(f"with the fork {statistics.median(fork):.1f} ms")
    print(f"without it    {statistics.median(direct):.1f} ms")
    difference = statistics.median(one - other for one, other in pairs)
    print(f"the fork adds {difference:.1f} ms (median of {options.runs} differences)")


if __name__ == "__main__":
    main()
