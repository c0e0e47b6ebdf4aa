"""Which headers a compiler has read, and where others would have come first."""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from parallel_backend.records.fingerprints import Input, look_at

__all__ = ["Far", "Search", "Text", "absent_of", "read_rule", "read_text", "told_apart"]

# Where compilers look last, if they do not tell.
_STANDARD = ("/usr/include",)

# As make splits words, of bytes: what else Unicode calls a space is a letter of a path.
_WORD = re.compile(rb"(?:\\.|[^\s\\])+")


def read_rule(rule: bytes) -> list[str]:
    """The prerequisites of the one make rule that a compiler wrote (``-MD -MF``)."""
    joined = rule.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    _, _, rest = joined.partition(b":")
    while rest and not rest[:1].isspace():  # the target is a path that has a colon
        _, _, rest = rest.partition(b":")
    line = rest.split(b"\n", 1)[0]
    if b"\\" in line or b"$" in line:
        words = list(map(_unescaped, _WORD.findall(line)))
    else:
        words = line.split()
    return os.fsdecode(b"\0".join(words)).split("\0") if words else []


def _unescaped(word: bytes) -> bytes:
    return re.sub(rb"\\([ #:\t])", rb"\1", word).replace(b"$$", b"$")


def told_apart(
    names: Sequence[str], is_installed: Callable[[str], bool]
) -> tuple[list[str], tuple[str, ...]]:
    """Of what a command has read what is the project's, its source first, and what is installed."""
    own = [name for name in names[1:] if not is_installed(name)]
    return [*names[:1], *own], tuple(name for name in names[1:] if is_installed(name))


class Far(NamedTuple):
    """Where the headers lie that a command has read of what is installed.

    `parts`: what a source may have called them, by folder. `read`: their paths. `listed`: folders
    in which a new name may be one that is found before a header of the command.
    """

    parts: dict[str, set[str]]
    read: frozenset[str]
    listed: frozenset[str]


class Search:
    """Where one command has looked for headers.

    In which order a compiler goes through its places (``-iquote``, ``-I``, ``-isystem`` and so on),
    and by which names it knows them, is not looked at: a new file counts in every place of the
    project where one of the headers could be.

    `own`: what the command has read of the project, its source first. `far`: what it has read that
    is installed. `command`: its words. `path`: variables such as CPATH. `standard`: where the
    compiler looks after all that, if it has told. `known`: what was found out about `far`, for the
    next command. `folder`: where relative paths begin.
    """

    def __init__(
        self,
        own: Sequence[str],
        far: tuple[str, ...],
        command: Sequence[str],
        is_installed: Callable[[str], bool],
        *,
        path: Iterable[str] = (),
        standard: Sequence[str] = (),
        known: dict[tuple[object, ...], Far] | None = None,
        folder: str = "",
    ) -> None:
        self._headers = own[1:]
        self._folder = folder
        self._command = command
        self._is_installed = is_installed
        self._read = _by_one_name(own)
        named = [*_search_path(command), *path]
        places = dict.fromkeys(["", *map(os.path.dirname, own), *named])
        self._own = [place for place in places if not self._is_foreign(place)]
        self._foreign = [place for place in dict.fromkeys(named) if self._is_foreign(place)]
        self._standard = [*(standard or _STANDARD)]
        self._places = (*self._foreign, *self._standard)
        known = {} if known is None else known
        folders = frozenset(map(os.path.dirname, own[1:]))
        # The same places are gone through in another way where they are standard.
        key = far, folders, len(self._foreign), self._places
        self._far = known.get(key) or known.setdefault(key, self._look_at(far, folders))

    def shadows(self, called: Iterable[str] = ()) -> set[str]:
        """Paths, nothing that was read among them, where a new file may be found first. A folder
        stands for all that could be in it.

        `called`: what sources call headers, which may be another name than its path.
        """
        parts = set(called)
        pairs = itertools.pairwise(self._command)
        parts |= {name for option, name in pairs if option in ("-include", "-imacros")}
        parts.update(*map(_parts, self._headers))
        near = _by_folder(parts)
        found: set[str] = set()
        for place in self._own:
            for folder in {**self._far.parts, **near}:
                missing = _missing(place, folder, self._folder)
                if missing:
                    found.add(missing)
                    continue
                start = os.path.join(place, folder, "") if place or folder else ""
                for bases in (self._far.parts.get(folder, ()), near.get(folder, ())):
                    found.update([start + name for name in bases])
        return {path for path in found if not self._was_read(path)}

    def _was_read(self, path: str) -> bool:
        if _is_winding(path):
            path = os.path.normpath(path)
        return path in self._read or path in self._far.read

    def listings(self) -> set[str]:
        """Folders of what is installed in which a new name may be one that is found first."""
        return set(self._far.listed)

    def _look_at(self, far: tuple[str, ...], folders: frozenset[str]) -> Far:
        named = (
            os.path.join(part, os.path.basename(name))
            for name in far
            for part in _parts_of(os.path.dirname(name), self._places)
        )
        return Far(
            parts=_by_folder(named),
            read=frozenset(_by_one_name(far)),
            listed=frozenset().union(*map(self._before, folders.union(map(os.path.dirname, far)))),
        )

    def _before(self, folder: str) -> set[str]:
        """Folders in which a header would be found before the one of that name in `folder`."""
        folders = set()
        for part in _parts_of(folder, self._places):
            for place in self._places:
                if os.path.normpath(os.path.join(place, part)) == os.path.normpath(folder):
                    if place in self._standard:
                        break  # the standard places are gone through in this order
                    continue
                folders.add(_deepest(place, part, self._folder))
        return folders

    def asked_for(self, asked: Iterable[str]) -> tuple[set[str], set[str]]:
        """Where headers could be that sources ask for (``__has_include``): paths, and folders to
        list. A compiler does not tell that it has looked for them."""
        paths, folders = set(), set()
        for name in asked:
            paths |= {os.path.join(place, name) for place in self._own}
            for place in self._places:
                folders.add(_deepest(place, os.path.dirname(name), self._folder))
        return paths, folders

    def _is_foreign(self, place: str) -> bool:
        return self._is_installed(os.path.join(place, ""))


def _by_one_name(names: Iterable[str]) -> set[str]:
    return {os.path.normpath(name) if _is_winding(name) else name for name in names}


def _by_folder(names: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for folder, base in map(os.path.split, names):
        found.setdefault(folder, set()).add(base)
    return found


def _parts(name: str) -> set[str]:
    """By what a source may have called a header of the project."""
    words = os.path.normpath(name).split(os.sep)
    return {os.path.join(*words[at:]) for at in range(len(words)) if words[at]}


_INCLUDED = re.compile(
    rb"^[ \t]*#[ \t]*(?:include|include_next|import)[ \t]*[<\"]([^>\"\n]+)[>\"]", re.MULTILINE
)
_ASKED = re.compile(rb"__has_include(?:_next)?\s*\(\s*[<\"]([^>\"\n]+)[>\"]")
_MORE = re.compile(
    rb"\.incbin\b|\.include\s*\\?\"|__has_(?:include|embed)(?:_next)?\s*\(\s*[^<\"\s]"
)


class Text(NamedTuple):
    """What a source says that counts.

    `called`: the headers that it includes, `asked`: those that it asks for. `dated`: it takes in
    the date or the time. `more`: it takes in what no compiler tells of.
    """

    called: frozenset[str]
    asked: frozenset[str]
    dated: bool
    more: bool


def read_text(text: bytes) -> Text:
    """Read what is in a source, or in the words of a command."""
    has = b"__has_" in text
    return Text(
        frozenset(map(os.fsdecode, _INCLUDED.findall(text))),
        frozenset(map(os.fsdecode, _ASKED.findall(text)) if has else ()),
        b"__DATE__" in text or b"__TIME__" in text,
        b"__TIMESTAMP__" in text or ((has or b".inc" in text) and _MORE.search(text) is not None),
    )


def _is_winding(path: str) -> bool:
    return "./" in path or "//" in path


def _missing(place: str, folder: str, here: str) -> str:
    """The first folder on the way from a place to a folder below it that is not there, if any."""
    path = os.path.join(place, folder)
    if not path or os.path.isdir(os.path.join(here, path)):
        return ""
    while folder:
        path = os.path.join(place, folder)
        folder = os.path.dirname(folder)
        if os.path.isdir(os.path.join(here, place, folder) or "."):
            return path
    return place


def _deepest(place: str, part: str, here: str) -> str:
    """The folder whose names tell whether there is anything in `part` of `place`."""
    folder = os.path.join(place, part) if part else place
    while folder != place and not os.path.isdir(os.path.join(here, folder)):
        folder = os.path.dirname(folder)
    return folder


@functools.lru_cache(maxsize=1000)
def _parts_of(folder: str, places: tuple[str, ...]) -> frozenset[str]:
    """Where a folder is in places of what is installed."""
    found = (_below(place, folder) for place in places)
    return frozenset(part for part in found if part is not None) or frozenset([""])


def _below(place: str, folder: str) -> str | None:
    """What follows `place` in `folder`, if anything can."""
    place, folder = os.path.normpath(place), os.path.normpath(folder)
    if folder == place:
        return ""
    start = os.path.join(place, "")
    return folder[len(start) :] if folder.startswith(start) else None


def _search_path(command: Iterable[str]) -> list[str]:
    """The folders of ``-I`` and its kin."""
    folders = []
    words = iter(command)
    for word in words:
        for option in ("-I", "-iquote", "-isystem", "-idirafter"):
            if word == option:
                folders.append(next(words, "."))
            elif word.startswith(option):
                folders.append(word[len(option) :].removeprefix("="))
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
