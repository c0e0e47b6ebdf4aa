"""The trace: JSON in the Trace Event Format, which Perfetto and ``chrome://tracing`` open.

A process is a project, a thread is a job slot, and one more thread tells when it waited for a job
token. Times are microseconds from the first moment of the build. What runs in the first slot is
nested in the slices of the hook and its commands.

Source: "Trace Event Format", the document that Chromium's tracing links to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from parallel_backend.tools.timings.timeline import Timeline, Unit

__all__ = ["trace"]

_WAITS = 100_000  # the number of the row for waits, after all slots


def trace(timeline: Timeline, *, told: dict[str, Any]) -> str:
    """The file's text; `told`: facts of the build that tools may show."""
    whole = {
        "traceEvents": [*_names(timeline), *_slices(timeline), *_jobs(timeline)],
        "displayTimeUnit": "ms",
        "otherData": {name: str(value) for name, value in told.items()},
    }
    return json.dumps(whole, separators=(",", ":")) + "\n"


def _names(timeline: Timeline) -> Iterator[dict[str, Any]]:
    """What processes and threads are called, and in which order they are shown."""
    rows = {(unit.project, _thread(unit)) for unit in timeline.units}
    for project, label in enumerate(timeline.projects):
        yield _name("process_name", project, 0, name=label)
        yield _name("process_sort_index", project, 0, sort_index=project)
    for project, row in sorted(rows):
        label = "waiting for a job token" if row == _WAITS else f"job slot {row + 1}"
        yield _name("thread_name", project, row, name=label)
        yield _name("thread_sort_index", project, row, sort_index=row)


def _name(what: str, project: int, row: int, **values: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": project + 1, "tid": row + 1, "args": values}


def _thread(unit: Unit) -> int:
    return unit.row if unit.row >= 0 else _WAITS


def _slices(timeline: Timeline) -> Iterator[dict[str, Any]]:
    for unit in timeline.units:
        event = unit.event
        told: dict[str, Any] = {"result": event.result, "process": event.process}
        if unit.extension:
            told["extension"] = unit.extension
        if unit.cpu is not None:
            told["cpu_seconds"] = round(unit.cpu / 1e9, 6)
        if unit.peak is not None:
            told["peak_memory_at_most_bytes" if unit.is_most else "peak_memory_bytes"] = unit.peak
        if "error" in event.details:
            told["error"] = event.details["error"]
        for name in ("run", "why"):
            if name in event.details:
                told[name] = event.details[name]
        if "status" in event.details:
            told["exit_status"] = event.details["status"]
        yield {
            "ph": "X",
            "name": event.name,
            "cat": "cache hit"
            if event.result == "reused"
            else _CATEGORIES.get(event.kind, event.kind),
            "ts": _micro(event.begin - timeline.begin),
            "dur": _micro(event.length),
            "pid": unit.project + 1,
            "tid": _thread(unit) + 1,
            "args": told,
        }


_CATEGORIES = {"wait": "wait for a token"}


def _jobs(timeline: Timeline) -> Iterator[dict[str, Any]]:
    """How many jobs ran at each moment, as a counter of the first project."""
    for begin, _, number in [*timeline.jobs, (timeline.end, 0, 0)]:
        yield {
            "ph": "C",
            "name": "jobs",
            "ts": _micro(begin - timeline.begin),
            "pid": 1,
            "args": {"jobs": number},
        }


def _micro(nanoseconds: int) -> float:
    return round(nanoseconds / 1000, 3)
