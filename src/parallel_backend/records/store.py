"""The object store: what commands have made, each with a record of what it was made from.

It lies in the project's ``build/`` folder, and is safe to delete at any time. A file holds the
record, a line of JSON, one more of what is installed, and then the object, byte for byte. It is
written under another name and renamed, so two builds can share the store, and one that is killed
leaves nothing that is half.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parallel_backend.records.fingerprints import digest

__all__ = ["Store", "open_store"]

_NAME = "parallel-backend"
_TAG = """\
Signature: 8a477f597d28d172789f06886806bc55
# Objects that parallel_backend has compiled. It is safe to delete this folder.
"""  # https://bford.info/cachedir/

# Seconds after which a file under a temporary name is one of a build that was killed.
_FORGOTTEN = 24 * 3600

_number = itertools.count()


def open_store(build: Path, private: Path, *, limit: int, fresh: bool) -> Store:
    """The store below a project's ``build`` folder; one in the hook's private folder where that
    one cannot be written."""
    folder = build.absolute() / _NAME
    try:
        (folder / "objects").mkdir(parents=True, exist_ok=True)
        for name, text in ((".gitignore", "*\n"), ("CACHEDIR.TAG", _TAG)):
            if not (folder / name).exists():
                (folder / name).write_text(text, encoding="ascii")
        if not os.access(folder / "objects", os.W_OK):
            raise PermissionError
    except OSError:
        folder = private / _NAME
        (folder / "objects").mkdir(parents=True, exist_ok=True)
    return Store(folder / "objects", limit=limit, only=private.name if fresh else None)


class Store:
    """Objects by keys.

    `limit`: bytes that `trim` leaves. `only`: take nothing but what the build of this name has
    kept.
    """

    def __init__(self, folder: Path, *, limit: int, only: str | None = None) -> None:
        self.folder = str(folder)
        self._folder = folder
        self._limit = limit
        self._only = only
        #: Bytes kept by this build.
        self._kept = 0

    def has_earlier(self) -> bool:
        """Whether there may be an object of an earlier build to be taken."""
        if self._only is not None:
            return False
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            return any(True for _ in entries)
        return False

    def take(
        self, key: str, target: str, *, holds: Callable[[dict[str, Any], bytes], bool], mode: int
    ) -> dict[str, Any] | None:
        """Write the object of `key` to `target`, if there is one and its record holds; the record.

        `holds`: is given the record, and its line of what is installed. `mode`: the permissions.
        """
        path = self._folder / key
        try:
            with path.open("rb") as stream:
                record: dict[str, Any] = json.loads(stream.readline())
                line = stream.readline()
                if self._only not in (None, record["build"]) or not holds(record, line):
                    return None
                data = stream.read()
            if digest(data) != record["content"]:  # a disk that was full, a machine that went down
                path.unlink()
                return None
            _write(target, data, mode=mode)
            with contextlib.suppress(OSError):  # it is somebody else's
                os.utime(path)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None
        return record

    def keep(self, key: str, path: str, record: dict[str, Any], line: bytes, *, build: str) -> None:
        """Keep what a command has made at `path`. A full disk is no reason for a build to fail.

        `line`: of what is installed, with its end.
        """
        temporary = self._folder / f"tmp-{os.getpid()}-{threading.get_ident()}-{next(_number)}"
        with contextlib.suppress(OSError):
            size = os.path.getsize(path)
            if size > self._limit or not self._has_room_for(size):
                return
            with open(path, "rb") as stream:
                data = stream.read()
            head = json.dumps({**record, "content": digest(data), "build": build}) + "\n"
            try:
                _write(temporary, head.encode("ascii"), line, data)
                temporary.replace(self._folder / key)
                self._kept += size
            except OSError:
                temporary.unlink(missing_ok=True)

    def _has_room_for(self, size: int) -> bool:
        """Whether the build may need what is left of the disk less than the store: twice as much
        as it has taken must be free."""
        return shutil.disk_usage(self._folder).free >= 2 * (self._kept + size)

    def trim(self) -> None:
        """Let go of what was used least recently, beyond the limit."""
        files = []
        now = time.time()
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    old = entry.name.startswith("tmp-") and status.st_mtime < now - _FORGOTTEN
                    files.append((0 if old else status.st_mtime_ns, status.st_size, entry.path))
        left = sum(size for _, size, _ in files)
        for used, size, path in sorted(files):
            if used and left <= self._limit:
                return
            left -= size
            with contextlib.suppress(OSError):
                os.unlink(path)


def _write(path: str | Path, *pieces: bytes, mode: int | None = None) -> None:
    """Write a new file; `mode`: its permissions, whatever the umask is now."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666
    )
    with open(descriptor, "wb") as stream:
        stream.writelines(pieces)
    if mode is not None:
        os.chmod(path, mode)
