"""How near to the floor each peer builds with more job slots than this machine has cores.

Real packages are built by a compiler that sleeps as long as each command took when it was recorded:
what sleeps costs no core. The floor is what no schedule can beat: the longest chain of a source and
its link, or all work over the slots, whichever is more. It has no Python in it, so nobody reaches
it; ninja has the sleeping commands alone.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import ninja, plot, report
from bench.made_up import SLEEP, one_extension, sleeping_compilers
from bench.recording import Command, Extension, Recorded, Recording
from bench.sources import read_source
from bench.turns import Journal, Result, Row, Way, measure, rows
from bench.works import Suite, Work, by_name, find_work, make_work, ninja_of

__all__ = ["PACKAGES", "RECORDINGS", "SLOTS", "Point", "picture", "points", "recording_of", "table"]

SLOTS = (1, 2, 4, 8, 16, 32, 64, 128)
PACKAGES = {
    "brotli==1.2.1": SLOTS,
    "librt==0.16.0": SLOTS,
    "pycryptodome==4.4.0": SLOTS,
    "made:sleep1000": SLOTS[3:],
}
"""On fewer slots the last one takes minutes."""

RECORDINGS = Path(__file__).with_name("recordings")

_PEERS = ("extra-config", "parallel-compile", "ninja", "parallel")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One package on so many slots."""

    slots: int
    floor: float
    """Seconds."""
    row: Row

    @property
    def above(self) -> float | None:
        """Its time over the floor."""
        return statistics.median(self.row.wall) / self.floor if self.row.wall else None


def recording_of(name: str) -> Recording:
    """The recording of a package, or one of ``made:sleepN``. Raises OSError if there is none."""
    made = re.fullmatch(r"made:sleep([1-9][0-9]*)", name)
    if made is None:
        return Recording.read(RECORDINGS / f"{name}.json")
    sources = {f"part_{number:04}.c": SLEEP for number in range(int(made[1]))}
    extension = Extension(name="made", sources=tuple(sources))
    return Recording(package=name, sources=sources, links={"made": 0.0}, extensions=(extension,))


def points(
    name: str, suite: Suite, *, slots: Sequence[int], runs: int, journal: Journal
) -> Iterator[Point]:
    """Each peer on each number of slots, as it comes."""
    recording = recording_of(name)
    work = _work(recording, suite)
    variables = sleeping_compilers(suite.cache / "sleeper")
    times = suite.cache / "sleeper" / f"{name.replace(':', '-')}.times"
    times.write_text(_times(recording), encoding="utf-8")
    variables["SLEEPER_TIMES"] = str(times)
    for number in slots:
        ways = [
            _replay(recording, suite, number, variables)
            if peer == "ninja"
            else by_name(peer, work, suite, jobs=number, variables=variables)
            for peer in suite.peers
            if peer in _PEERS and not (number > min(slots) and _is_serial(peer, recording))
        ]
        key = f"{name} asleep on {number}"
        found, errors = measure(key, ways, runs=runs, journal=journal)
        for row in rows(name, ways, found, errors):
            yield Point(slots=number, floor=recording.floor(number), row=row)


def _is_serial(peer: str, recording: Recording) -> bool:
    """Whether more slots change nothing: a thread an extension, and there is one."""
    return peer == "extra-config" and len(recording.extensions) == 1


def _work(recording: Recording, suite: Suite) -> Work:
    name = recording.package
    if not name.startswith("made:"):
        return find_work(name, suite)
    tree = one_extension(suite.cache / name.replace(":", "-"), len(recording.sources))
    return make_work(read_source(tree, name=name), suite)


def _times(recording: Recording) -> str:
    links = {f"link:{name}": seconds for name, seconds in recording.links.items()}
    return "".join(
        f"{seconds}\t{name}\n" for name, seconds in {**recording.sources, **links}.items()
    )


def _replay(recording: Recording, suite: Suite, slots: int, variables: dict[str, str]) -> Way:
    """Ninja, with the sleeping commands and nothing else."""
    empty = suite.cache / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    place = suite.work / "source"
    recorded = Recorded(tree=empty, place=place, commands=tuple(_commands(recording, place)))

    def replay() -> Result:
        cost = ninja.replay(
            recorded,
            ninja=ninja_of(suite),
            jobs=slots,
            work=suite.work,
            log=suite.cache / "sleeper" / f"ninja-{recording.package.replace(':', '-')}",
            variables=variables,
        )
        return Result(*cost, digest="")

    return Way(peer="ninja", jobs=slots, prepare=lambda: ninja_of(suite), build=replay)


def _commands(recording: Recording, place: Path) -> Iterator[Command]:
    number = 0
    for extension in recording.extensions:
        objects = []
        for source in extension.sources:
            number += 1
            objects.append(f"{number}.o")
            yield _command(place, "cc", "-c", source, "-o", f"{number}.o")
        yield _command(place, "cc", *objects, "-o", f"{extension.name}.so")


def _command(place: Path, *words: str) -> Command:
    return Command(words=words, folder=str(place), output=words[-1], seconds=0, sha256="")


def table(found: Sequence[Point]) -> str:
    """A line for each package and number of slots: time over the floor, by peer."""
    peers = list(dict.fromkeys(point.row.peer for point in found))
    lines: dict[tuple[str, int], list[str]] = {}
    for point in found:
        head = [point.row.package, str(point.slots), f"{point.floor:.2f}"]
        line = lines.setdefault((point.row.package, point.slots), head + ["-"] * len(peers))
        if point.above is not None:
            line[3 + peers.index(point.row.peer)] = f"{point.above:.3f}"
    return report.markdown(["package", "slots", "floor s", *peers], [*lines.values()])


def picture(package: str, found: Sequence[Point]) -> str:
    """The lines of one package."""
    series: dict[str, list[tuple[float, float]]] = {}
    for point in found:
        if point.above is not None:
            series.setdefault(point.row.peer, []).append((point.slots, point.above))
    title = f"{package}: time over the floor"
    return plot.lines(title, series, x="job slots", y="time / floor", log_y=True)
