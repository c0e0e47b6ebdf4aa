"""The critical path: what would take as long however many job slots there were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parallel_backend.tools.timings.events import Event
from parallel_backend.tools.timings.intervals import Intervals, both, length, union
from parallel_backend.tools.timings.timeline import Piece, Timeline, Unit

__all__ = ["Step", "critical_path", "serial_work"]

# Nanoseconds, and a share of the whole: a shorter moment in which nothing is built does not part
# what is before from what is after it.
_SHORT = 20_000_000
_SMALL = 0.01

_NAMES = {
    "hook": "setup.py and setuptools",
    "project": "setup.py and setuptools",
    "command": "setup.py {}",
    "program": "the program {}",
    "step": "{}",
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the path; `nanoseconds` of it are on the path. Without a unit it is serial."""

    kind: str
    text: str
    nanoseconds: int
    unit: Unit | None = None


def critical_path(timeline: Timeline) -> list[Step]:
    """The steps of the project whose path is the longest."""
    paths = [list(_path(timeline, number)) for number in range(len(timeline.projects))]
    return max(paths, key=lambda steps: sum(step.nanoseconds for step in steps), default=[])


def _path(timeline: Timeline, project: int) -> Iterator[Step]:
    """What must follow each other: serial work, and between it the longest chain of what is
    built."""
    names = serial_work(timeline, project)
    short = max(_SHORT, int(_SMALL * timeline.length))
    group: list[Piece] = []
    for piece in (piece for piece in timeline.pieces if piece.project == project):
        if piece.kind == "serial" and piece.end - piece.begin >= short:
            yield from _longest(group)
            group = []
            where = [(piece.begin, piece.end)]
            shares = {name: length(both(where, parts)) for name, parts in names.items()}
            largest = sorted(shares, key=lambda name: -shares[name])[:3]
            text = ", ".join(name for name in largest if 10 * shares[name] >= short) or "setup.py"
            yield Step(kind="serial", text=text, nanoseconds=piece.end - piece.begin)
        elif piece.unit is not None:
            group.append(piece)
    yield from _longest(group)


def _longest(group: Sequence[Piece]) -> list[Step]:
    """Of what may run at once: the longest translation, source and link of one extension.

    A translation of which it is not known what it is for stands alone.
    """
    chains: dict[tuple[str, str], dict[str, Unit]] = defaultdict(dict)
    for piece in group:
        unit = piece.unit
        if unit is None or unit.event.result == "again":
            continue
        is_alone = piece.kind == "translation" and not unit.extension
        longest = chains[unit.extension, unit.event.name if is_alone else ""]
        if piece.kind not in longest or longest[piece.kind].event.length < unit.event.length:
            longest[piece.kind] = unit
    order = ("translation", "swig", "compile", "archive", "link")
    steps = [[_step(found[kind]) for kind in order if kind in found] for found in chains.values()]
    return max(steps, key=lambda chain: sum(step.nanoseconds for step in chain), default=[])


def _step(unit: Unit) -> Step:
    event = unit.event
    return Step(kind=event.kind, text=event.name, nanoseconds=event.length, unit=unit)


def serial_work(timeline: Timeline, project: int | None = None) -> dict[str, Intervals]:
    """What ran while nothing was built, by name: the innermost command, program or step."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    numbers = range(len(timeline.projects)) if project is None else [project]
    for number in numbers:
        serial = [
            (piece.begin, piece.end)
            for piece in timeline.pieces
            if piece.kind == "serial" and piece.project == number
        ]
        events = [
            unit.event
            for unit in timeline.units
            if unit.project == number and unit.event.kind in _NAMES
        ]
        parts: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for begin, end, event in _innermost(events):
            parts[_NAMES[event.kind].format(event.name)].append((begin, end))
        for name, pairs in parts.items():
            found[name] += both(union(pairs), serial)
    return {name: union(pairs) for name, pairs in found.items()}


def _innermost(events: Sequence[Event]) -> Iterator[tuple[int, int, Event]]:
    """Each moment with the event that began last of those that go on."""
    stack: list[Event] = []
    now = 0
    for event in [*sorted(events, key=lambda e: (e.begin, -e.end)), None]:
        until = event.begin if event is not None else None
        while stack and (until is None or stack[-1].end <= until):
            top = stack.pop()
            if top.end > now:
                yield now, top.end, top
                now = top.end
        if event is None or until is None:
            return
        if stack and until > now:
            yield now, until, stack[-1]
        now = max(now, until)
        stack.append(event)
