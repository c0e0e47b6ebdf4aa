"""A build laid out in job slots: what ran in which row, and what was work at each moment."""

from __future__ import annotations

import bisect
import heapq
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from parallel_backend.tools.timings.events import Event
from parallel_backend.tools.timings.intervals import Intervals, levels, minus, union

__all__ = ["WORK", "Piece", "Source", "Timeline", "Unit", "lay_out"]

#: What makes something of sources, and of what was made of them.
WORK = ("compile", "link", "archive", "swig")
_SERIAL = ("hook", "command", "project", "step", "program")
_BUILT = (*WORK, "translation")


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
    :param cpu: nanoseconds; None: not known.
    :param peak: bytes; None: not known.
    :param is_most: the peak may be less than that, but not more.
    """

    event: Event
    project: int
    row: int
    extension: str
    cpu: int | None
    peak: int | None
    is_most: bool


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
    of_source = {
        os.path.normpath(event.name): event.details["extension"]
        for event in reversed(events)
        if event.kind == "compile" and event.details.get("extension")
    }
    for event in events:
        if event.kind == "slot":
            continue
        details = event.details
        peak = details.get("peak") or None
        yield Unit(
            event=event,
            project=project,
            row=-1 if event.kind == "wait" else rows.row(project, event),
            extension=details.get("extension") or of_source.get(details.get("makes", ""), ""),
            cpu=None if event.kind in ("project", "step", "wait") else details.get("cpu"),
            peak=peak,
            is_most=peak is not None and peak <= details.get("least", 0),
        )


def _pieces(units: Sequence[Unit], project: int) -> list[Piece]:
    """What of a project's time was work, in which slot."""
    built = [_piece(unit) for unit in units if unit.event.kind in _BUILT]
    # setup.py runs on beside the recorder, and where it has started a program and does not wait.
    beside = [
        _piece(unit)
        for unit in units
        if unit.event.kind == "recorder" or (unit.event.kind == "program" and unit.event.slot)
    ]
    serial = _serial(units, project, union((piece.begin, piece.end) for piece in built))
    return built + beside + serial


def _piece(unit: Unit) -> Piece:
    event = unit.event
    return Piece(
        kind=event.kind,
        project=unit.project,
        row=unit.row,
        begin=event.begin,
        end=event.end,
        unit=unit,
    )


def _serial(units: Iterable[Unit], project: int, work: Intervals) -> list[Piece]:
    own = [unit for unit in units if unit.event.kind in _SERIAL and not unit.event.slot]
    if not own:
        return []
    window = union((unit.event.begin, unit.event.end) for unit in own)
    return [
        Piece(kind="serial", project=project, row=own[0].row, begin=begin, end=end)
        for begin, end in minus(window, work)
    ]
