"""What a source may cost to compile, so that the longest job does not start last.

Size alone misleads: a small file may include templates twenty times over. So it is the size of a
source with its ``#include "..."`` files expanded, as often as they are included unless guarded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = ["Costs"]

_INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)
_GUARD = re.compile(
    rb"\A(?:\s|//[^\n]*+|/\*.*?\*/)*+"
    rb"#[ \t]*(?:pragma[ \t]+once|ifndef[ \t]+(\w+)\s+#[ \t]*define[ \t]+(\w+))",
    re.DOTALL,
)

# What Cython makes of a file is much longer than the file.
_TRANSLATED = {".pyx": 30, ".py": 30}

_MOST_FILES = 2000
_MOST_NAMES = 20_000
_DEEPEST = 50


class Costs:
    """Costs in bytes. Files are read once; the work for one source is bounded.

    `read`: gives what a file holds, None for one that is not there.
    """

    def __init__(self, read: Callable[[str], bytes | None] | None = None) -> None:
        self._files: dict[str, tuple[int, list[str], bool] | None] = {}
        self._read = read or _read

    def of_extension(self, extension: Any) -> int:
        """The cost of all sources of an `Extension`."""
        return sum(
            self.of_source(os.fspath(source), extension.include_dirs or ())
            for source in extension.sources or ()
        )

    def of_source(self, source: str, include_dirs: Iterable[str] = ()) -> int:
        """The cost of one source. A file that cannot be read costs nothing."""
        self._left, self._names = _MOST_FILES, _MOST_NAMES
        factor = _TRANSLATED.get(os.path.splitext(source)[1], 1)
        folders = [folder for folder in include_dirs if not os.path.isabs(folder)]
        return factor * self._expanded(source, folders, set(), 0)

    def _expanded(self, path: str, folders: Sequence[str], seen: set[str], depth: int) -> int:
        facts = self._facts(path)
        if facts is None or path in seen or depth > _DEEPEST or self._left <= 0:
            return 0
        self._left -= 1
        size, includes, guarded = facts
        if guarded:
            seen.add(path)
        here = os.path.dirname(path)
        for name in includes:
            self._names -= 1
            if self._names < 0:
                break
            for folder in (here, *folders):
                candidate = os.path.normpath(os.path.join(folder, name))
                if self._facts(candidate) is not None:
                    size += self._expanded(candidate, folders, seen, depth + 1)
                    break
        return size

    def _facts(self, path: str) -> tuple[int, list[str], bool] | None:
        """Size, included names, and whether a second inclusion is empty."""
        if path not in self._files:
            data = self._read(path)
            self._files[path] = None if data is None else _facts_of(data)
        return self._files[path]


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except (OSError, ValueError):
        return None


def _facts_of(data: bytes) -> tuple[int, list[str], bool]:
    guard = _GUARD.match(data[:8192])
    guarded = guard is not None and guard[1] == guard[2]
    return len(data), [os.fsdecode(name) for name in _INCLUDE.findall(data)], guarded
