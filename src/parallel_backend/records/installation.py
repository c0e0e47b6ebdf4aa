"""What is installed and read by commands: it does not change while a project builds.

Each source of a project reads nearly the same of it, so what was found out for one serves the next.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from parallel_backend.records.environment_prefix import from_record, to_record
from parallel_backend.records.fingerprints import Input, look_at

__all__ = ["Installation", "Part"]


class Part(NamedTuple):
    """Files and folders that one command has read.

    `line`: how they are recorded. `newest`: when one of them changed last, in nanoseconds. `whole`:
    all of them are there. `precompiled`: a compiler may have read another file in place of one.
    """

    line: bytes
    newest: int
    whole: bool
    precompiled: bool


class Installation:
    """What is installed, as it was when somebody looked first in this build."""

    def __init__(self) -> None:
        self.looks: dict[str, Input] = {}
        self._parts: dict[tuple[tuple[str, ...], tuple[str, ...]], Part] = {}
        self._held: dict[bytes, bool] = {}

    def part(self, files: tuple[str, ...], folders: tuple[str, ...] = ()) -> Part:
        """What a command has read: `files`, and `folders` for the names in them."""
        key = files, folders
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = self._look_at(files, folders)
        return part

    def holds(self, line: bytes) -> bool:
        """Whether all that was recorded is as it was. Raises ValueError or TypeError for what is no
        record."""
        held = self._held.get(line)
        if held is None:
            known = (Input(*values) for values in json.loads(line))
            held = self._held[line] = not any(map(self._has_changed, known))
        return held

    def _look_at(self, files: tuple[str, ...], folders: tuple[str, ...]) -> Part:
        read = [self._looked(path, content=True) for path in files]
        known = [*read, *(self._looked(path, content=True) for path in folders)]
        values = [[to_record(each.path), each.stamp, each.content] for each in known]
        return Part(
            line=json.dumps(values).encode("ascii") + b"\n",
            newest=max((each.stamp[0] for each in known if each.stamp), default=0),
            whole=all(each.stamp for each in read),
            precompiled=any(self._looked(f"{path}.gch").stamp for path in files),
        )

    def _looked(self, path: str, *, content: bool = False) -> Input:
        """What is at a path; `content`: with its hash."""
        now = self.looks.get(path)
        if now is None or (content and not now.content):
            now = self.looks[path] = look_at(path, content=content)
        return now

    def _has_changed(self, recorded: Input) -> bool:
        path = from_record(recorded.path)
        if self._looked(path).stamp == recorded.stamp:
            return False
        now = self._looked(path, content=bool(recorded.content))
        return not now.content or now.content != recorded.content
