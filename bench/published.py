"""Two tables that others have published, made again here, with this project in them.

Gentoo: Michał Górny, "Optimizing parallel extension builds in PEP517 builds" (15 March 2024,
https://blogs.gentoo.org/mgorny/2024/03/15/optimizing-parallel-extension-builds-in-pep517-builds/;
scripts and times: https://github.com/mgorny/distutils-build-bench). He ran ``python -m build -nwx``
with 12 jobs on 6 cores; here each PEP 517 build is its hook in a fresh process.

uv: https://github.com/astral-sh/uv/issues/846, "Use a single python process across all steps of
building a source dist": what it takes to start Python, and to import a build backend.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import report
from bench.builds import Peer, clean_environment, extra_config, parallel, serial
from bench.environments import make_environment
from bench.turns import Journal, Row, measure, rows
from bench.works import Suite, by_peer, find_work

__all__ = ["PACKAGES", "gentoo", "gentoo_table", "one_process"]

_REPOSITORY = Path(__file__).resolve().parent.parent
_GENTOO = {
    "django==5.0.3": {
        "serial": 5.39,
        "build, then PEP 517": 3.08 + 5.33,
        "build_ext, then PEP 517": 0.60 + 5.41,
        "find, build_ext, then PEP 517": 0.06 + 5.39,
        "extra-config": 5.39,
    },
    "cython==3.0.9": {
        "serial": 46.69,
        "build, then PEP 517": 20.8 + 2.69,
        "build_ext, then PEP 517": 20.8 + 2.69,
        "find, build_ext, then PEP 517": 20.9 + 2.69,
        "extra-config": 22.8,
    },
}
"""Seconds, by package and peer."""

PACKAGES = tuple(_GENTOO)
"""Those of the article."""

_FIND = (
    "find . -name '*.c' -o -name '*.cc' -o -name '*.cpp' -o -name '*.cxx' -o -name '*.c++'"
    " -o -name '*.m' -o -name '*.mm' -o -name '*.pyx' | head -n 2 | wc -l"
)
# As the issue has them; they are means of its own machine, in milliseconds.
_IMPORTS = {
    "import sys; print(sys.version)": 8.8,
    "import setuptools; print(setuptools.__version__)": 48.9,
    "import poetry.core.masonry.api": 30.3,
}


def gentoo(package: str, suite: Suite, *, runs: int, journal: Journal) -> list[Row]:
    """The ways of the article, and this project, in turns."""
    work = find_work(package, suite)
    ways = [by_peer(peer, work, suite) for peer in _gentoo_peers(suite.jobs)]
    key = f"gentoo {package}"
    return [*rows(package, ways, *measure(key, ways, runs=runs, journal=journal))]


def _gentoo_peers(jobs: int) -> list[Peer]:
    build_ext = f'"$PYTHON" setup.py build_ext -j{jobs}'
    return [
        serial(),
        _before("build, then PEP 517", f'"$PYTHON" setup.py build -j{jobs}'),
        _before("build_ext, then PEP 517", build_ext),
        _before(
            "find, build_ext, then PEP 517", f'if [ 2 -eq "$({_FIND})" ]; then {build_ext}; fi'
        ),
        extra_config(jobs),
        parallel(jobs, fresh="true"),
    ]


def _before(name: str, command: str) -> Peer:
    """Plain setuptools after a ``setup.py`` command, as ``distutils-r1.eclass`` once had it."""
    return replace(serial(), name=name, before=command)


def gentoo_table(found: Sequence[Row]) -> str:
    """Ours beside theirs: seconds, and ratios to the serial build of the same machine."""
    cells = []
    for row in found:
        known = _GENTOO.get(row.package, {})
        theirs = known.get(row.peer)
        cells.append(
            [
                *(row.package, row.peer),
                "-" if theirs is None else f"{theirs:.2f}",
                "-" if theirs is None else f"{theirs / known['serial']:.3f}",
                f"{statistics.median(row.wall):.2f}" if row.wall else "failed",
                "-" if row.ratio is None else f"{row.ratio:.3f}",
            ]
        )
    columns = ["package", "way", "published s", "ratio", "here s", "ratio"]
    return report.markdown(columns, cells)


def one_process(suite: Suite, *, turns: int) -> str:
    """The table of the issue, then four hooks by fresh processes and by a hook server.

    Raises CalledProcessError.
    """
    needs = ("poetry-core", "hatchling", "flit_core")
    python = str(make_environment(suite.cache, python=suite.python, requires=needs).python)
    cells = [
        [f"`{code}`", f"{theirs:.1f}", f"{_milliseconds([python, '-c', code], turns):.1f}"]
        for code, theirs in _IMPORTS.items()
    ]
    numbers = suite.cache / "hook-server.json"
    command = [python, "-m", "bench.hook_server", "--turns", str(turns), "--hooks", "0"]
    subprocess.run(
        [*command, "--json", str(numbers)],
        cwd=_REPOSITORY,
        env=clean_environment(),
        stdout=sys.stderr,
        check=True,
    )
    for work, ways in json.loads(numbers.read_text("utf-8")).items():
        cells += [
            [f"{work}: four hooks, {way}", "-", f"{1000 * statistics.median(seconds):.1f}"]
            for way, seconds in ways.items()
        ]
    return report.markdown(["what", "published ms", "here ms"], cells)


def _milliseconds(command: Sequence[str], turns: int) -> float:
    """The median, after one run for ``.pyc`` files."""
    spent = []
    for _ in range(turns + 1):
        began = time.perf_counter()
        subprocess.run(command, env=clean_environment(), stdout=subprocess.DEVNULL, check=True)
        spent.append(1000 * (time.perf_counter() - began))
    return statistics.median(spent[1:])
