"""A build laid out in job slots: what ran in which row, and what was work at each moment."""

from __future__ import annotations

import bisect
import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from parallel_backend.tools.timings.events import Event
from parallel_backend.tools.timings.intervals import Intervals, levels, minus, union

__all__ = ["Piece", "Source", "Timeline", "Unit", "lay_out"]

_SERIAL = ("hook", "command", "project", "step", "program")
_BUILT = ("compile", "link", "archive", "swig", "translation", "recorder")


@dataclass(frozen=True, kw_only=True)
class Source:
    """The records of one project."""

    label: str
    events: Sequence[Event]


@dataclass(kw_only=True, eq=False)
class Unit:
    """Something that ran, in a row of the picture.

    :param project: an index.
    :param row: the job slot, from 0 on; -1: none, it only waited.
    :param extension: the one that it belongs to, or "".
    :param cpu: nanoseconds, of its own and of the processes that it ran; None: not known.
    :param peak: bytes of the largest of these processes; None: not known.
    :param is_most: the peak may be less than that, but not more.
    :param is_part: it is the program that another unit consists of, and counted there.
    """

    event: Event
    project: int
    row: int
    extension: str
    cpu: int | None
    peak: int | None
    is_most: bool
    is_part: bool = False


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Time in which a slot was at work; `unit` is None where setup.py and setuptools were."""

    kind: str
    project: int
    row: int
    begin: int
    end: int
    unit: Unit | None = None


@dataclass(kw_only=True)
class Timeline:
    """A whole build, or many. Times are nanoseconds of the monotonic clock."""

    projects: list[str]
    slots: int
    begin: int
    end: int
    rows: int = 0
    units: list[Unit] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    #: When something could have run and there was no token for it.
    waits: Intervals = field(default_factory=list)
    #: How many slots were at work: begin, end, number.
    jobs: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Nanoseconds from the first moment to the last."""
        return self.end - self.begin

    def of_kind(self, *kinds: str) -> Iterator[Unit]:
        """All units of these kinds."""
        return (unit for unit in self.units if unit.event.kind in kinds)


def lay_out(sources: Sequence[Source], *, slots: int) -> Timeline:
    """Lay out what was recorded of a build that had so many job slots."""
    known = [event for source in sources for event in source.events]
    begin = min((event.begin for event in known), default=0)
    end = max((event.end for event in known), default=0)
    made = Timeline(
        projects=[source.label for source in sources], slots=slots, begin=begin, end=end
    )
    rows = _Rows(sources)
    for number, source in enumerate(sources):
        made.units += _units(source.events, number, rows)
    made.units.sort(key=lambda unit: (unit.event.begin, -unit.event.end))
    for number in range(len(sources)):
        mine = [unit for unit in made.units if unit.project == number and unit.row >= 0]
        made.pieces += _pieces(mine, number)
    made.pieces.sort(key=lambda piece: (piece.begin, piece.end))
    made.rows = 1 + max((0, *(unit.row for unit in made.units)))
    made.waits = union((unit.event.begin, unit.event.end) for unit in made.of_kind("wait"))
    busy: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for piece in made.pieces:
        busy[piece.row].append((piece.begin, piece.end))
    made.jobs = levels(map(union, busy.values()))
    return made


class _Rows:
    """Where each project's slots are drawn: the first row that is free as long as one is held."""

    def __init__(self, sources: Sequence[Source]) -> None:
        held: list[tuple[int, int, int, int]] = []
        for number, source in enumerate(sources):
            own = [event for event in source.events if event.kind != "wait" and not event.slot]
            if own:
                first, last = min(e.begin for e in own), max(e.end for e in own)
                held.append((first, last, number, 0))
            tokens = (event for event in source.events if event.kind == "slot")
            held += ((token.begin, token.end, number, token.slot) for token in tokens)
        self._of: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        ends: list[tuple[int, int]] = []
        free: list[int] = []
        for begin, end, number, slot in sorted(held):
            while ends and ends[0][0] <= begin:
                heapq.heappush(free, heapq.heappop(ends)[1])
            row = heapq.heappop(free) if free else len(ends)
            heapq.heappush(ends, (end, row))
            self._of[number, slot].append((begin, row))
        self._most = max((row for rows in self._of.values() for _, row in rows), default=-1)

    def row(self, project: int, event: Event) -> int:
        known = self._of.get((project, event.slot))
        if not known:  # a hook that was killed has given nothing back
            self._most += 1
            known = self._of[project, event.slot] = [(event.begin, self._most)]
        return known[max(0, bisect.bisect_right(known, (event.begin, 1 << 60)) - 1)][1]


def _units(events: Sequence[Event], project: int, rows: _Rows) -> Iterator[Unit]:
    by_id = {event.id: event for event in events if event.id}
    inside: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.up:
            inside[event.up].append(event)
    for event in events:
        if event.kind == "slot":
            continue
        cpu, peak, is_most = _used(event, inside)
        yield Unit(
            event=event,
            project=project,
            row=-1 if event.kind == "wait" else rows.row(project, event),
            extension=str(event.details.get("extension") or ""),
            cpu=cpu,
            peak=peak,
            is_most=is_most,
            is_part=event.kind == "program" and _is_built(by_id.get(event.up)),
        )


def _is_built(event: Event | None) -> bool:
    return event is not None and event.kind in _BUILT


def _used(event: Event, inside: dict[str, list[Event]]) -> tuple[int | None, int | None, bool]:
    """CPU time and peak memory, and whether the peak is only known to be no more."""
    own = None if event.kind in ("project", "step", "wait") else event.details.get("cpu")
    cpus = [] if own is None else [own]
    peaks: list[tuple[int, bool]] = []
    below = [event]
    if event.kind in _BUILT:
        waiting = list(inside.get(event.id, ()))
        while waiting:
            other = waiting.pop()
            waiting += inside.get(other.id, ())
            below.append(other)
            if other.kind == "program" and "cpu" in other.details:
                cpus.append(other.details["cpu"])
    for other in below:
        peak = other.details.get("peak")
        if peak:
            peaks.append((peak, peak <= other.details.get("least", 0)))
    peak, is_most = max(peaks, default=(None, False))
    return (sum(cpus) if cpus else None), peak, is_most


def _pieces(units: Sequence[Unit], project: int) -> list[Piece]:
    """What of a project's time was work, in which slot."""
    found = [
        Piece(
            kind=unit.event.kind,
            project=project,
            row=unit.row,
            begin=unit.event.begin,
            end=unit.event.end,
            unit=unit,
        )
        for unit in units
        if unit.event.kind in _BUILT
    ]
    return found + _serial(units, project, union((p.begin, p.end) for p in found))


def _serial(units: Iterable[Unit], project: int, work: Intervals) -> list[Piece]:
    own = [unit for unit in units if unit.event.kind in _SERIAL and not unit.event.slot]
    if not own:
        return []
    window = union((unit.event.begin, unit.event.end) for unit in own)
    return [
        Piece(kind="serial", project=project, row=own[0].row, begin=begin, end=end)
        for begin, end in minus(window, work)
    ]
