"""Builds in turns (A B C A B C), what each took, and the ratios within each turn.

What else the machine does at a time falls on all peers of that turn, so a ratio is taken there, and
the median of the turns' ratios is what counts.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.builds import BuildError, say

__all__ = ["Journal", "Result", "Row", "Way", "measure", "rows"]

_REFERENCE = "serial"


class Result(NamedTuple):
    """What one build took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of the process and its children."""
    memory: int
    """KiB of the largest process."""
    digest: str
    """SHA-256 of the wheel; "" where there is none."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A peer, ready to build one package. Both raise BuildError."""

    peer: str
    jobs: int
    prepare: Callable[[], object]
    """Once, unmeasured: all that is read is then cached."""
    build: Callable[[], Result]


class Journal:
    """A file with one line for each build, so that nothing is lost, or built again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        self._found: dict[tuple[Any, ...], Result] = {}
        for line in lines:
            facts = json.loads(line)
            self._found[tuple(facts["key"])] = Result(*facts["result"])

    def get(self, *key: str | int) -> Result | None:
        """A result that was noted, in this run or before."""
        return self._found.get(key)

    def add(self, result: Result, *key: str | int) -> None:
        """Note a result."""
        self._found[key] = result
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"key": key, "result": result}) + "\n")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One package by one peer; a number for each turn."""

    package: str
    peer: str
    jobs: int
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    memory: int
    """KiB: the most of all turns."""
    ratios: tuple[float, ...]
    """To the serial build of the same turn; empty without one."""
    cpu_ratio: float | None
    wheel: str
    """"same" as the serial one to the byte, "differs", or "-"."""
    error: str = ""
    """Why it could not go on."""

    @property
    def ratio(self) -> float | None:
        """The median of the ratios."""
        return statistics.median(self.ratios) if self.ratios else None


def measure(
    package: str, ways: Sequence[Way], *, runs: int, journal: Journal
) -> tuple[dict[str, list[Result]], dict[str, str]]:
    """Build by each way in turn, `runs` times: the results, and why a peer could not go on.

    A turn that the journal has is not built again. A peer that fails takes no further turns; the
    others go on.
    """
    found: dict[str, list[Result]] = {way.peer: [] for way in ways}
    errors: dict[str, str] = {}
    prepared: set[str] = set()
    for turn in range(runs):
        known = {way.peer: journal.get(package, way.peer, way.jobs, turn) for way in ways}
        whole = all(known.values())
        for way in ways:
            result = known[way.peer] if whole else None
            if result is None and way.peer not in errors:
                try:
                    if way.peer not in prepared:
                        way.prepare()
                        prepared.add(way.peer)
                    result = way.build()
                except (BuildError, OSError, subprocess.SubprocessError) as error:
                    errors[way.peer] = str(error)
                    say(f"{package}: {way.peer} fails: {error}")
                    continue
                journal.add(result, package, way.peer, way.jobs, turn)
            if result is not None:
                found[way.peer].append(result)
                say(
                    f"{package} {turn + 1}/{runs} {way.peer}:"
                    f" {result.wall:.2f} s, CPU {result.cpu:.2f} s"
                )
    return found, errors


def rows(
    package: str,
    ways: Iterable[Way],
    found: Mapping[str, Sequence[Result]],
    errors: Mapping[str, str],
) -> Iterator[Row]:
    """A row for each peer."""
    reference = found.get(_REFERENCE, ())
    for way in ways:
        results = found[way.peer]
        pairs = [*zip(results, reference, strict=False)]
        cpu_ratios = [one.cpu / other.cpu for one, other in pairs]
        yield Row(
            package=package,
            peer=way.peer,
            jobs=way.jobs,
            wall=tuple(one.wall for one in results),
            cpu=tuple(one.cpu for one in results),
            memory=max((one.memory for one in results), default=0),
            ratios=tuple(one.wall / other.wall for one, other in pairs),
            cpu_ratio=statistics.median(cpu_ratios) if pairs else None,
            wheel=_compared(way.peer, pairs),
            error=errors.get(way.peer, ""),
        )


def _compared(peer: str, pairs: Sequence[tuple[Result, Result]]) -> str:
    if peer == _REFERENCE or not pairs or not all(one.digest for one, _ in pairs):
        return "-"
    return "same" if all(one.digest == other.digest for one, other in pairs) else "differs"
