"""How long projects took to build last, and what one takes that was never built here."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from parallel_backend.build.costs import Costs
from parallel_backend.tools.cli import archives

__all__ = ["History", "cost_of", "default_path"]

_SOURCES = {".c", ".cc", ".cpp", ".cxx", ".m", ".mm", ".pyx", ".rs"}
# What they include, and perhaps more than once.
_READ = {*_SOURCES, ".def", ".h", ".hh", ".hpp", ".hxx", ".inc", ".inl", ".ipp", ".tcc"}
_SKIPPED = {".git", ".hg", ".tox", ".nox", ".venv", "build", "node_modules", "venv"}
# Seconds that a project without sources takes, and what of the costs is compiled in a second, until
# some were built here.
_LEAST = 2.0
_SPEED = 500_000.0
_MOST = 2000
# Bytes that are read of one project to tell its cost, and of one file.
_MOST_READ = 64 << 20
_LARGEST = 16 << 20
_MOST_FOLDERS = 8


def default_path() -> Path:
    """The file in the user's cache folder (XDG Base Directory Specification)."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(cache if os.path.isabs(cache) else os.path.expanduser("~/.cache"))
    if not folder.is_absolute():  # nobody has a home here: nothing is kept
        folder = Path(os.devnull)
    return folder / "parallel-backend" / "builds.json"


def cost_of(source: Path) -> int:
    """What all sources in a folder or an archive cost (see `build.costs`), as if each were
    compiled. Headers are looked for in all folders that are called ``include``, too."""
    texts: dict[str, bytes] = {}
    left = _MOST_READ
    for name, text in _texts(source):
        left -= len(text)
        if left < 0:
            break
        texts[os.path.normpath(name)] = text
    folders = {os.path.dirname(name) for name in texts}
    include = sorted(each for each in folders if os.path.basename(each) == "include")[
        :_MOST_FOLDERS
    ]
    costs = Costs(texts.get)
    return sum(
        costs.of_source(name, include)
        for name in texts
        if os.path.splitext(name)[1].lower() in _SOURCES
    )


def _texts(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        return _files(source)
    return archives.member_texts(source, suffixes=_READ, largest=_LARGEST)


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if each not in _SKIPPED]
        for name in names:
            if os.path.splitext(name)[1].lower() in _READ:
                path = os.path.join(parent, name)
                with contextlib.suppress(OSError):
                    if os.path.isfile(path) and os.stat(path).st_size <= _LARGEST:
                        yield os.path.relpath(path, folder), Path(path).read_bytes()


class History:
    """Seconds of each project's last build, by what is built and NAME-VERSION, in a file.

    What cannot be read counts as empty, and what cannot be written is not kept: it only decides
    what begins first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: dict[str, float] = {}
        self._new: dict[str, float] = {}
        with contextlib.suppress(Exception):
            for name, value in json.loads(path.read_text(encoding="utf-8")).items():
                if isinstance(value, (int, float)) and value >= 0:
                    self._seconds[str(name)] = float(value)

    def estimates(self, sources: dict[str, Path]) -> dict[str, float]:
        """Seconds that each may take. What was never built is looked through."""
        known = {name: self._last(name) for name in sources}
        found = {name: seconds for name, seconds in known.items() if seconds is not None}
        for name in sources.keys() - found.keys():
            found[name] = _LEAST
            # What is wrong with an archive is told when it is unpacked.
            with contextlib.suppress(Exception):
                found[name] += cost_of(sources[name]) / _SPEED
        return found

    def note(self, name: str, seconds: float) -> None:
        """A build that went well took so long."""
        self._new[name] = round(seconds, 3)

    def save(self) -> None:
        """Add what was noted to the file, which others may have changed meanwhile."""
        if not self._new:
            return
        now = {**History(self._path)._seconds, **self._new}
        # The order is that of time: those that were not built for the longest time go first.
        for name in self._new:
            now[name] = now.pop(name)
        text = json.dumps(dict([*now.items()][-_MOST:]), indent=0)
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, written = tempfile.mkstemp(dir=self._path.parent)
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(written, self._path)
            except BaseException:
                os.unlink(written)
                raise

    def _last(self, name: str) -> float | None:
        """What this version took, else what the version did that was built last."""
        if name in self._seconds:
            return self._seconds[name]
        project = _project(name)
        others = [value for key, value in self._seconds.items() if _project(key) == project]
        return others[-1] if others else None


def _project(name: str) -> str:
    """The name alone, as indexes write it."""
    return re.sub(r"[-_.]+", "-", re.sub(r"-[0-9][^-]*$", "", name)).lower()
