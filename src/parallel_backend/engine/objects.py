"""Names of what commands make: each made from the command, so that no two ever write one path."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from parallel_backend.engine.inputs import digest, now_at
from parallel_backend.engine.places import without_places

__all__ = ["Entry", "Objects", "object_key"]


# What follows such an option gets into what is made.
_TOLD = ("-D", "-U", "-Wl,", "-R")


def object_key(command: Sequence[str], *, scope: str = "") -> str:
    """A name for the result of `command` (its words less the output's path), 20 hexadecimal digits.

    The folders of an isolated environment, new for every build, do not count, but where a program
    is told of them. `scope` keeps apart commands that are equal in words alone.
    """
    words = [word if word.startswith(_TOLD) else without_places(word) for word in command]
    return digest(os.fsencode("\0".join([scope, os.getcwd(), *words])))


class Objects:
    """The objects of one build. Workers of one hook share them by the hook's private folder."""

    def __init__(self, private: Path) -> None:
        self._folder = private / "objects"
        self._folder.mkdir(exist_ok=True)
        self._locks: dict[str, threading.Lock] = {}

    @contextlib.contextmanager
    def entry(self, key: str) -> Iterator[Entry]:
        """What is known of one command; nobody else has it for the length of a ``with`` block."""
        descriptor = os.open(self._folder / key, os.O_RDWR | os.O_CREAT, 0o600)
        # Threads have a lock of their own: elsewhere than on POSIX there is no other.
        with self._locks.setdefault(key, threading.Lock()):
            try:
                if os.name == "posix":
                    import fcntl

                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield Entry(key, descriptor)
            finally:
                os.close(descriptor)


class Entry:
    """One command of this build. Its file grows by a byte for each path that was given."""

    def __init__(self, key: str, descriptor: int) -> None:
        self._key = key
        self._descriptor = descriptor

    def new_path(self, plain: str, *, below: str | None = None) -> str:
        """A path for the object that setuptools would call `plain`; its folder is made, beside
        where `plain` would be, or in the folder `below`.

        Every call gives another one: a project may change an object that it was given. The base
        name stays: the members of a static library are called by it.
        """
        # At once: nobody else takes it, whatever happens.
        os.lseek(self._descriptor, 0, os.SEEK_END)
        os.write(self._descriptor, b".")
        number = os.fstat(self._descriptor).st_size
        folder, name = os.path.split(plain)
        folder = folder if below is None else below
        folder = os.path.join(folder, self._key if number == 1 else f"{self._key}-{number}")
        now_at(folder)
        return os.path.join(folder, name)
