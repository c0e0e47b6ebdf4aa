"""Compiler launchers: what stands before the compiler in a command that compiles, never in one
that links.

A *cache* (ccache, sccache) finds what it has compiled before if the command is the same: then the
paths in it are made the same in every build (`stable_paths`). A *farm* (distcc, icecc), or any
other command, is only put in front. A compiler that the user has given a known launcher himself,
such as ``CC="ccache gcc"``, keeps that one and is treated alike.

Sources: ccache's manual ("Compiling in different directories", "Using ccache with other compiler
wrappers"), sccache's docs/Caching.md, distcc(1).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sysconfig
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from parallel_backend.errors import SettingsError
from parallel_backend.launchers.stable_paths import (
    StablePaths,
    mapped,
    output,
    stable_paths,
    wrapped,
)
from parallel_backend.settings import Settings

__all__ = ["Launcher", "opened"]

_CACHES = ("ccache", "sccache")
_FARMS = ("distcc", "icecc")
_KNOWN = _CACHES + _FARMS

# Options that put paths where no map reaches them, or make files that tell them.
_TELL_PATHS = (
    "--coverage", "-fprofile-", "-ftest-coverage", "-gsplit-dwarf", "-frecord-gcc-switches",
    "-save-temps", "-fdump-", "-fcallgraph-info",
)  # fmt: skip


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Launcher]:
    """The launcher of a build of the project in the current folder.

    Raises SettingsError if the one that the user asked for is not there.
    """
    launcher = Launcher(settings, *_find(settings.launcher or "none"))
    with contextlib.ExitStack() as stack:
        if settings.launcher != "none" and launcher.names(_CACHES):
            launcher.paths = stack.enter_context(stable_paths(os.getcwd()))
        yield launcher


def _find(text: str) -> tuple[list[str], list[str]]:
    """The words of a launcher, and of what ccache has to put before the compiler in its turn."""
    if text == "none":
        return [], []
    if text == "auto":
        found = [path for name in _CACHES if (path := shutil.which(name))]
        return found[:1], []
    words = shlex.split(text)
    # After "ccache distcc" ccache would take distcc for the compiler.
    is_chain = _name(words[0]) == "ccache" and len(words) > 1
    for i, word in enumerate(words if is_chain else words[:1]):
        path = shutil.which(word)
        if path is None:
            raise SettingsError(f"launcher {text!r}: there is no program {word!r} on PATH")
        words[i] = os.path.abspath(path)
    return (words[:1], words[1:]) if is_chain else (words, [])


class _Command(NamedTuple):
    """A command that compiles: launchers, the compiler, and what it is told.

    `first`: the name of the first launcher, if it is a known one; else "".
    """

    before: list[str]
    program: list[str]
    rest: list[str]
    first: str


class Launcher:
    """Puts launchers before compilers.

    :param words: the launcher that the user asked for, [] for none.
    :param prefix: what ccache is to put before the compiler.
    """

    paths: StablePaths | None = None

    def __init__(self, settings: Settings, words: list[str], prefix: list[str]) -> None:
        self._settings = settings
        self._words = words
        self._prefix = prefix
        self._programs: dict[tuple[str, ...], list[str]] = {}
        self._keeps_folder: dict[str, bool] = {}

    def names(self, kinds: Sequence[str], compiler: Sequence[str] = ()) -> bool:
        """Whether one of these launchers is asked for, by the setting, ccache's own prefix, the
        user's usual compilers, or the words of another one."""
        usual = [os.environ.get(name) or sysconfig.get_config_var(name) for name in ("CC", "CXX")]
        words = [*self._words, *self._prefix, *_words(os.environ.get("CCACHE_PREFIX"))]
        for command in (*map(_words, usual), compiler):
            parsed = _parse(command)
            words += [*parsed.before, parsed.first]
        return any(_name(word) in kinds for word in words)

    def local_slots(self, compiler: Sequence[str] = ()) -> int | None:
        """How many jobs may run on this machine itself, where there are more than it has cores:
        links and translations, which no farm takes. None: all of them."""
        if self._settings.local_jobs is None and not self.names(_FARMS, compiler):
            return None
        return self._settings.local_slots()

    def launched(self, command: Sequence[str], folder: str) -> tuple[list[str], dict[str, str]]:
        """A command that compiles in `folder`, with its launcher, and variables for it."""
        parsed = self._parsed(command)
        variables = {}
        if self._prefix and parsed.before == self._words and "CCACHE_PREFIX" not in os.environ:
            variables["CCACHE_PREFIX"] = shlex.join(self._prefix)
        program = self._stable(parsed, folder)
        if not program or self.paths is None:
            return [*parsed.before, *parsed.program, *parsed.rest], variables
        variables["PWD"] = folder  # what the compiler calls the folder that it runs in
        if parsed.first == "ccache" and not self._is_told_of_folders(parsed):
            variables["CCACHE_NOHASHDIR"] = "1"
        return [*parsed.before, *program, *self.paths.renamed(parsed.rest)], variables

    def _parsed(self, command: Sequence[str]) -> _Command:
        parsed = _parse(command)
        if self._settings.launcher == "none":
            return parsed._replace(first="")
        has_one = parsed.first or not parsed.program or not self._words
        if has_one or _name(parsed.program[0]) == _name(self._words[0]):
            return parsed
        name = _name(self._words[0]) if len(self._words) == 1 else ""
        return parsed._replace(before=self._words, first=name)

    def _stable(self, parsed: _Command, folder: str) -> list[str]:
        """The compiler, and options for it, if its paths can be made stable; else []."""
        if parsed.first not in _CACHES or any(map(_tells_paths, parsed.rest)):
            return []
        if self.paths is None or not self.paths.hold(folder):
            return []
        key = (parsed.first, *parsed.before, *parsed.program)
        if key not in self._programs:
            program = parsed.program
            if parsed.first == "ccache":
                self._programs[key] = mapped(program, self.paths)
            else:  # it would compare the maps
                is_alone = len(parsed.before) == len(program) == 1
                self._programs[key] = wrapped(program[0], self.paths) if is_alone else []
        return self._programs[key]

    def _is_told_of_folders(self, parsed: _Command) -> bool:
        """Whether the user has told ccache if the current folder counts."""
        if {"CCACHE_HASHDIR", "CCACHE_NOHASHDIR"} & set(os.environ):
            return True
        program = os.path.realpath(shutil.which((parsed.before or parsed.program)[0]) or "")
        if program not in self._keeps_folder:
            lines = output([program, "--show-config"]).splitlines()
            told = [line for line in lines if b") hash_dir = " in line]
            self._keeps_folder[program] = not told or not told[0].startswith(b"(default)")
        return self._keeps_folder[program]


def _parse(command: Sequence[str]) -> _Command:
    words = [os.fspath(word) for word in command]
    start = 0
    # ccache takes its settings as words, too.
    while start < len(words) and (_name(words[start]) in _KNOWN or (start and "=" in words[start])):
        start += 1
    end = start + 1
    while end < len(words) and not words[end].startswith("-"):
        end += 1
    program = words[start:end]
    first = _name(words[0]) if start else ""
    if not start and program and os.sep in program[0]:
        # A link that is called like a compiler, as in /usr/lib/ccache.
        first = _name(os.path.realpath(program[0]))
    return _Command(words[:start], program, words[end:], first if first in _KNOWN else "")


def _tells_paths(word: str) -> bool:
    return word.startswith(_TELL_PATHS)


def _name(word: str) -> str:
    return os.path.basename(word).removesuffix(".exe")


def _words(text: Any) -> list[str]:
    with contextlib.suppress(ValueError):  # distutils says what is wrong with it
        return shlex.split(text or "")
    return []
