"""What the hooks of a project are at, read from their records while they run."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parallel_backend.timings.record import RECORDS

__all__ = ["Follower", "Work"]

# What occupies a job slot, and how it is called while it does.
_WORK = {
    "compile": "compiles", "link": "links", "translation": "translates", "archive": "archives",
    "swig": "runs SWIG for",
}  # fmt: skip
# What is about others too, or happens in the one slot that a project has anyway.
_READ = {*_WORK, "hook", "command"}


@dataclass(frozen=True, kw_only=True)
class Work:
    """Something that goes on in a job slot. `begin`: seconds of the monotonic clock."""

    does: str
    what: str
    begin: float


@dataclass(kw_only=True)
class _Record:
    """One hook's record, as far as it was read. `open`: what has begun and has not ended."""

    at: int = 0
    folder: str = ""
    open: dict[str, list[Any]] = field(default_factory=dict)


class Follower:
    """Looks into the records that hooks leave in `folder` (see `timings.session`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / RECORDS
        self._records: dict[str, _Record] = {}

    def look(self) -> list[Work]:
        """What goes on now, in the order in which it began. Where nothing is built it is the
        command of ``setup.py``."""
        found: list[Work] = []
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                record = self._records.setdefault(entry.name, _Record())
                _read_on(record, entry.path)
                with contextlib.suppress(Exception):  # a line that is none of ours
                    found += _going_on(record)
        return sorted(found, key=lambda work: work.begin)


def _read_on(record: _Record, path: str) -> None:
    try:
        with open(path, "rb") as file:
            file.seek(record.at)
            data = file.read()
    except OSError:
        return
    whole = data[: data.rfind(b"\n") + 1]
    record.at += len(whole)
    for text in whole.splitlines():
        with contextlib.suppress(Exception):  # half a line, or none of ours
            line = json.loads(text)
            if isinstance(line, list) and len(line) == 9:
                _heed(record, line)


def _heed(record: _Record, line: list[Any]) -> None:
    kind, _, _, id, _, _, _, end, details = line
    if kind not in _READ:
        return
    if end is None:
        record.folder = details.get("folder", record.folder)
        record.open[id] = line
    else:
        record.open.pop(id, None)
        if kind == "hook":
            record.open.clear()


def _going_on(record: _Record) -> Iterator[Work]:
    outer = {line[4] for line in record.open.values()}
    inner = [line for id, line in record.open.items() if id not in outer]
    work = [line for line in inner if line[0] in _WORK]
    for kind, name, _, _, _, _, begin, _, _ in work or inner:
        if kind == "hook":
            continue
        what = name.removeprefix(f"{record.folder}/")
        if kind in ("link", "archive"):
            what = os.path.basename(what)
        yield Work(does=_WORK.get(kind, "runs"), what=what, begin=begin / 1e9)
