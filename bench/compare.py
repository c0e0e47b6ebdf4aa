"""Build wheels with plain setuptools and with this project, in turns, and print the ratios.

    python bench/compare.py brotli==1.2.1 cython==3.0.9 --runs 3 --jobs 2
    python bench/compare.py made:sleep1000 made:ext300 --runs 5

What can be measured: a pinned sdist (pip fetches it), the folder of a source tree, ``made:sleepN``
(one extension of N sources and a compiler that only sleeps, against its best time) and
``made:extN`` (N one-line extensions, without Cython in the environment and with it; its CPU ratio
is what counts).

Every build is a fresh process in a fresh copy of the tree, without isolation, with ``.pyc`` files
in place. The peers take turns (A B C A B C), and a ratio is the median of the ratios within each
turn: what else the machine does then falls on both sides. CFLAGS and the like are passed on, to
all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builds import (
    BuildError,
    Built,
    Peer,
    build_wheel,
    clean_environment,
    extra_config,
    parallel,
    say,
    serial,
    warm_up,
)
from environments import Environment, make_environment
from made_up import SLEEP, make_sleeper, many_extensions, one_extension
from sources import Source, fetch, read_source

__all__ = ["Row", "Work", "main", "measure", "rows", "table"]

_PEERS = {"serial": lambda _: serial(), "extra-config": extra_config, "parallel": parallel}
_COLUMNS = ("package", "peer", "jobs", "median s", "min", "max", "CPU s", "ratio", "CPU ratio")


@dataclass(frozen=True, kw_only=True)
class Work:
    """Something to build, and everything that must be the same for all peers."""

    name: str
    source: Source
    environment: Environment
    peers: tuple[Peer, ...]
    jobs: int
    variables: Mapping[str, str] = field(default_factory=dict)
    ideal: float | None = None
    """Seconds of the best schedule, where known: ratios are then to it, not to `serial`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one peer took for one work, in seconds, a number each run."""

    package: str
    peer: str
    jobs: int
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    ratio: float | None
    cpu_ratio: float | None

    def cells(self) -> tuple[str, ...]:
        """The row as text, a cell for each column."""
        wall = (statistics.median(self.wall), min(self.wall), max(self.wall))
        numbers = [f"{number:.2f}" for number in (*wall, statistics.median(self.cpu))]
        ratios = ["-" if one is None else f"{one:.3f}" for one in (self.ratio, self.cpu_ratio)]
        return (self.package, self.peer, str(self.jobs), *numbers, *ratios)


def measure(work: Work, *, runs: int, folder: Path) -> dict[str, list[Built]]:
    """Build with each peer in turn, `runs` times; what each build cost, by the peer's name."""
    found: dict[str, list[Built]] = {peer.name: [] for peer in work.peers}
    for peer in work.peers:
        warm_up(work.source, peer=peer, python=work.environment.python, work=folder)
    for run in range(runs):
        for peer in work.peers:
            built = build_wheel(
                work.source,
                peer=peer,
                python=work.environment.python,
                work=folder,
                variables=work.variables,
            )
            found[peer.name].append(built)
            say(
                f"{work.name} {run + 1}/{runs} {peer.name}:"
                f" {built.wall:.2f} s, CPU {built.cpu:.2f} s"
            )
    return found


def rows(work: Work, found: Mapping[str, Sequence[Built]]) -> Iterator[Row]:
    """The measurements of one work, a row for each peer."""
    reference = found.get("serial", ())
    for peer, builds in found.items():
        wall = tuple(built.wall for built in builds)
        cpu = tuple(built.cpu for built in builds)
        ratio = _median_ratio(wall, [built.wall for built in reference])
        if work.ideal is not None:
            ratio = statistics.median(wall) / work.ideal
        yield Row(
            package=work.name,
            peer=peer,
            jobs=1 if peer == "serial" else work.jobs,
            wall=wall,
            cpu=cpu,
            ratio=ratio,
            cpu_ratio=_median_ratio(cpu, [built.cpu for built in reference]),
        )
    if work.ideal is not None:
        best = (work.ideal,)
        yield Row(
            package=work.name,
            peer="ideal",
            jobs=work.jobs,
            wall=best,
            cpu=(0.0,),
            ratio=1.0,
            cpu_ratio=None,
        )


def _median_ratio(values: Sequence[float], references: Sequence[float]) -> float | None:
    """Median of the ratios of what ran in the same turn; None without a reference."""
    pairs = zip(values, references, strict=False)
    ratios = [value / reference for value, reference in pairs]
    return statistics.median(ratios) if ratios else None


def table(lines: Sequence[Row]) -> str:
    """The rows as aligned text, names to the left and numbers to the right."""
    cells = [_COLUMNS, *(row.cells() for row in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    text = []
    for line in cells:
        padded = [
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(padded).rstrip())
    return "\n".join(text)


def works(name: str, options: argparse.Namespace) -> Iterator[Work]:
    """What a package argument asks for: `made:extN` is two works, all else is one."""
    made = re.fullmatch(r"made:(sleep|ext)([1-9][0-9]*)", name)
    if made is None:
        yield _real(name, options)
    elif made[1] == "sleep":
        yield _sleeping(name, int(made[2]), options)
    else:
        tree = many_extensions(options.cache / name.replace(":", "-"), extensions=int(made[2]))
        source = read_source(tree, name=name)
        yield _work(source, options)
        yield _work(source, options, name=f"{name}+cython", requires=("cython",))


def _real(name: str, options: argparse.Namespace) -> Work:
    """A source tree, or a pinned sdist."""
    if Path(name).is_dir():
        return _work(read_source(Path(name).resolve(), name=Path(name).name), options)
    # Any environment has a pip of its own; the interpreter that runs this may not.
    tools = make_environment(options.cache, python=options.python)
    source = fetch(name, cache=options.cache, python=tools.python, environment=clean_environment())
    return _work(source, options)


def _sleeping(name: str, sources: int, options: argparse.Namespace) -> Work:
    """One extension and the sleeping compiler; a serial build of it would take minutes."""
    tree = one_extension(options.cache / name.replace(":", "-"), sources=sources)
    sleeper = make_sleeper(options.cache / "sleeper")
    jobs = options.sleep_jobs
    return Work(
        name=name,
        source=read_source(tree, name=name),
        environment=make_environment(options.cache, python=options.python),
        peers=(parallel(jobs),),
        jobs=jobs,
        variables={"CC": str(sleeper), "LDSHARED": f"{sleeper} -shared"},
        ideal=sources / jobs * SLEEP,
    )


def _work(
    source: Source,
    options: argparse.Namespace,
    *,
    name: str = "",
    requires: Sequence[str] = (),
) -> Work:
    return Work(
        name=name or source.name,
        source=source,
        environment=make_environment(
            options.cache, python=options.python, requires=(*source.requires, *requires)
        ),
        peers=tuple(_PEERS[peer](options.jobs) for peer in options.peers),
        jobs=options.jobs,
    )


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in _PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]}: not one of {', '.join(_PEERS)}")
    return names


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", nargs="+", metavar="PACKAGE")
    parser.add_argument("--runs", type=int, default=3, help="turns (default: 3)")
    parser.add_argument("--jobs", type=int, default=2, help="job slots (default: 2)")
    parser.add_argument("--sleep-jobs", type=int, default=64, help="for made:sleepN (default: 64)")
    parser.add_argument("--peers", type=_peers, default=tuple(_PEERS), help=", ".join(_PEERS))
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--cache", type=Path, default=Path("build/bench"))
    parser.add_argument(
        "--work",
        type=Path,
        help="builds run there (default: CACHE/work); a memory disk is steadier",
    )
    parser.add_argument("--json", type=Path, help="write every number there too")
    options = parser.parse_args(arguments)
    options.cache = options.cache.resolve()
    options.work = (options.work or options.cache / "work").resolve()
    return options


def _as_json(
    options: argparse.Namespace, done: Sequence[Work], lines: Sequence[Row], *, load: float
) -> str:
    facts: dict[str, Any] = {
        "python": sorted({work.environment.python_version for work in done}),
        "setuptools": sorted({work.environment.setuptools for work in done}),
        "cores": len(os.sched_getaffinity(0)),
        "load": load,
        "runs": options.runs,
        "rows": [vars(row) for row in lines],
    }
    return json.dumps(facts, indent=2) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line names, print the table."""
    options = _arguments(arguments)
    load = os.getloadavg()[0]
    lines: list[Row] = []
    done: list[Work] = []
    for package in options.packages:
        for work in works(package, options):
            found = measure(work, runs=options.runs, folder=options.work)
            lines += rows(work, found)
            done.append(work)
    used = {(work.environment.python_version, work.environment.setuptools) for work in done}
    for python, setuptools in sorted(used):
        print(f"Python {python}, setuptools {setuptools}, {len(os.sched_getaffinity(0))} cores")
    # Neighbours take cores from the parallel side first: a ratio beside them says little.
    print(f"load average before: {load:.2f}")
    print(table(lines))
    if options.json:
        options.json.write_text(_as_json(options, done, lines, load=load), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (BuildError, ValueError) as error:
        sys.exit(f"compare.py: {error}")
