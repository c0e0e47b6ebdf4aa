"""What ``build`` was asked for, looked at before anything is done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parallel_backend.errors import ParallelBackendError
from parallel_backend.tools.cli import archives
from parallel_backend.tools.cli.arguments import reason_of
from parallel_backend.tools.cli.projects import OLDEST_PYTHON, known_name

__all__ = ["UseError", "find_interpreter", "find_sources", "make_folder", "read_config_settings"]

# For any Python, so that one is told by its version that is much too old.
_VERSION = "import sys; sys.stdout.write('%d %d %s' % (sys.version_info[:2] + (sys.executable,)))"


class UseError(ParallelBackendError):
    """What was asked for cannot be."""


def find_sources(words: Sequence[str], *, kind: str) -> dict[str, Path]:
    """What is to be built, each by a name of its own. Raises UseError."""
    found: dict[str, Path] = {}
    for word in words:
        path = _source(word, kind=kind)
        if any(path.samefile(other) for other in found.values()):
            raise UseError(f"{path} is named twice")
        name = known_name(path) if path.is_dir() else archives.stem(path)
        label, number = name, 1
        while label in found:
            number += 1
            label = f"{name}-{number}"
        found[label] = path
    return found


def _source(word: str, *, kind: str) -> Path:
    if not word:
        raise UseError("a SRC is empty; name a folder (. for this one) or an archive")
    if re.match(r"[a-z][a-z0-9+]+://", word):
        raise UseError(f"{word} is a URL; fetch it first, for example with pip download")
    path = Path(word)
    if path.is_dir():
        return path
    if not path.is_file():
        raise UseError(f"{path} is no folder and no file")
    if not path.name.lower().endswith(archives.SUFFIXES):
        endings = ", ".join(archives.SUFFIXES)
        raise UseError(f"{path} is no folder, and no archive by its name: {endings}")
    if kind == "editable-wheel":
        raise UseError(f"{path} is an archive; an editable wheel needs a folder that stays")
    return path


def find_interpreter(word: str | None) -> str:
    """The whole path of an interpreter that our backend and the hook server can run in. Raises
    UseError."""
    if word is None:
        return sys.executable
    try:
        done = subprocess.run(
            [word, "-c", _VERSION],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=True,
        )
        major, minor, path = done.stdout.strip().split(" ", 2)
        version = (int(major), int(minor))
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise UseError(f"--python {word}: no Python runs by this name") from error
    if version < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise UseError(f"--python {word} is Python {major}.{minor}; it must be {oldest} or newer")
    return path


def make_folder(word: str) -> Path:
    """The folder that wheels and logs go to. Raises UseError."""
    if not word:
        raise UseError("the output folder has no name")
    folder = Path(word).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UseError(f"{folder} is a file; name a folder for wheels and logs") from error
    except OSError as error:
        raise UseError(f"no folder can be made for wheels and logs: {reason_of(error)}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UseError(f"nothing can be written to {folder}; name another folder")
    return folder


def read_config_settings(words: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE words as a frontend hands them on: a list where a key is repeated. Raises
    UseError."""
    found: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if not key:
            raise UseError(f"-C {word}: a key is missing; write KEY=VALUE")
        if key not in found:
            found[key] = value
        elif isinstance(found[key], list):
            found[key].append(value)
        else:
            found[key] = [found[key], value]
    return found
