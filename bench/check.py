"""The ratios of today beside those that are committed: has anything become slower than noise?

``bench/committed.json`` holds the ratio of each turn, to the serial build of the same turn. The
noise of a ratio is how far apart its turns lay, then or now, and at least 5 %.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import report
from bench.turns import Row

__all__ = ["COMMITTED", "SHORT", "commit", "compare", "noise", "verdict"]

COMMITTED = Path(__file__).with_name("committed.json")
SHORT = ("made:sources16", "made:ext20")
"""Packages that take seconds, and nothing from the network but setuptools."""

_LEAST_NOISE = 0.05
_OURS = "parallel"


def noise(*turns: Sequence[float]) -> float:
    """How far from a median its turns lay at most: 0.1 is a tenth of it."""
    spreads = [(max(ratios) - min(ratios)) / statistics.median(ratios) for ratios in turns]
    return max(_LEAST_NOISE, *spreads)


def verdict(now: Sequence[float], then: Sequence[float]) -> str:
    """ "slower", "faster", or "same" where the medians differ by no more than noise."""
    change = statistics.median(now) / statistics.median(then) - 1
    if abs(change) <= noise(now, then):
        return "same"
    return "slower" if change > 0 else "faster"


def compare(rows: Sequence[Row], committed: Mapping[str, Any]) -> tuple[str, bool]:
    """A table, and whether anything is slower.

    A ratio says nothing on another number of cores or jobs; there nothing is compared.
    """
    cells, slower = [], False
    for row in rows:
        known = committed.get(row.package, {}).get(row.peer)
        if row.peer != _OURS or not row.ratios:
            continue
        line = [row.package, f"{row.ratio:.3f}"]
        if known is None or (known["cores"], known["jobs"]) != (_cores(), row.jobs):
            why = f"on {known['cores']} cores with {known['jobs']} jobs" if known else "nothing"
            cells.append([*line, "-", "-", f"committed: {why}"])
            continue
        then = known["ratios"]
        found = verdict(row.ratios, then)
        slower |= found == "slower"
        told = f"{100 * noise(row.ratios, then):.0f} %"
        cells.append([*line, f"{statistics.median(then):.3f}", told, found])
    return report.markdown(["package", "ratio", "committed", "noise", "verdict"], cells), slower


def commit(rows: Sequence[Row], path: Path = COMMITTED) -> None:
    """Keep the ratios of these rows; those of other packages stay."""
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for row in rows:
        if row.peer == _OURS and row.ratios:
            ratios = [round(ratio, 4) for ratio in row.ratios]
            facts = {"cores": _cores(), "jobs": row.jobs, "ratios": ratios}
            known.setdefault(row.package, {})[row.peer] = facts
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _cores() -> int:
    return len(os.sched_getaffinity(0))
