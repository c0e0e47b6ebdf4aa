"""Changes of a project's files: shown as a difference, written at once, formatting kept."""

from __future__ import annotations

import difflib
import json
import os
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_backend.errors import ParallelBackendError

__all__ = ["Edit", "EditError", "build_system_edit", "line_edit"]

# Bytes that are not UTF-8 stay as they are.
_UTF_8: Any = {"encoding": "utf-8", "errors": "surrogateescape"}


class EditError(ParallelBackendError):
    """The file cannot be changed here."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A file's text before and after; "" before: there is none yet."""

    path: Path
    old: str
    new: str

    @property
    def difference(self) -> str:
        """What changes, in the unified format; "" for nothing."""
        name = str(self.path) if self.old else os.devnull
        old, new = ([line + "\n" for line in text.splitlines()] for text in (self.old, self.new))
        lines = difflib.unified_diff(old, new, fromfile=name, tofile=str(self.path))
        return "".join(lines).encode("utf-8", "replace").decode()

    def write(self) -> None:
        """Replace the file, all at once and with the mode that it had."""
        path = self.path.resolve()
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        descriptor, new = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with open(descriptor, "wb") as file:
                file.write(self.new.encode(**_UTF_8))
            os.chmod(new, mode)
            os.replace(new, path)
        except BaseException:
            os.unlink(new)
            raise


def build_system_edit(path: Path, *, requires: Sequence[str], values: Mapping[str, Any]) -> Edit:
    """Let ``[build-system]`` of a ``pyproject.toml`` have these `requires` and `values`.

    Raises EditError where tomlkit is needed and not installed.
    """
    old = _text(path)
    newline = "\r\n" if "\r\n" in old else "\n"
    wanted = {"requires": [*requires], **values}
    table = tomllib.loads(old).get("build-system")
    if table is None:
        # At the end: a table at the beginning would take in what stands there before any other.
        gap = "" if not old else newline if old.endswith("\n") else 2 * newline
        new = old + gap + newline.join(["[build-system]", *_lines(wanted), ""])
    elif table == {**table, **wanted}:
        new = old
    else:
        new = _edited(old, wanted, newline=newline)
    return Edit(path=path, old=old, new=new)


def line_edit(path: Path, line: str) -> Edit:
    """Let a file have a line, in place of one that begins with the same two words."""
    old = _text(path)
    newline = "\r\n" if "\r\n" in old else "\n"
    lines = old.splitlines()
    former = [at for at, each in enumerate(lines) if each.split()[:2] == line.split()[:2]]
    if former:
        lines[former[0]] = line
        lines = [each for at, each in enumerate(lines) if at not in former[1:]]
    else:
        lines.append(line)
    return Edit(path=path, old=old, new="".join(each + newline for each in lines))


def _text(path: Path) -> str:
    return path.read_bytes().decode(**_UTF_8) if path.exists() else ""


def _edited(text: str, wanted: Mapping[str, Any], *, newline: str) -> str:
    try:
        import tomlkit
    except ImportError as error:
        raise EditError("init needs tomlkit: pip install tomlkit") from error
    document = tomlkit.parse(text)
    table: Any = document["build-system"]
    _change_list(table["requires"], wanted["requires"])
    missing = {name: value for name, value in wanted.items() if name not in table}
    for name in wanted.keys() - missing.keys():
        if table[name] != wanted[name]:
            table[name] = wanted[name]
    if not missing:
        return tomlkit.dumps(document)
    # New keys belong right below the others; tomlkit would put them below the comments that follow.
    last = table["build-backend" if "build-backend" in table else "requires"].trivia
    plain = last.trail
    last.trail = newline.join([plain.rstrip("\r\n"), *_lines(missing), ""])
    new = tomlkit.dumps(document)
    if _is_so(new, {**tomllib.loads(text)["build-system"], **wanted}):
        return new
    last.trail = plain  # an inline table, or one of dotted keys: there the place is tomlkit's
    table.update(missing)
    return tomlkit.dumps(document)


def _change_list(array: Any, wanted: Sequence[str]) -> None:
    for at in reversed(range(len(array))):
        if array[at] not in wanted:
            array.pop(at)
    for each in wanted:
        if each not in array:
            array.append(each)


def _is_so(text: str, table: Mapping[str, Any]) -> bool:
    try:
        return bool(tomllib.loads(text)["build-system"] == table)
    except (tomllib.TOMLDecodeError, LookupError):
        return False


def _lines(values: Mapping[str, Any]) -> list[str]:
    """Of keys and values in a table: strings and lists of JSON are those of TOML."""
    return [f"{name} = {json.dumps(each, ensure_ascii=False)}" for name, each in values.items()]
