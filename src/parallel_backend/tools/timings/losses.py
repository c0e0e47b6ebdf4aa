"""Job slots that were empty, and what went on meanwhile."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from parallel_backend.tools.timings.intervals import Intervals, both, length, minus, union
from parallel_backend.tools.timings.timeline import WORK, Timeline, Unit

__all__ = ["Losses", "blamed"]


def blamed(timeline: Timeline, moments: Intervals) -> dict[Unit, int]:
    """For each moment in which slots are empty: the unit at work there that takes longest."""
    full = union((begin, end) for begin, end, number in timeline.jobs if number >= timeline.slots)
    moments = minus(moments, full)
    pieces = [p for p in timeline.pieces if p.kind in WORK and p.unit]
    blame: dict[Unit, int] = defaultdict(int)
    running: list[tuple[int, int, int, Unit]] = []
    edges = sorted({edge for p in pieces for edge in (p.begin, p.end)})
    spans: dict[Unit, list[tuple[int, int]]] = defaultdict(list)
    at = 0
    for begin, end in pairwise(edges):
        while at < len(pieces) and pieces[at].begin <= begin:
            piece = pieces[at]
            if piece.unit is not None:
                item = (-(piece.end - piece.begin), at, piece.end, piece.unit)
                heapq.heappush(running, item)
            at += 1
        while running and running[0][2] <= begin:
            heapq.heappop(running)
        if running:
            spans[running[0][3]].append((begin, end))
    for unit, parts in spans.items():
        empty = length(both(union(parts), moments))
        if empty:
            blame[unit] = empty
    return blame


class Losses:
    """Empty slots, by what went on meanwhile. Numbers are slots times nanoseconds."""

    def __init__(self, timeline: Timeline) -> None:
        self.capacity = max(1, timeline.slots * timeline.length)
        self._jobs = timeline.jobs
        self._slots = timeline.slots
        work = union((piece.begin, piece.end) for piece in timeline.pieces if piece.kind in WORK)
        translated = union((p.begin, p.end) for p in timeline.pieces if p.kind == "translation")
        whole = [(timeline.begin, timeline.end)] if timeline.length else []
        full = union((begin, end) for begin, end, n in timeline.jobs if n >= timeline.slots)
        self.waits = minus(timeline.waits, full)
        self.work = minus(work, self.waits)
        self.translation = minus(minus(translated, work), self.waits)
        serial = minus(minus(minus(whole, work), translated), self.waits)
        self.serial = serial
        self.used = sum((end - begin) * number for begin, end, number in timeline.jobs)

    def share(self, moments: Intervals) -> float:
        """What was lost in these moments, of what all slots could have done."""
        return self.lost(moments) / self.capacity

    def lost(self, moments: Intervals) -> int:
        total = self._slots * length(moments)
        for begin, end, number in _clipped(self._jobs, moments):
            total -= (end - begin) * min(number, self._slots)
        return total


def _clipped(
    jobs: Sequence[tuple[int, int, int]], moments: Intervals
) -> list[tuple[int, int, int]]:
    found = []
    i = 0
    for begin, end, number in jobs:
        while i < len(moments) and moments[i][1] <= begin:
            i += 1
        j = i
        while j < len(moments) and moments[j][0] < end:
            found.append((max(begin, moments[j][0]), min(end, moments[j][1]), number))
            j += 1
    return found
