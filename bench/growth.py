"""What one more source and one more extension cost: time and memory, from a few to thousands.

The compiler takes no time, so what is left is the cost of building itself, that of starting a
process for each command included.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench import plot, report
from bench.made_up import many_extensions, one_extension, sleeping_compilers
from bench.sources import read_source
from bench.turns import Journal, Row, measure, rows
from bench.works import Suite, by_name, make_work

__all__ = ["KINDS", "Size", "picture", "sizes", "table"]

KINDS = {
    "sources": (10, 100, 1000, 10_000),
    "extensions": (1, 10, 100, 1000),
}
"""What grows, and how far."""

_PEERS = ("serial", "extra-config", "parallel-compile", "parallel")


@dataclass(frozen=True, kw_only=True)
class Size:
    """So many sources of one extension, or extensions of one source each, by one peer."""

    kind: str
    count: int
    row: Row

    @property
    def milliseconds(self) -> float:
        """Time a unit."""
        return 1000 * statistics.median(self.row.wall) / self.count


def sizes(kind: str, suite: Suite, *, most: int, runs: int, journal: Journal) -> Iterator[Size]:
    """Each peer at each size, as it comes."""
    make = {"sources": one_extension, "extensions": many_extensions}[kind]
    variables = {**sleeping_compilers(suite.cache / "sleeper"), "SLEEPER_SECONDS": "0"}
    for count in KINDS[kind]:
        if count > most:
            return
        name = f"{count} {kind}"
        tree = make(suite.cache / f"made-{kind}{count}", count)
        work = make_work(read_source(tree, name=name), suite)
        ways = [
            by_name(peer, work, suite, variables=variables)
            for peer in suite.peers
            if peer in _PEERS
        ]
        found, errors = measure(name, ways, runs=runs, journal=journal)
        for row in rows(name, ways, found, errors):
            if row.wall:
                yield Size(kind=kind, count=count, row=row)


def table(found: Sequence[Size]) -> str:
    """A line for each size and peer. Memory is that of the largest process."""
    least: dict[tuple[str, str], Size] = {}
    cells = []
    for size in found:
        first = least.setdefault((size.kind, size.row.peer), size)
        grown = "-"
        if size is not first:
            more = size.row.memory - first.row.memory
            grown = f"{more / (size.count - first.count):.1f}"
        ratio = "-" if size.row.ratio is None else f"{size.row.ratio:.3f}"
        cells.append(
            [
                *(size.kind, str(size.count), size.row.peer),
                f"{statistics.median(size.row.wall):.2f}",
                f"{size.milliseconds:.2f}",
                ratio,
                f"{size.row.memory / 1024:.1f}",
                grown,
            ]
        )
    columns = ["of", "count", "peer", "s", "ms a unit", "ratio", "MiB", "KiB a unit"]
    return report.markdown(columns, cells)


def picture(kind: str, found: Sequence[Size]) -> str:
    """Milliseconds a unit, a line a peer."""
    series: dict[str, list[tuple[float, float]]] = {}
    for size in found:
        series.setdefault(size.row.peer, []).append((size.count, size.milliseconds))
    title = f"Time for each of many {kind}, with a compiler that takes none"
    return plot.lines(title, series, x=kind, y="ms a unit", base=10, log_y=True)
