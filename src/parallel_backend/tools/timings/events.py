"""What was recorded, read back: what began and never ended is closed, what did not count marked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Event", "read_events"]

_KINDS = (
    "hook", "command", "recorder", "compile", "link", "archive", "swig", "translation", "program",
    "project", "step", "wait", "slot",
)  # fmt: skip


@dataclass(kw_only=True, eq=False)
class Event:
    """Something that was going on, in nanoseconds of the monotonic clock.

    :param up: the id of what it happened in.
    :param slot: the job slot, by the number that its hook knew it by.
    :param result: done, reused, failed, cancelled (by another one's failure), or again: it ran, and
        as what it made could not be used, something ran in its place.
    :param details: what else was noted: `cpu` (nanoseconds), `peak` (bytes), `least` (bytes: a
        peak cannot be told that is below), `error`, `status`, `extension`, `makes` (the file that a
        translation is for), `run` (ahead or live), `why` (a command did not run ahead, or a
        recorder stopped), `again` (the id of what it ran in place of).
    """

    kind: str
    name: str
    process: int
    id: str = ""
    up: str = ""
    slot: int = 0
    begin: int
    end: int
    result: str = "done"
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Nanoseconds."""
        return self.end - self.begin


def read_events(path: Path) -> list[Event]:
    """What a record tells, in the order in which it began. Paths are told from the folder of its
    hook."""
    noted: dict[str, list[Any]] = {}
    for number, line in enumerate(_lines(path)):
        id = line[3] or str(number)
        if id in noted:  # more is known by now
            line[8] = {**noted[id][8], **line[8]}
        noted[id] = line
    lines = noted.values()
    last = max((max(begin, end or 0) for *_, begin, end, _ in lines), default=0)
    folder = next((line[8]["folder"] for line in lines if "folder" in line[8]), "")
    events = {}
    for id, line in noted.items():
        line[1] = line[1].removeprefix(f"{folder}/")
        if "makes" in line[8]:
            line[8]["makes"] = line[8]["makes"].removeprefix(f"{folder}/")
        if line[7] is None:
            line[7] = last
            line[8]["result"] = "cancelled"
        events[id] = _event(*line)
    for event in events.values():
        instead_of = events.get(event.details.get("again", ""))
        if instead_of is not None:
            instead_of.result = "again"
    return sorted(events.values(), key=lambda event: (event.begin, -event.end))


def _event(  # noqa: PLR0913, PLR0917 - what a line holds
    kind: str,
    name: str,
    process: int,
    id: str,
    up: str,
    slot: int,
    begin: int,
    end: int,
    details: dict[str, Any],
) -> Event:
    if "error" in details:
        details["error"] = _plain(details["error"])
    result = details.pop("result", "failed" if details.get("status") else "done")
    return Event(
        kind=kind,
        name=_plain(name),
        process=process,
        id=id,
        up=up,
        slot=slot,
        begin=begin,
        end=end,
        result=result,
        details=details,
    )


def _lines(path: Path) -> Iterator[list[Any]]:
    try:
        data = path.read_bytes()
    except OSError:  # its hook has noted nothing
        return
    for text in data.splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # half a line: the disk was full
            continue
        if isinstance(line, list) and len(line) == 9 and line[0] in _KINDS:
            yield line


def _plain(name: str) -> str:
    """Names of files may hold bytes that are no text."""
    return name.encode("utf-8", "backslashreplace").decode()
