"""Measure this project beside its peers; the numbers of docs/benchmarks.md.

    python -m bench                                 # every package, every peer
    python -m bench brotli==1.2.1 --runs 5
    python -m bench --published --scale --growth    # the other tables
    python -m bench --all                           # these and the packages
    python -m bench --check                         # has anything become slower?

PACKAGE is a pinned sdist, the folder of a source tree, or made up: made:sourcesN, made:extN,
made:extN+cython; for --scale made:sleepN, too. What builds need is installed into environments in
the cache. Results are written as they come; with --resume a run goes on where the last one ended.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import check, growth, published, report, scale
from bench.builds import BuildError, say
from bench.environments import make_environment
from bench.recording import shortened
from bench.turns import Journal, Row, measure, rows
from bench.works import PACKAGES, PEERS, TOOLS, Suite, find_work, recorded, ways

__all__ = ["main"]

_PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names; the exit status."""
    options = _arguments(arguments)
    if not options.resume:
        (options.out / "builds.jsonl").unlink(missing_ok=True)
    suite = Suite(
        python=options.python,
        cache=options.cache,
        work=options.work,
        jobs=options.jobs,
        peers=options.peers,
    )
    bench = _Bench(suite, options)
    if options.record:
        return bench.record()
    if options.check:
        return bench.check()
    parts: list[Callable[[], None]] = []
    parts += [bench.published] if options.published else []
    parts += [bench.growth] if options.growth else []
    parts += [bench.scale] if options.scale else []
    if options.all or not parts:
        parts.insert(0, bench.packages)
    for part in parts:
        part()
    if options.docs:
        report.into_page(_PAGE, options.out)
    return 1 if bench.failed else 0


class _Bench:
    def __init__(self, suite: Suite, options: argparse.Namespace) -> None:
        self.suite = suite
        self.options = options
        self.out: Path = options.out
        self.journal = Journal(options.out / "builds.jsonl")
        self.facts = report.facts(make_environment(suite.cache, python=suite.python)) | TOOLS
        self.failed = False

    def measured(self, packages: Sequence[str]) -> list[Row]:
        """Rows of all packages; what is known so far is written after each one."""
        found: list[Row] = []
        for package in packages:
            try:
                work = find_work(package, self.suite)
                peers = [*ways(work, self.suite)]
            except (BuildError, subprocess.CalledProcessError) as error:
                self.fail(f"{package}: {error}")
                continue
            runs = self.options.runs
            results = measure(package, peers, runs=runs, journal=self.journal)
            found += rows(package, peers, *results)
            self.failed |= any(row.error for row in found)
            self.write("packages", report.package_table(found), report.package_plot(found), found)
        return found

    def packages(self) -> None:
        found = self.measured(self.options.packages or PACKAGES)
        print(report.package_table(found))
        if self.options.commit:
            check.commit(found)

    def check(self) -> int:
        short = self.options.short
        committed = json.loads(check.COMMITTED.read_text("utf-8"))
        found = self.measured(self.options.packages or (check.SHORT if short else [*committed]))
        table, slower = check.compare(found, committed)
        print(table)
        return 1 if self.failed or (slower and not short) else 0

    def published(self) -> None:
        found: list[Row] = []
        for package in self.options.packages or published.PACKAGES:
            found += published.gentoo(
                package, self.suite, runs=self.options.runs, journal=self.journal
            )
            self.write("gentoo", published.gentoo_table(found), "", found)
        print(published.gentoo_table(found))
        table = published.one_process(self.suite, turns=10)
        self.write("one-process", table, "", [])
        print(table)

    def growth(self) -> None:
        found: list[growth.Size] = []
        for kind in growth.KINDS:
            for size in growth.sizes(
                kind,
                self.suite,
                most=self.options.most,
                runs=self.options.runs,
                journal=self.journal,
            ):
                found.append(size)
                here = [one for one in found if one.kind == kind]
                table, picture = growth.table(here), growth.picture(kind, here)
                self.write(f"growth-{kind}", table, picture, [one.row for one in here])
        print(growth.table(found))

    def scale(self) -> None:
        found: list[scale.Point] = []
        for package in self.options.packages or scale.PACKAGES:
            points = scale.points(
                package,
                self.suite,
                slots=self.options.slots or scale.PACKAGES.get(package, scale.SLOTS),
                runs=self.options.runs,
                journal=self.journal,
            )
            for point in points:
                found.append(point)
                here = [one for one in found if one.row.package == package]
                name = f"scale-{package.partition('=')[0].replace(':', '-')}"
                picture, table = scale.picture(package, here), scale.table(here)
                self.write(name, table, picture, [one.row for one in here])
        self.write("scale", scale.table(found), "", [one.row for one in found])
        print(scale.table(found))

    def record(self) -> int:
        for package in self.options.packages or filter(_is_pinned, scale.PACKAGES):
            work = find_work(package, self.suite)
            found = shortened(recorded(work, self.suite), package=package)
            found.write(scale.RECORDINGS / f"{package}.json")
            print(f"{package}: {found.work():.2f} s, longest chain {found.chain():.2f} s")
        return 0

    def write(self, name: str, table: str, picture: str, found: Sequence[Row]) -> None:
        numbers = {"facts": self.facts, "rows": [vars(row) for row in found]}
        report.write(self.out, name, table=table, picture=picture, numbers=numbers)

    def fail(self, text: str) -> None:
        self.failed = True
        say(text)


def _is_pinned(package: str) -> bool:
    return "==" in package


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]}: not one of {', '.join(PEERS)}")
    return names


def _slots(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("packages", nargs="*", metavar="PACKAGE")
    for name, text in (
        ("all", "everything: packages, --published, --growth, --scale"),
        ("published", "the tables of the Gentoo article and of uv's issue"),
        ("growth", "10 to 10,000 sources, 1 to 1,000 extensions"),
        ("scale", "a sleeping compiler on 1 to 128 job slots"),
        ("check", "compare ratios with bench/committed.json; status 1 if one is slower"),
        ("commit", "keep the ratios of this run in bench/committed.json"),
        ("docs", "put the results into docs/benchmarks.md"),
        ("record", "record PACKAGEs for --scale, into bench/recordings"),
        ("short", "with --check: a minute's work, and status 1 only where a build fails"),
        ("resume", "keep what the last run has measured"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--runs", type=int, default=3, help="turns (default: 3)")
    parser.add_argument("--jobs", type=int, default=cores, help=f"job slots (default: {cores})")
    parser.add_argument("--peers", type=_peers, default=PEERS, help=", ".join(PEERS))
    parser.add_argument("--slots", type=_slots, help="of --scale, such as 1,16,64")
    parser.add_argument("--most", type=int, default=10_000, help="of --growth: no more units")
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--cache", type=Path, default=Path("build/bench"))
    parser.add_argument("--out", type=Path, help="results go there (default: CACHE/results)")
    parser.add_argument(
        "--work",
        type=Path,
        help="builds run there (default: CACHE/work); a memory disk is steadier",
    )
    options = parser.parse_args(arguments)
    options.cache = options.cache.resolve()
    options.work = (options.work or options.cache / "work").resolve()
    options.out = options.out or options.cache / "results"
    if options.all:
        options.published = options.growth = options.scale = True
    if options.check:
        options.peers = ("serial", "parallel")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BuildError, OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"python -m bench: {error}")
