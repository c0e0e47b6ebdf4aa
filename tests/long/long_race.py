"""Build the shared-source project again and again under CPU load, and look at each result.

    python tests/long/long_race.py --builds 200 --jobs 8 --load 4
    python tests/long/long_race.py --builds 20 --jobs 8 --load 4 --backend extra-config

Four extensions compile one source, each with its own macros; a build that shares one object path
gives a wrong wheel and exit status 0. The busy loops scatter the order in which compilers and
linkers run. Exit status 0: every wheel was right; 1: one was not, or a build failed.
``extra-config`` is setuptools' own parallel build, to see what the fault looks like.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from harness import (
    PLAIN_BACKEND,
    QUICK_COMPILE,
    BuildFailedError,
    build_wheel,
    clean_environment,
    copy_package,
    expectation,
    load_extension_values,
)

__all__ = ["busy_loops", "main", "race"]

SAMPLE = "shared_source"
# Ends with its parent, should that be killed.
_BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    for _ in range(10**6): pass\n"


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep `count` processes computing for the length of the block."""
    command = [sys.executable, "-c", _BUSY, str(os.getpid())]
    loops = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


def race(*, builds: int, jobs: int, load: int, folder: Path, backend: str) -> Iterator[str]:
    """Build again and again beside `load` busy loops; for each build what is wrong, or "".

    `backend` is "parallel_backend", or "extra-config" for setuptools' own parallel build.
    """
    environment = dict(QUICK_COMPILE)
    if backend == "extra-config":
        config = folder / "extra.cfg"
        config.write_text(f"[build_ext]\nparallel = {jobs}\n", encoding="utf-8")
        environment["DIST_EXTRA_CONFIG"] = str(config)
    with busy_loops(load):
        for _ in range(builds):
            project = copy_package(SAMPLE, folder)
            try:
                if backend == "extra-config":
                    wheel = build_wheel(project, backend=PLAIN_BACKEND, env=environment)
                else:
                    wheel = build_wheel(project, backend=backend, jobs=jobs, env=environment)
            except BuildFailedError as error:
                yield str(error)
            else:
                yield _fault(wheel)
                wheel.unlink()


def _fault(wheel: Path) -> str:
    """How the built modules answer otherwise than a serial build's; empty if they do not."""
    for expression, right in expectation(SAMPLE).values.items():
        value = load_extension_values(wheel, expression)
        if value != right:
            return f"{expression} is {value}, not {right}"
    return ""


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--builds", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--load", type=int, default=4, help="busy loops (default: 4)")
    parser.add_argument(
        "--backend", choices=["parallel_backend", "extra-config"], default="parallel_backend"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Race as the command line says; the exit status."""
    options = _arguments(arguments)
    clean = clean_environment(os.environ)
    os.environ.clear()
    os.environ.update(clean)
    faults = 0
    with tempfile.TemporaryDirectory(prefix="race-") as folder:
        results = race(
            builds=options.builds,
            jobs=options.jobs,
            load=options.load,
            folder=Path(folder),
            backend=options.backend,
        )
        for number, fault in enumerate(results, start=1):
            faults += bool(fault)
            if fault or number % 10 == 0:
                print(f"{number} of {options.builds}: {fault or 'right'}", flush=True)
    print(
        f"{options.builds - faults} of {options.builds} builds of {SAMPLE} were right"
        f" ({options.backend}, {options.jobs} jobs, {options.load} busy loops)"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
