"""Files that a command has read, and whether it would read the same again."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import Callable
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple

__all__ = [
    "Input",
    "digest",
    "has_changed",
    "installed",
    "look_at",
    "now_at",
    "time_of",
]

# What is installed does not change while a project builds.
_INSTALLED = tuple(
    {
        os.path.join(prefix, "")
        for prefix in (sys.prefix, sys.base_prefix, "/usr", "/lib", "/lib32", "/lib64")
    }
    - {os.path.join(os.sep, "")}
)

# Of a larger file it counts when it was written, not what is in it.
_LARGE = 1 << 26


class Input(NamedTuple):
    """A file that a command has read, or a folder that it has looked through.

    `stamp` is what ``stat`` told of it, [] where there was no such file, or None where it may have
    changed while the command ran. `content` is a hash, of a folder that of the names in it, or ""
    where none was taken.
    """

    path: str
    stamp: list[int] | None
    content: str


def look_at(path: str, *, since: int | None = None, content: bool = True) -> Input:
    """The file as it is now.

    `since`: a time (nanoseconds, the file system's) after which it must not have changed.
    `content`: take a hash of it, so that it counts as unchanged if the same is written again.
    """
    try:
        status = os.stat(path)
        stamp = [status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_ino]
        known = _hash_of(path, status) if content else ""
    except OSError:
        return Input(path, [], "")
    if since is not None and status.st_ctime_ns > since:
        return Input(path, None, known)
    return Input(path, stamp, known)


def has_changed(before: Input) -> bool:
    """Whether the file may hold something else than what the command has read."""
    if before.stamp is None:
        return True
    if look_at(before.path, content=False).stamp == before.stamp:
        return False
    return not before.content or look_at(before.path).content != before.content


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


def time_of(path: str) -> int:
    """When a file or folder was last changed, in nanoseconds."""
    return os.stat(path).st_ctime_ns


def digest(data: bytes) -> str:
    """A hash, 20 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=10).hexdigest()


def _hash_of(path: str, status: os.stat_result) -> str:
    if S_ISDIR(status.st_mode):
        return digest("\0".join(sorted(os.listdir(path))).encode(errors="surrogateescape"))
    if not S_ISREG(status.st_mode) or status.st_size > _LARGE:
        return ""
    with open(path, "rb") as stream:
        return digest(stream.read())


def installed() -> Callable[[str], bool]:
    """A test whether a path is part of the system or of an interpreter, which no build changes.

    Nothing below the current folder, the project's, is.
    """
    return _installed(_INSTALLED, os.path.join(os.getcwd(), ""))


@functools.lru_cache(maxsize=4)
def _installed(folders: tuple[str, ...], here: str) -> Callable[[str], bool]:
    # It is asked for each header of each source, and most of them are the same ones.
    return functools.lru_cache(maxsize=10_000)(
        lambda path: path.startswith(folders) and not path.startswith(here)
    )
