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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from parallel_backend.engine.local_slots import LocalSlots
from parallel_backend.engine.origins import is_distutils
from parallel_backend.engine.stable_paths import (
    StablePaths,
    mapped,
    output,
    stable_paths,
    wrapped,
)
from parallel_backend.errors import SettingsError
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
def opened(settings: Settings, private: Path) -> Iterator[Launcher]:
    """The launcher of a build of the project in the current folder.

    Raises SettingsError if the one that the user asked for is not there.
    """
    launcher = Launcher(settings, private, *_find(settings.launcher or "none"))
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

    def __init__(
        self, settings: Settings, private: Path, words: list[str], prefix: list[str]
    ) -> None:
        self._settings = settings
        self._private = private
        self._words = words
        self._prefix = prefix
        self._programs: dict[tuple[str, ...], list[str]] = {}
        self._keeps_folder: dict[str, bool] = {}
        self._local: LocalSlots | None = None

    def names(self, kinds: Sequence[str], compiler: Sequence[str] = ()) -> bool:
        """Whether one of these launchers is asked for, by the setting, ccache's own prefix, the
        user's usual compilers, or the words of another one."""
        usual = [os.environ.get(name) or sysconfig.get_config_var(name) for name in ("CC", "CXX")]
        words = [*self._words, *self._prefix, *_words(os.environ.get("CCACHE_PREFIX"))]
        for command in (*map(_words, usual), compiler):
            parsed = _parse(command)
            words += [*parsed.before, parsed.first]
        return any(_name(word) in kinds for word in words)

    @contextlib.contextmanager
    def local_slot(self, compiler: Any = None) -> Iterator[None]:
        """Hold a slot of this machine, where jobs may be more than it has cores: for what no farm
        takes, a link by `compiler`, a translation."""
        slots = self._slots(compiler)
        with slots.held() if slots else contextlib.nullcontext():
            yield

    def prepare(self, compiler: Any) -> None:
        """Before workers start: learn once for all of them what they have to know."""
        for name in ("compiler_so", "compiler_so_cxx"):
            self.launched(getattr(compiler, name, None) or [])
        self._slots(compiler)

    def compiled_by(self, original: Callable[..., None]) -> Callable[..., None]:
        """distutils' ``_compile``, whose command is then launched."""

        def _compile(compiler: Any, obj: Any, *args: Any, **options: Any) -> None:
            # Without a path for the object it is only asked for its command.
            original(_Launching(self, compiler) if obj else compiler, obj, *args, **options)

        return _compile

    def launched(
        self, command: Sequence[str], *, plainly: bool = False
    ) -> tuple[list[str], dict[str, str]]:
        """A command that compiles, with its launcher, and variables for it.

        `plainly`: change nothing else.
        """
        parsed = self._parsed(command)
        variables = {}
        if self._prefix and parsed.before == self._words and "CCACHE_PREFIX" not in os.environ:
            variables["CCACHE_PREFIX"] = shlex.join(self._prefix)
        program = [] if plainly else self._stable(parsed)
        if not program or self.paths is None:
            return [*parsed.before, *parsed.program, *parsed.rest], variables
        variables["PWD"] = os.getcwd()  # what the compiler calls the folder that it runs in
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

    def _stable(self, parsed: _Command) -> list[str]:
        """The compiler, and options for it, if its paths can be made stable; else []."""
        if parsed.first not in _CACHES or any(map(_tells_paths, parsed.rest)):
            return []
        if self.paths is None or not self.paths.hold():
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

    def _slots(self, compiler: Any) -> LocalSlots | None:
        words = getattr(compiler, "compiler_so", None) or ()
        wanted = self._settings.local_jobs is not None or self.names(_FARMS, words)
        if wanted and self._local is None:
            self._local = LocalSlots(self._private, number=self._settings.local_slots())
        return self._local

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


class _Launching:
    """A compiler as its ``_compile`` sees it: what it runs is launched."""

    def __init__(self, launcher: Launcher, compiler: Any) -> None:
        vars(self).update(_launcher=launcher, _compiler=compiler)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiler, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._compiler, name, value)

    def call(self, command: Sequence[str], **options: Any) -> Any:
        """How setuptools runs a command (from 84 on)."""
        return self._run("call", command, options)

    def spawn(self, command: Sequence[str], **options: Any) -> Any:
        """How older ones do."""
        return self._run("spawn", command, options)

    def _run(self, name: str, command: Sequence[str], options: dict[str, Any]) -> Any:
        run = getattr(self._compiler, name)
        is_known = is_distutils(run)
        words, variables = self._launcher.launched(command, plainly=not is_known)
        if variables and is_known:  # a project's own may not know what `env` is
            options["env"] = {**(options.get("env") or os.environ), **variables}
        return run(words, **options)


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
