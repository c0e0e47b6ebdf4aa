"""What came of a run: a table for people, JSON for machines, the end of a log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from parallel_backend.tools.cli.building import Building, Result

__all__ = ["as_json", "log_lines", "printable", "result_text", "table", "totals"]

_TITLES = ("project", "file", "time", "compiled", "reused", "result")
_RIGHT = (2, 3, 4)
_LONGEST_NOTE = 100


def table(buildings: Sequence[Building]) -> list[str]:
    """The lines of a table with a row for each project, in the order that they were named in."""
    rows = [_TITLES, *(_row(each) for each in buildings)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_TITLES))]
    return [_line(row, widths) for row in rows]


def totals(buildings: Sequence[Building], *, seconds: float, jobs: int) -> str:
    """One line over all of them."""
    states = [each.result.status for each in buildings]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    number = f"{len(states)} project" + ("" if len(states) == 1 else "s")
    return f"{number} in {seconds:.1f} s on {jobs} job" + ("" if jobs == 1 else "s") + f": {counts}"


def result_text(result: Result) -> str:
    """How a build ended, in a few words."""
    if result.status == "built":
        own = not result.backend.startswith("parallel_backend")
        text = f"built by {result.backend}" if own else "built"
    else:
        text = result.status
    note = result.note if len(result.note) <= _LONGEST_NOTE else result.note[:97] + "..."
    return printable(f"{text}: {note}" if note else text)


def log_lines(path: Path, *, most: int | None = None) -> list[str]:
    """The lines of a log, or its last ones."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return lines if most is None else lines[-most:]


def printable(text: str) -> str:
    """One line, in which nothing steers a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def as_json(buildings: Sequence[Building], *, seconds: float, jobs: int) -> str:
    """All that is known."""
    projects = [
        {
            "project": each.label,
            "source": str(each.source),
            "status": each.result.status,
            "file": None if each.result.file is None else str(each.result.file),
            "seconds": round(each.result.seconds, 3),
            "backend": each.result.backend or None,
            "note": each.result.note or None,
            "compiled": each.result.compiled,
            "reused": each.result.reused,
            "log": str(each.log) if each.log.exists() else None,
        }
        for each in buildings
    ]
    whole = {"jobs": jobs, "seconds": round(seconds, 3), "projects": projects}
    return json.dumps(whole, indent=2)


def _row(building: Building) -> tuple[str, ...]:
    result = building.result
    return (
        printable(building.label),
        "-" if result.file is None else printable(result.file.name),
        f"{result.seconds:.1f} s" if result.seconds else "-",
        "-" if result.compiled is None else str(result.compiled),
        "-" if result.reused is None else str(result.reused),
        result_text(result),
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if at in _RIGHT else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
