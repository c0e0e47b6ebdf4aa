"""Sets of moments: lists of pairs, begin and end, in order, none touching the next."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

__all__ = ["Intervals", "both", "length", "levels", "minus", "union"]

Intervals = list[tuple[int, int]]


def union(pairs: Iterable[tuple[int, int]]) -> Intervals:
    """The moments that are in any of the pairs."""
    found: Intervals = []
    for begin, end in sorted(pairs):
        if found and begin <= found[-1][1]:
            if end > found[-1][1]:
                found[-1] = found[-1][0], end
        elif end > begin:
            found.append((begin, end))
    return found


def both(first: Intervals, second: Intervals) -> Intervals:
    """The moments that are in both."""
    found: Intervals = []
    i = j = 0
    while i < len(first) and j < len(second):
        begin = max(first[i][0], second[j][0])
        end = min(first[i][1], second[j][1])
        if begin < end:
            found.append((begin, end))
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return found


def minus(first: Intervals, second: Intervals) -> Intervals:
    """The moments of the first that are not in the second."""
    if not first:
        return []
    low, high = first[0][0], first[-1][1]
    edges = [low, *(edge for pair in second for edge in pair), high]
    gaps = [(edges[i], edges[i + 1]) for i in range(0, len(edges), 2)]
    return both(first, [(max(a, low), min(b, high)) for a, b in gaps if max(a, low) < min(b, high)])


def length(intervals: Iterable[tuple[int, int]]) -> int:
    """How long they are together."""
    return sum(end - begin for begin, end in intervals)


def levels(sets: Iterable[Intervals]) -> list[tuple[int, int, int]]:
    """How many of these sets each moment is in: begin, end, number."""
    changes: dict[int, int] = {}
    for intervals in sets:
        for begin, end in intervals:
            changes[begin] = changes.get(begin, 0) + 1
            changes[end] = changes.get(end, 0) - 1
    found: list[tuple[int, int, int]] = []
    number = 0
    for here, after in pairwise(sorted(changes)):
        number += changes[here]
        if found and found[-1][2] == number:
            found[-1] = found[-1][0], after, number
        else:
            found.append((here, after, number))
    return found
