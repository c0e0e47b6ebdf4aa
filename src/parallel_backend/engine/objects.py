"""Where compiled objects live: each under a name made from the command that makes it.

Two different commands never write one path, whoever runs them; two equal commands of one build are
one object, compiled once, as long as nothing that the compiler read has changed in between.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from parallel_backend.engine.inputs import Input, digest, has_changed, now_at

__all__ = ["Entry", "Objects", "object_key"]


def object_key(command: Sequence[str], *, scope: str = "") -> str:
    """A name for the result of `command` (its words less the output's path), 20 hexadecimal digits.

    The prefix of an isolated environment, new for every build, does not count. `scope` keeps apart
    commands that are equal in words alone.
    """
    words = "\0".join([scope, os.getcwd(), *command])
    if sys.prefix != sys.base_prefix:
        words = words.replace(sys.prefix, "{prefix}")
    return digest(os.fsencode(words))


class Objects:
    """The objects of one build. Workers of one hook share them by the hook's private folder."""

    def __init__(self, private: Path) -> None:
        self._folder = private / "objects"
        self._folder.mkdir(exist_ok=True)
        self._locks: dict[str, threading.Lock] = {}

    @contextlib.contextmanager
    def entry(self, key: str) -> Iterator[Entry]:
        """The record of one command; nobody else has it for the length of a ``with`` block."""
        descriptor = os.open(self._folder / key, os.O_RDWR | os.O_CREAT, 0o600)
        # Threads have a lock of their own: elsewhere than on POSIX there is no other.
        with self._locks.setdefault(key, threading.Lock()):
            try:
                if os.name == "posix":
                    import fcntl

                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                data = os.read(descriptor, os.fstat(descriptor).st_size)
                yield Entry(key, descriptor, json.loads(data or b"{}"))
            finally:
                os.close(descriptor)


class Entry:
    """What is known in this build of one command: the objects that it made, the files it read."""

    def __init__(self, key: str, descriptor: int, record: dict[str, Any]) -> None:
        self._key = key
        self._descriptor = descriptor
        self._record = record

    def new_path(
        self, plain: str, circumstances: str | None = None, *, below: str | None = None
    ) -> tuple[str, tuple[list[Input], list[str]] | None]:
        """A path for the object that setuptools would call `plain`; its folder is made, beside
        where `plain` would be, or in the folder `below`.

        If the command has made an object already and would make the same again, it is there, as a
        copy: a project may change an object that it was given. Then also the files that were read,
        and the paths where there was none. `circumstances`: what else decides the result, as it was
        told to `keep`; None: nothing can be taken again.

        The base name stays: the members of a static library are called by it.
        """
        before = self._record
        number = before.get("made", 0) + 1
        self._save({**before, "made": number})  # at once: nobody else takes it, whatever happens
        folder, name = os.path.split(plain)
        folder = folder if below is None else below
        folder = os.path.join(folder, self._key if number == 1 else f"{self._key}-{number}")
        now_at(folder)
        path = os.path.join(folder, name)
        inputs = [Input(*values) for values in before.get("inputs", ())]
        absent = before.get("absent", [])
        if (
            circumstances is None
            or before.get("circumstances") != circumstances
            or any(map(has_changed, inputs))
            or any(map(os.path.lexists, absent))
        ):
            return path, None
        with contextlib.suppress(OSError):
            shutil.copyfile(before["object"], path)
            if _stamp(before["object"]) == before["stamp"]:
                return path, (inputs, absent)
            os.unlink(path)
        return path, None

    def keep(
        self, path: str, *, circumstances: str, inputs: list[Input], absent: list[str]
    ) -> None:
        """Note an object that may be taken again."""
        self._save(
            {
                "made": self._record["made"],
                "object": path,
                "stamp": _stamp(path),
                "circumstances": circumstances,
                "inputs": inputs,
                "absent": absent,
            }
        )

    def _save(self, record: dict[str, Any]) -> None:
        self._record = record
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, json.dumps(record).encode())


def _stamp(path: str) -> list[int]:
    """What changes if somebody writes to an object; not its ctime, which a hard link changes."""
    status = os.stat(path)
    return [status.st_mtime_ns, status.st_size, status.st_ino]
