"""Compiles files for :mod:`..pool`, in any interpreter from Python 3.8 on.

It is run by path with ``-I -S -E``, so it imports nothing of this package, and little else. Its
arguments are the numbers of three descriptors: orders come in at the first, answers go out at the
second, and the third is a file that always holds how many files were begun: so the pool knows which
one is in work when this process dies or hangs.

A message is its length (4 bytes, little-endian) and an object in version 2 of the marshal format,
which every interpreter reads. In come the arguments of :class:`Compiler`, then batches: lists of
the arguments of :meth:`Compiler.compile`. Out go

- a greeting, (version, magic number, cache tag), once;
- (index, line, message) for a file of the batch that gave no ``.pyc``; no message: it was gone;
- the number of files in the batch, at its end.
"""

from __future__ import annotations

import _frozen_importlib_external
import _imp
import gc
import marshal
import os
import sys

# Strings that were interned stay so for ever from here on.
_KEEPS_STRINGS = sys.version_info >= (3, 12)
if not _KEEPS_STRINGS:
    # What else holds a string decides how it is written (python/cpython#78274): hold the same ones.
    import argparse  # noqa: F401
    import compileall  # noqa: F401
    import site  # noqa: F401

TYPE_CHECKING = False  # typing takes longer to import than all of the rest
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, BinaryIO

__all__ = ["Compiler", "Problem", "main"]

_bootstrap: Any = _frozen_importlib_external

_UTF_8 = {b"utf-8", b"utf8", b"UTF-8", b"utf-8;"}
_MOST_TEXT = 2000  # characters of a message


class Problem(Exception):
    """A file gave no ``.pyc``: the line, the message."""


class Compiler:
    """Writes what ``compileall -j1`` writes.

    :param levels: optimization levels, ascending, each with the ending of its ``.pyc``.
    :param mode: "timestamp", "checked-hash" or "unchecked-hash".
    :param hardlink_dupes: a ``.pyc`` that equals the one of the level before becomes a link to it.
    :param mark: the ending of temporary names, no other process' own.
    """

    def __init__(
        self, levels: list[tuple[int, bytes]], mode: str, hardlink_dupes: bool, mark: bytes
    ) -> None:
        self._levels = levels
        self._mode = mode
        self._hardlink_dupes = hardlink_dupes
        self._mark = mark

    def compile(self, source: bytes, stem: bytes, shown: bytes | None) -> None:
        """Compile one file at each level.

        :param stem: the path of its ``.pyc`` without the level's ending.
        :param shown: the path that the code is to name; None: that of the source.
        :raises Problem: it cannot be read, compiled or written.
        :raises FileNotFoundError: it is gone.
        """
        try:
            text, status = _read(source)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Problem(None, f"cannot be read: {error.strerror}") from error
        name = os.fsdecode(shown or source)
        before, data, target = -1, b"", b""
        for level, ending in self._levels:
            previous, target = target, stem + ending
            _check(target)
            is_new = not (previous and _are_alike(before, level, text))
            if is_new:
                fresh = self._pyc(text, name, level, status)
                is_new, data = fresh != data, fresh
            before = level
            is_link = self._hardlink_dupes and not is_new
            self._write(target, data, status.st_mode, previous if is_link else b"")

    def _pyc(self, text: bytes, name: str, level: int, status: os.stat_result) -> bytes:
        try:
            # In a name of its own, as in py_compile: marshal counts the references.
            code = compile(text, name, "exec", dont_inherit=True, optimize=level)
            interned = _interned_for(code) if _KEEPS_STRINGS and b"{" in text else []
            if interned:
                del code
                code = compile(text, name, "exec", dont_inherit=True, optimize=level)
        except Exception as error:
            raise Problem(*_described(error)) from error
        if self._mode == "timestamp":
            data = _bootstrap._code_to_timestamp_pyc(code, status.st_mtime, status.st_size)
        else:
            digest = _imp.source_hash(_bootstrap._RAW_MAGIC_NUMBER, text)
            data = _bootstrap._code_to_hash_pyc(code, digest, self._mode == "checked-hash")
        return bytes(data)

    def _write(self, target: bytes, data: bytes, mode: int, link: bytes) -> None:
        temporary = target + self._mark
        try:
            if link:
                os.link(link, temporary)
            else:
                _create(temporary, data, (mode | 0o200) & 0o666)
            os.replace(temporary, target)
        except OSError as error:
            try:  # noqa: SIM105 - to import contextlib takes longer than to compile a file
                os.unlink(temporary)
            except OSError:
                pass
            text = f"{os.fsdecode(target)} cannot be written: {error.strerror}"
            raise Problem(None, text) from error


def _read(path: bytes) -> tuple[bytes, os.stat_result]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        text = os.read(fd, status.st_size + 1)
        while True:  # it may have grown, and some file systems give less than was asked for
            more = os.read(fd, 1 << 16)
            if not more:
                return text, status
            text += more
    finally:
        os.close(fd)


def _check(target: bytes) -> None:
    """Refuse, as py_compile does, to replace what is no regular file."""
    try:
        mode = os.lstat(target).st_mode
    except OSError:
        return  # to write it tells more
    if mode & 0o170000 != 0o100000:
        raise Problem(None, f"{os.fsdecode(target)} is not a regular file, and is let be")


def _create(path: bytes, data: bytes, mode: int) -> None:
    flags = os.O_EXCL | os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, mode)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, flags, mode)
    try:
        while data:  # a disk that is nearly full takes a part
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


def _are_alike(lower: int, higher: int, text: bytes) -> bool:
    """Whether code surely is the same at two levels, `lower` being optimized less.

    Level 1 drops ``assert`` and makes ``__debug__`` false, level 2 drops docstrings. Another
    encoding could hide these words, and so could letters that Python normalizes.
    """
    if not text.isascii():
        return False
    for line in text.replace(b"\r", b"\n").split(b"\n", 2)[:2]:
        rest = line.partition(b"coding")[2]
        if rest and not (rest[:1] in b":=" and rest[1:].split()[:1] in [[each] for each in _UTF_8]):
            return False
    if lower < 1 and (b"assert" in text or b"__debug__" in text):
        return False
    return higher < 2 or (b'"' not in text and b"'" not in text)


def _interned_for(code: CodeType) -> list[str]:
    """The strings in constant sets that several code objects of a file have, interned.

    Whether those code objects share one set depends on whether another object is interned for a
    string in it, so on what was compiled before (python/cpython#129724). While this list is kept,
    they never do.
    """
    found: list[frozenset[Any]] = []
    waiting = [code]
    kind = type(code)
    for each in waiting:
        for constant in each.co_consts:
            if type(constant) is kind:
                waiting.append(constant)
            elif type(constant) is frozenset:
                found.append(constant)
    if len(found) == len(set(found)):
        return []
    return [sys.intern(each) for every in found for each in every if _is_interned(each)]


def _is_interned(constant: object) -> bool:
    """Whether it is a string that the compiler interns."""
    if type(constant) is not str or not constant.isascii():
        return False
    return constant.replace("_", "a").isalnum()


def _described(error: Exception) -> tuple[int | None, str]:
    text = error.msg if isinstance(error, SyntaxError) else error
    line = error.lineno if isinstance(error, SyntaxError) else None
    return line or None, f"{type(error).__name__}: {text}"[:_MOST_TEXT]


def main(orders: BinaryIO, answers: int, begun: int) -> None:
    """Serve until there are no more orders."""
    tag = sys.implementation.cache_tag
    _send(answers, (tuple(sys.version_info[:2]), _bootstrap.MAGIC_NUMBER, tag))
    task = _receive(orders)
    if task is None:
        return
    gc.disable()  # code holds no cycles, and to look for some takes as long as a small file
    compiler = Compiler(*task)
    count = 0
    for batch in iter(lambda: _receive(orders), None):
        for index, file in enumerate(batch):
            count += 1
            os.pwrite(begun, count.to_bytes(4, "little"), 0)
            try:
                compiler.compile(*file)
            except Problem as problem:
                _send(answers, (index, *problem.args))
            except FileNotFoundError:
                _send(answers, (index, None, None))
        _send(answers, len(batch))


def _send(answers: int, message: Any) -> None:
    data = marshal.dumps(message, 2)
    data = len(data).to_bytes(4, "little") + data
    while data:
        data = data[os.write(answers, data) :]


def _receive(orders: BinaryIO) -> Any:
    length = orders.read(4)
    return marshal.loads(orders.read(int.from_bytes(length, "little"))) if length else None


if __name__ == "__main__":
    with open(int(sys.argv[1]), "rb") as stream:
        main(stream, int(sys.argv[2]), int(sys.argv[3]))
