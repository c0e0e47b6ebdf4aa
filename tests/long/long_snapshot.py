"""Look at the interpreter before and after hooks of real packages, whose sdists pip fetches.

    python tests/long/long_snapshot.py psutil==7.2.2 librt==0.16.0 django==5.0.3 cython==3.0.9
    python tests/long/long_snapshot.py --ways fork --hooks build_wheel brotli==1.2.1

All hooks of a package are called in one process, twice over, and each is compared with what was
there before it. Exit status 0: every hook succeeded and left nothing; 1: one did not.
Each package has an environment of its own, with its requirements; ``CFLAGS=-O0`` keeps it short.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import REPOSITORY, clean_environment
from hook_sequences import WAYS, Sample, call, run_together
from snapshots import faults

sys.path.insert(0, str(REPOSITORY))

from bench.environments import Environment, find_interpreter, make_environment
from bench.sources import Source, fetch

__all__ = ["main", "snapshots"]

PACKAGES = ["psutil==7.2.2", "librt==0.16.0", "django==5.0.3", "cython==3.0.9"]
_HOOKS = ["prepare_metadata_for_build_wheel", "build_sdist", "build_wheel"]


def snapshots(
    source: Source, *, environment: Environment, way: str, hooks: Sequence[str], work: Path
) -> Iterator[tuple[str, list[str]]]:
    """Call the hooks twice in one process; of each call the hook and what is wrong with it."""
    sample = Sample(
        trees={"source": source.tree},
        steps=[call(hook, "source") for hook in [*hooks, *hooks]],
        env={"CFLAGS": "-O0", "CXXFLAGS": "-O0"},
        path=[f"source/{folder}" for folder in source.backend_path],
        legacy=source.legacy,
    )
    outcomes = run_together(sample, work, way=way, looks=True, python=str(environment.python))
    for number, outcome in enumerate(outcomes):
        found = list(faults(outcome["left"], way=way, again=number >= len(hooks)))
        if "error" in outcome:
            found.insert(0, f"it failed: {': '.join(outcome['error'])}")
        yield outcome["hook"], found


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    def words(text: str) -> list[str]:
        return [word.strip() for word in text.split(",")]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", nargs="*", default=PACKAGES, metavar="NAME==VERSION")
    parser.add_argument("--ways", type=words, default=WAYS, help="fork, in-place (default: both)")
    parser.add_argument("--hooks", type=words, default=_HOOKS, help="names, in their order")
    parser.add_argument("--python", default=sys.executable, help='a path, or a version: "3.12"')
    parser.add_argument("--setuptools", default="newest", help="a version (default: the newest)")
    parser.add_argument("--cache", type=Path, default=Path("build/snapshot"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Look as the command line says; the exit status."""
    options = _arguments(arguments)
    clean = clean_environment(os.environ)
    os.environ.clear()
    os.environ.update(clean)
    cache = options.cache.resolve()
    python = find_interpreter(options.python)
    if python is None:
        print(f"there is no Python {options.python} on this machine")
        return 1
    wrong = 0
    for pin in options.packages:
        tools = make_environment(cache, python=python)  # the one that runs this may have no pip
        source = fetch(pin, cache=cache, python=tools.python, environment=clean)
        environment = make_environment(
            cache, python=python, setuptools=options.setuptools, requires=source.requires
        )
        for way in options.ways:
            looked = snapshots(
                source, environment=environment, way=way, hooks=options.hooks, work=cache / "work"
            )
            for hook, found in looked:
                wrong += bool(found)
                print("\n  ".join([f"{pin}, {way}, {hook}: {len(found)} left", *found]), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
