"""Files that a command has read, and whether it would read the same again."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from stat import S_ISREG
from typing import NamedTuple

__all__ = [
    "Input",
    "absent_of",
    "digest",
    "has_changed",
    "installed",
    "look_at",
    "now_at",
    "read_rule",
    "shadows",
    "time_of",
]

# What is installed does not change while a project builds.
_INSTALLED = tuple(
    {os.path.join(prefix, "") for prefix in (sys.prefix, sys.base_prefix, "/usr")}
    - {os.path.join(os.sep, "")}
)

_LARGE = 1 << 20


class Input(NamedTuple):
    """A file that a command has read.

    `stamp` is what ``stat`` told of it, [] where there was no such file, or None where it may have
    changed while the command ran. `content` is a hash, or "" where none was taken.
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
        content = content and status.st_size <= _LARGE and S_ISREG(status.st_mode)
        known = _hash_of(path) if content else ""
    except OSError:
        return Input(path, [], "")
    if since is not None and status.st_ctime_ns > since:
        return Input(path, None, known)
    return Input(path, stamp, known)


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


def time_of(path: str) -> int:
    """When a file or folder was last changed, in nanoseconds."""
    return os.stat(path).st_ctime_ns


def digest(data: bytes) -> str:
    """A hash, 20 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=10).hexdigest()


def _hash_of(path: str) -> str:
    with open(path, "rb") as stream:
        return digest(stream.read())


def installed() -> Callable[[str], bool]:
    """A test whether a path is part of the system or of an interpreter, which no build changes.

    Nothing below the current folder, the project's, is.
    """
    here = os.path.join(os.getcwd(), "")
    return lambda path: path.startswith(_INSTALLED) and not path.startswith(here)


_WORD = re.compile(r"(?:\\.|[^\s\\])+")


def read_rule(text: str) -> list[str]:
    """The prerequisites of the one make rule that a compiler wrote (``-MD -MF``)."""
    joined = text.replace("\\\r\n", " ").replace("\\\n", " ")
    _, _, rest = joined.partition(":")
    while rest and not rest[0].isspace():  # the target is a path that has a colon
        _, _, rest = rest.partition(":")
    return [_unescaped(word) for word in _WORD.findall(rest.split("\n", 1)[0])]


def _unescaped(word: str) -> str:
    return re.sub(r"\\([ #:\t])", r"\1", word).replace("$$", "$")


def shadows(
    names: list[str], command: Iterable[str], is_installed: Callable[[str], bool]
) -> Iterator[str]:
    """Paths where a new file would be found instead of one of `names`, which a command has read.

    `names` begins with the source. A folder stands for all that could be in it.
    """
    quoting = {os.path.dirname(name): None for name in names[:1]}
    quoting |= {os.path.dirname(name): None for name in names if not is_installed(name)}
    search = [*quoting, *_search_path(command), "/usr/include"]
    used: dict[str, list[str]] = {}
    for name in names:
        used.setdefault(os.path.dirname(name), []).append(os.path.basename(name))
    for folder, files in used.items():
        for position, place in enumerate(search):
            part = _below(place, folder)
            if part is not None:
                for earlier in search[:position]:
                    if not is_installed(os.path.join(earlier, "")):
                        yield from _candidates(os.path.join(earlier, part), folder, files)


def _candidates(folder: str, used: str, files: list[str]) -> Iterator[str]:
    if os.path.normpath(folder) == os.path.normpath(used):
        return
    if os.path.isdir(folder or "."):
        for name in files:
            yield os.path.join(folder, name)
    else:
        yield folder


def _below(place: str, folder: str) -> str | None:
    """What follows `place` in `folder`, if anything can."""
    if place in ("", "."):
        return None if os.path.isabs(folder) else folder
    if folder == place:
        return ""
    start = os.path.join(place, "")
    return folder[len(start) :] if folder.startswith(start) else None


def _search_path(command: Iterable[str]) -> list[str]:
    """The folders of ``-I`` and its kin, in order."""
    folders = []
    words = iter(command)
    for word in words:
        for option in ("-I", "-iquote", "-isystem", "-idirafter"):
            if word == option:
                folders.append(next(words, "."))
            elif word.startswith(option):
                folders.append(word[len(option) :])
    return folders


def absent_of(paths: Iterable[str], since: int) -> tuple[list[str], list[Input]]:
    """Of paths that could shadow: those where there is nothing, and the files that are there."""
    absent, present = [], []
    for path in dict.fromkeys(paths):
        if os.path.lexists(path):
            present.append(look_at(path, since=since))
        else:
            absent.append(path)
    return absent, present
