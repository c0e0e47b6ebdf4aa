"""Where compiled objects live: each under a name made from the command that makes it.

Two different commands never write one path, whoever runs them; two equal commands of one build are
one object, compiled once, as long as no file that the compiler read has changed in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

__all__ = [
    "Entry",
    "Input",
    "Objects",
    "has_changed",
    "is_installed",
    "look_at",
    "now_at",
    "object_key",
    "read_rule",
    "time_of",
]

# Variables that compilers read: with others, the same words on the command line mean another thing.
_READ_BY_COMPILERS = (
    "PATH", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "OBJC_INCLUDE_PATH", "COMPILER_PATH",
    "GCC_EXEC_PREFIX", "CCC_OVERRIDE_OPTIONS", "SDKROOT", "MACOSX_DEPLOYMENT_TARGET", "LANG",
    "LC_ALL", "SOURCE_DATE_EPOCH", "CL", "_CL_", "INCLUDE",
)  # fmt: skip

# What is installed does not change while a project builds.
_INSTALLED = tuple(
    {os.path.join(prefix, "") for prefix in (sys.prefix, sys.base_prefix, "/usr")}
    - {os.path.join(os.sep, "")}
)

_LARGE = 1 << 20


class Input(NamedTuple):
    """A file that a command has read.

    `stamp` is what ``stat`` told of it, or None where it may have changed while the command ran;
    `content` is a hash, or "" for a large file.
    """

    path: str
    stamp: list[int] | None
    content: str


def look_at(path: str, *, since: int | None = None, content: bool = True) -> Input:
    """The file as it is now.

    `since`: a time (nanoseconds, the file system's) from which on it must be unchanged. `content`:
    take a hash of it, so that it counts as unchanged if the same is written again.
    """
    try:
        status = os.stat(path)
        stamp = [status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_ino]
        content = content and status.st_size <= _LARGE and S_ISREG(status.st_mode)
        digest = _hash_of(path) if content else ""
    except OSError:
        return Input(path, [], "")
    if since is not None and status.st_ctime_ns >= since:
        return Input(path, None, digest)
    return Input(path, stamp, digest)


def has_changed(before: Input) -> bool:
    """Whether the file may hold something else than what the command has read."""
    if before.stamp is None:
        return True
    now = look_at(before.path, content=bool(before.content))
    return now.stamp != before.stamp and not (now.content and now.content == before.content)


def now_at(folder: str) -> int:
    """The time (nanoseconds) that a file changed now would have; the folder is made if need be.

    It is the file system's clock, which is coarse, and may be another machine's.
    """
    try:
        os.mkdir(folder)
    except OSError:
        os.makedirs(folder, exist_ok=True)
        os.utime(folder)
    return time_of(folder)


def time_of(folder: str) -> int:
    """When a folder was last changed, in nanoseconds."""
    return os.stat(folder).st_ctime_ns


def _hash_of(path: str) -> str:
    with open(path, "rb") as stream:
        return str(_digest(stream.read()).hexdigest())


def _digest(data: bytes = b"") -> Any:
    return hashlib.blake2b(data, digest_size=10)


def object_key(command: Sequence[str], *, scope: str = "") -> str:
    """A name for the result of `command` (its words less the output's path), 20 hexadecimal digits.

    `scope` keeps apart commands that are equal in words alone.
    """
    values = map(os.environ.get, _READ_BY_COMPILERS)
    environ = [f"{name}={value}" for name, value in zip(_READ_BY_COMPILERS, values, strict=True)]
    words = "\0".join([scope, os.getcwd(), *command, "", *environ])
    return str(_digest(os.fsencode(words)).hexdigest())


class Objects:
    """The objects of one build. Workers of one hook share them by the hook's private folder."""

    def __init__(self, private: Path) -> None:
        self._folder = private / "objects"
        self._folder.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def entry(self, key: str) -> Iterator[Entry]:
        """The record of one command; nobody else has it for the length of a ``with`` block."""
        path = self._folder / key
        with open(path, "a+b") as stream:
            if os.name == "posix":
                import fcntl

                fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            entry = Entry(key, json.loads(stream.read() or b"{}"))
            yield entry
            if entry.dirty:
                stream.truncate(0)
                stream.write(json.dumps(entry.record).encode())


class Entry:
    """What is known in this build of one command: the objects that it made, the files it read."""

    def __init__(self, key: str, record: dict[str, Any]) -> None:
        self.key = key
        self.record = record
        self.dirty = False

    def reusable(self) -> tuple[str, list[Input]] | None:
        """The object that the command has made already, if it would make the same again."""
        made = self.record.get("object")
        if made is None or not os.path.exists(made):
            return None
        inputs = [Input(*values) for values in self.record["inputs"]]
        if any(map(has_changed, inputs)):
            return None
        if any(_folder_stamp(name) != stamp for name, stamp in self.record["folders"]):
            return None
        return made, inputs

    def new_path(self, plain: str, *, below: str | None = None) -> str:
        """A path for the object that setuptools would call `plain`; its folder is made, beside
        where `plain` would be, or in the folder `below`.

        The base name stays: the members of a static library are called by it.
        """
        self.record["made"] = number = self.record.get("made", 0) + 1
        self.record["object"] = None
        self.dirty = True
        folder, name = os.path.split(plain)
        folder = folder if below is None else below
        folder = os.path.join(folder, self.key if number == 1 else f"{self.key}-{number}")
        now_at(folder)
        return os.path.join(folder, name)

    def keep(self, path: str, inputs: list[Input], folders: Iterable[str]) -> None:
        """Note an object that may be taken again, the files that it was made from, and the folders
        in which a new file could come to stand before one of them."""
        self.record["object"] = path
        self.record["inputs"] = inputs
        self.record["folders"] = [[name, _folder_stamp(name)] for name in sorted(set(folders))]


def _folder_stamp(name: str) -> int | None:
    try:
        return os.stat(name).st_ctime_ns
    except OSError:
        return None


_WORD = re.compile(r"(?:\\.|[^\s\\])+")


def read_rule(text: str) -> list[str]:
    """The prerequisites of the one make rule that a compiler wrote (``-MD -MF``)."""
    joined = text.replace("\\\r\n", " ").replace("\\\n", " ")
    _, colon, rest = joined.partition(": ")
    if not colon:
        _, colon, rest = joined.partition(":\n")
    first = rest.split("\n", 1)[0]
    return [_unescaped(word) for word in _WORD.findall(first)]


def _unescaped(word: str) -> str:
    return re.sub(r"\\([ #:\t])", r"\1", word).replace("$$", "$")


def is_installed(path: str) -> bool:
    """Whether a file is part of the system or of the interpreter, which no build changes."""
    return path.startswith(_INSTALLED)
