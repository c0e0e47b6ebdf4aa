"""The ``RECORD`` file of an installed distribution, with a line for each ``.pyc``.

As pip writes it: the hash and the size of a ``.pyc`` are left empty.
Source: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import base64
import contextlib
import csv
import fcntl
import hashlib
import io
import os
from collections.abc import Iterator

from parallel_backend.tools.bytecode.interpreter import Interpreter
from parallel_backend.tools.bytecode.options import Options

__all__ = ["update_record"]


def update_record(folder: str, *, options: Options, interpreter: Interpreter) -> bool:
    """Add what is missing to the RECORD of a ``*.dist-info`` folder, mend what is wrong there.

    Lines are added for the ``.pyc`` files that there are, of each source that is recorded, for this
    interpreter and these levels. A line's hash or size is taken away where it is wrong.

    :returns: whether RECORD was changed; it is replaced by a whole one.
    :raises OSError: it cannot be read or written.
    :raises ValueError: it is no RECORD file.
    """
    path = os.path.join(folder, "RECORD")
    with _locked(folder):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                text = file.read()
        except FileNotFoundError:  # an editable install of old, or a system's own
            return False
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        except csv.Error as error:
            raise ValueError(f"it is no CSV file: {error}") from error
        updated = _updated(rows, os.path.dirname(folder), options, interpreter)
        if updated == rows:
            return False
        end = "\r\n" if "\r\n" in text else "\n"
        stream = io.StringIO(newline="")
        csv.writer(stream, lineterminator=end).writerows(updated)
        _replace(path, stream.getvalue().encode("utf-8", "surrogateescape"))
        return True


def _updated(
    rows: list[list[str]], root: str, options: Options, interpreter: Interpreter
) -> list[list[str]]:
    known = {row[0]: at for at, row in enumerate(rows)}
    updated: list[list[str]] = []
    mended: dict[str, list[str]] = {}
    for row in rows:
        updated.append(row)
        if row[0].endswith(".py"):
            for name in _compiled(row[0], root, options, interpreter):
                if name not in known:
                    updated.append([name, "", ""])
                elif not _is_right(rows[known[name]], os.path.join(root, name)):
                    mended[name] = [name, "", ""]
    updated = [mended.get(row[0], row) for row in updated]
    return sorted(updated) if rows == sorted(rows) else updated


def _compiled(name: str, root: str, options: Options, interpreter: Interpreter) -> Iterator[str]:
    """The ``.pyc`` files that there are of a source, as RECORD is to name them."""
    inner, base = os.path.split(name)
    folder = os.path.join(root, inner)
    cache = interpreter.folder(folder, options)
    for _, ending in options.endings():
        file = interpreter.stem(base, options) + ending
        if os.path.isfile(os.path.join(cache, file)):
            beside = os.path.relpath(cache, folder or os.curdir)
            yield os.path.normpath(os.path.join(inner, beside, file))


def _is_right(row: list[str], path: str) -> bool:
    _, digest, size = [*row, "", ""][:3]
    if not digest and not size:
        return True
    with open(path, "rb") as file:
        data = file.read()
    kind, _, value = digest.partition("=")
    if size and size != str(len(data)):
        return False
    if not digest or kind not in hashlib.algorithms_guaranteed:
        return not digest
    found = base64.urlsafe_b64encode(hashlib.new(kind, data).digest())
    return found.rstrip(b"=") == value.encode().rstrip(b"=")


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Let two runs at once change a RECORD one after the other."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _replace(path: str, data: bytes) -> None:
    temporary = f"{path}.{os.urandom(4).hex()}"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
        os.chmod(temporary, os.stat(path).st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
