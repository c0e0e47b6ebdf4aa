"""The page: one HTML file that needs no network.

What was recorded stands in it as JSON, in an element that no browser runs. Names of files are
whatever a project chose: only the script puts them into the page, as text. A policy in the head
lets nothing else run, by hash, and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parallel_backend.tools.timings.path import Step
from parallel_backend.tools.timings.timeline import Timeline, Unit
from parallel_backend.tools.timings.verdicts import Verdict

__all__ = ["page"]

_FOLDER = Path(__file__).parent


def page(
    timeline: Timeline,
    *,
    title: str,
    told: dict[str, Any],
    path: Sequence[Step],
    verdicts: Sequence[Verdict],
) -> str:
    """The file's text; `told`: facts of the build, by their names for humans."""
    # Parts of one script, in one scope of their own.
    script = "".join(map(_text, ("page.js", "picture.js", "table.js")))
    script = f'"use strict";\n{{\n{script}}}\n'
    units = timeline.units
    numbers = {id(unit): number for number, unit in enumerate(units)}
    data = {
        "title": title,
        "told": [[name, str(value)] for name, value in told.items()],
        "slots": timeline.slots,
        "rows": timeline.rows,
        "length": _seconds(timeline.length),
        "projects": timeline.projects,
        "units": [_unit(unit, timeline) for unit in units],
        "serial": [
            [
                piece.row,
                _seconds(piece.begin - timeline.begin),
                _seconds(piece.end - timeline.begin),
            ]
            for piece in timeline.pieces
            if piece.kind == "serial"
        ],
        "jobs": [
            [_seconds(begin - timeline.begin), _seconds(end - timeline.begin), number]
            for begin, end, number in timeline.jobs
        ],
        "path": [
            [step.kind, step.text, _seconds(step.nanoseconds), numbers.get(id(step.unit), -1)]
            for step in path
        ],
        "verdicts": [
            [each.kind, each.title, each.text, each.advice, each.share] for each in verdicts
        ],
    }
    # In a script element only "</script" and "<!--" mean anything.
    encoded = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "script-hash": _hash(script),
        "style": _text("page.css"),
        "script": script,
        "data": encoded,
    }
    # In one go: names may hold such a word, too.
    return re.sub(f"@({'|'.join(parts)})@", lambda match: parts[match[1]], _text("page.html"))


def _text(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _unit(unit: Unit, timeline: Timeline) -> list[Any]:
    event = unit.event
    return [
        event.kind,
        event.name,
        unit.project,
        unit.extension,
        unit.row,
        _seconds(event.begin - timeline.begin),
        _seconds(event.length),
        None if unit.cpu is None else _seconds(unit.cpu),
        unit.peak,
        int(unit.is_most),
        event.result,
        event.details.get("error", ""),
        event.details.get("run", ""),
        event.details.get("why", ""),
    ]


def _seconds(nanoseconds: int) -> float:
    return round(nanoseconds / 1e9, 6)
