"""Folders that are new for every build, and the fixed words that stand for them in records."""

from __future__ import annotations

import functools
import os
import re
import sys

__all__ = ["from_record", "to_record", "without_places"]

_PACKAGES = re.compile(r"(?:/lib(?:64)?/python[^/]*)?/(?:site|dist)-packages")


def without_places(text: str) -> str:
    """A text in which the folders of the isolated environment do not count."""
    for folder, word, pattern in _places(sys.prefix, tuple(sys.path)):
        if folder in text:
            text = pattern.sub(word, text)
    return text


def to_record(path: str) -> str:
    """A path as it is recorded: what is in the isolated environment is named from there."""
    for folder, word, _ in _places(sys.prefix, tuple(sys.path)):
        if path.startswith(folder) and path[len(folder) :][:1] in ("", os.sep):
            return word + path[len(folder) :]
    return path


def from_record(path: str) -> str:
    """The path that was recorded, in the isolated environment of today."""
    if path.startswith("{"):
        for folder, word, _ in _places(sys.prefix, tuple(sys.path)):
            if path.startswith(word):
                return folder + path[len(word) :]
    return path


@functools.lru_cache(maxsize=4)
def _places(prefix: str, search: tuple[str, ...]) -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """The folders of an isolated environment: build and uv make a venv, pip folders on the path."""
    folders = [] if prefix == sys.base_prefix else [prefix]
    for entry in search:
        match = _PACKAGES.search(entry)
        if match and match.end() == len(entry):
            folder = entry[: match.start()] or os.sep
            known = (sys.base_prefix, "/usr", "/usr/local", *folders)
            if not any(folder == each or folder.startswith(f"{each}{os.sep}") for each in known):
                folders.append(folder)
    # A longer one first: it may stand in a shorter one.
    numbered = sorted(enumerate(folders), key=lambda each: -len(each[1]))
    return tuple(
        (folder, f"{{environment {number}}}", re.compile(re.escape(folder) + r"(?![\w.-])"))
        for number, folder in numbered
    )
