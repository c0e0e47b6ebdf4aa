"""Which headers a compiler has read, and where others would have come first."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from parallel_backend.engine.inputs import Input, look_at

__all__ = ["absent_of", "asked_for", "listings", "read_rule", "shadows"]

# Where compilers look last, if they do not tell.
_STANDARD = ("/usr/include",)

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
    names: list[str],
    command: Iterable[str],
    is_installed: Callable[[str], bool],
    standard: Sequence[str] = _STANDARD,
) -> Iterator[str]:
    """Paths where a new file would be found instead of one of `names`, which a command has read.

    `names` begins with the source. A folder stands for all that could be in it. `standard`: where
    the compiler looks after the folders that the command names. Where something is installed, see
    `listings`.
    """
    for earlier, part, folder, files in _earlier(names, command, is_installed, standard):
        if not is_installed(os.path.join(earlier, "")):
            yield from _candidates(os.path.join(earlier, part), folder, files)


def listings(
    names: list[str],
    command: Iterable[str],
    is_installed: Callable[[str], bool],
    standard: Sequence[str] = _STANDARD,
) -> set[str]:
    """Folders of what is installed in which a new name may be one that would be found first."""
    places = {(p, part) for p, part, *_ in _earlier(names, command, is_installed, standard)}
    return {
        _deepest(place, part) for place, part in places if is_installed(os.path.join(place, ""))
    }


_ASKED = re.compile(rb"__has_include(?:_next)?\s*\(\s*[<\"]([^>\"\n]+)[>\"]")


def asked_for(
    texts: Iterable[bytes],
    names: list[str],
    command: Iterable[str],
    is_installed: Callable[[str], bool],
    standard: Sequence[str] = _STANDARD,
) -> tuple[set[str], set[str]]:
    """Where headers could be that sources ask for (``__has_include``): paths, and folders to list.

    A compiler does not tell that it has looked for them.
    """
    wanted = {os.fsdecode(found) for text in texts for found in _ASKED.findall(text)}
    paths, folders = set(), set()
    search = _search(names, command, is_installed, standard) if wanted else []
    for name in wanted:
        for place in search:
            if is_installed(os.path.join(place, "")):
                folders.add(_deepest(place, os.path.dirname(name)))
            else:
                paths.add(os.path.join(place, name))
    return paths, folders


def _deepest(place: str, part: str) -> str:
    """The folder whose names tell whether there is anything in `part` of `place`."""
    folder = os.path.join(place, part) if part else place
    while folder != place and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _search(
    names: list[str],
    command: Iterable[str],
    is_installed: Callable[[str], bool],
    standard: Sequence[str],
) -> list[str]:
    quoting = {os.path.dirname(name): None for name in names[:1]}
    quoting |= {os.path.dirname(name): None for name in names if not is_installed(name)}
    return [*quoting, *_search_path(command), *standard]


def _earlier(
    names: list[str],
    command: Iterable[str],
    is_installed: Callable[[str], bool],
    standard: Sequence[str],
) -> Iterator[tuple[str, str, str, list[str]]]:
    """For what was read: a place that comes before where it was found, which part of the place it
    would be in, the folder that it is in, and its names."""
    search = _search(names, command, is_installed, standard)
    used: dict[str, list[str]] = {}
    for name in names:
        used.setdefault(os.path.dirname(name), []).append(os.path.basename(name))
    for folder, files in used.items():
        found = [(n, _below(place, folder)) for n, place in enumerate(search)]
        known = [(n, part) for n, part in found if part is not None]
        # In a place that is not known it was found after all the others.
        for position, part in known or [(len(search), "")]:
            for earlier in search[:position]:
                yield earlier, part, folder, files


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
