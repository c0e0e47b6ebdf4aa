"""The files below the paths given that are to be compiled."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from parallel_backend.tools.bytecode.interpreter import Interpreter
from parallel_backend.tools.bytecode.options import Options

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Source", "Tree"]

_MOST_AT_ONCE = 500
MOST_TOLD = 10_000
_WORTH_A_FORK = 50  # folders
_KIND, _REGULAR = 0o170000, 0o100000  # of st_mode; the module stat takes a call to tell


class Source(NamedTuple):
    """A file to compile, its paths as bytes.

    :param order: what goes first is less: minus its size in bytes.
    :param stem: the path of its ``.pyc`` without the ending of the level.
    :param shown: the path that the code is to name; None: its own.
    """

    order: int
    path: bytes
    stem: bytes
    shown: bytes | None


class Tree:
    """Finds the files that compileall finds, and counts them.

    :param report: gets the path of what cannot be looked at, and the reason.
    :param share: let a fork look through a part of a large tree.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        options: Options,
        interpreter: Interpreter,
        report: Callable[[str, str], None],
        share: bool = False,
    ) -> None:
        self.files = 0
        self.up_to_date = 0
        #: The ``*.dist-info`` folders that were found.
        self.distributions: list[str] = []
        self._paths = paths
        self._options = options
        self._interpreter = interpreter
        self._report = report
        self._share = share
        self._endings = [ending for _, ending in options.endings()]
        self._header = interpreter.magic + bytes(4)
        self._is_picky = bool(options.exclude or options.limit_links)
        limit = options.limit_links
        self._limit = os.path.join(os.path.realpath(limit), "") if limit else ""

    def stale(self) -> Generator[list[Source], None, None]:
        """What is to be compiled, a part at a time, while the walk goes on.

        An empty list means: first finish what came before. One path lies in another then, so that
        the same ``.pyc`` may be written twice.
        """
        seen: set[str] = set()
        above: set[str] = set()
        for top in self._paths:
            if len(self._paths) > 1:
                real = os.path.realpath(top)
                parents = set(_parents(real))
                if real in seen or real in above or parents & seen:
                    yield []
                seen.add(real)
                above |= parents
            if not os.path.isfile(top):
                yield from self._walk([(top, 0)], top)
            elif top.endswith(".py"):
                folder, name = os.path.split(top)
                source = self._look(top, name, self._cache(folder), top)
                if source:
                    yield [source]

    def _walk(self, folders: list[tuple[str, int]], top: str) -> Iterator[list[Source]]:
        while folders:
            if self._share and len(folders) >= _WORTH_A_FORK:
                self._share = False
                yield from self._by_two(folders, top)
                return
            folder, depth = folders.pop()
            try:
                yield from self._in(folder, top, depth, folders)
            except OSError as error:
                if folder == top or not isinstance(error, FileNotFoundError):
                    self._report(folder, f"cannot be listed: {error.strerror}")

    def _by_two(self, folders: list[tuple[str, int]], top: str) -> Iterator[list[Source]]:
        """What is below `folders`, of which a fork and this process each take the next one."""
        from parallel_backend.tools.bytecode.helper import Helper

        try:
            helper = Helper(len(folders), lambda numbers: self._told(numbers, folders, top))
        except OSError:  # too many processes, or files
            yield from self._walk(folders, top)
            return
        with helper:
            for number in helper.numbers():
                yield from self._walk([folders[number]], top)
            told = helper.result()
        if told is not None:
            files, up_to_date, distributions, problems, found = told
            self.files += files
            self.up_to_date += up_to_date
            self.distributions += distributions
            for problem in problems:
                self._report(*problem)
            if found:
                yield [Source(*each) for each in found]
        for number in helper.left():
            yield from self._walk([folders[number]], top)

    def _told(
        self, numbers: Iterator[int], folders: list[tuple[str, int]], top: str
    ) -> tuple[Any, ...]:
        """In a fork: what there is below the folders that it gets."""
        self.files, self.up_to_date, self.distributions = 0, 0, []
        problems: list[tuple[str, str]] = []
        self._report = lambda path, reason: problems.append((path, reason))
        found: list[Source] = []
        # Where there is much to do the walk is the least of it, and memory is to stay small.
        while len(found) < _MOST_AT_ONCE and (number := next(numbers, None)) is not None:
            for part in self._walk([folders[number]], top):
                found += part
                if len(found) > MOST_TOLD:
                    raise OverflowError
        return self.files, self.up_to_date, self.distributions, problems, [*map(tuple, found)]

    def _in(
        self, folder: str, top: str, depth: int, folders: list[tuple[str, int]]
    ) -> Iterator[list[Source]]:
        cache = None  # most folders hold no source
        most = self._options.most_levels
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.endswith(".py"):
                    cache = cache or self._cache(folder)
                    source = self._look(entry, name, cache, top)
                    if source:
                        found.append(source)
                        if len(found) == _MOST_AT_ONCE:
                            yield found
                            found = []
                # A link to a folder is not gone into.
                if entry.is_dir(follow_symlinks=False) and name != "__pycache__":
                    if name.endswith(".dist-info"):
                        self.distributions.append(entry.path)
                    if most is None or depth < most:
                        folders.append((entry.path, depth + 1))
        if found:
            yield found

    def _cache(self, folder: str) -> tuple[str, bool]:
        """What the paths of a folder's ``.pyc`` files begin with, and whether some may be kept."""
        cache = self._interpreter.folder(folder, self._options)
        exists = os.path.isdir(cache or os.curdir)
        return os.path.join(cache, ""), exists and not self._options.force

    def _look(
        self, file: str | os.DirEntry[str], name: str, cache: tuple[str, bool], top: str
    ) -> Source | None:
        """Count a source; the source itself if it is to be compiled."""
        try:
            status = os.stat(file) if isinstance(file, str) else file.stat()
        except OSError:  # it is gone, or a link to nothing
            return None
        if status.st_mode & _KIND != _REGULAR:
            return None
        if self._is_picky and self._is_left_out(os.fspath(file)):
            return None
        self.files += 1
        begin, is_worth_a_look = cache
        stem = begin + self._interpreter.stem(name, self._options)
        if is_worth_a_look and self._is_up_to_date(stem, status.st_mtime):
            self.up_to_date += 1
            return None
        path = os.fspath(file)
        shown = self._interpreter.shown(path, top, self._options)
        return Source(
            -status.st_size,
            os.fsencode(path),
            os.fsencode(stem),
            None if shown is None else os.fsencode(shown),
        )

    def _is_left_out(self, path: str) -> bool:
        if self._options.exclude is not None and self._options.exclude.search(path):
            return True
        if not self._limit or not os.path.islink(path):
            return False
        return not os.path.realpath(path).startswith(self._limit)

    def _is_up_to_date(self, stem: str, mtime: float) -> bool:
        """Whether each ``.pyc`` begins with the magic number, no flags, and the source's time.

        That is all that compileall looks at: it writes those that hold a hash anew.
        """
        expected = self._header + (int(mtime) & 0xFFFFFFFF).to_bytes(4, "little")
        try:
            for ending in self._endings:
                fd = os.open(stem + ending, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    if os.read(fd, 12) != expected:
                        return False
                finally:
                    os.close(fd)
        except OSError:
            return False
        return True


def _parents(path: str) -> Iterator[str]:
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent
