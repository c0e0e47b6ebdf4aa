"""What is said of a failure beside setuptools' own words: what failed, in which extension, how."""

from __future__ import annotations

import copy
import logging
import os
import subprocess
from collections.abc import Sequence
from distutils.errors import CCompilerError, DistutilsError
from typing import TYPE_CHECKING, Any

from parallel_backend.hook_process.result import signal_name

if TYPE_CHECKING:
    from parallel_backend.build.commands import Command

__all__ = ["how_it_ended", "joined", "reported"]


def reported(error: Exception, where: str, failed: tuple[Command, Any] | None) -> Exception:
    """The exception, of the same class, with what failed in its message or its notes.

    setuptools prints the message of its own exceptions last of all, after what the command printed;
    other exceptions get a note, which Python prints last of all.

    :param where: what was being built.
    :param failed: the last command, and its process.
    """
    if not isinstance(error, (CCompilerError, DistutilsError)):
        error.add_note(where)
        return error
    told = copy.copy(error)
    told.args = (f"{where}: {_explained(error, failed)}",)
    told.__cause__ = error.__cause__
    return told


def _explained(error: Exception, failed: tuple[Command, Any] | None) -> str:
    causes = [error, error.__cause__, error.__context__, *error.args]
    missing = [each for each in causes if isinstance(each, FileNotFoundError) and each.filename]
    if missing:
        program = os.fsdecode(missing[0].filename)
        return f"the program {program!r} was not found; install it, or name another one (CC, CXX)"
    command, process = failed or (None, None)
    status = getattr(process, "returncode", None)
    if command is None or not status:
        return str(error)
    text = f"{command.name}: {command.words[0]} {how_it_ended(status)}"
    if not logging.getLogger().isEnabledFor(logging.INFO):  # as with --quiet
        text += f"\n{subprocess.list2cmdline(command.words)}"
    return text


def how_it_ended(status: int) -> str:
    """An exit status in words; negative: a signal's number."""
    if status >= 0:
        return f"failed with exit status {status}"
    name = signal_name(-status)
    return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def joined(errors: Sequence[Exception]) -> Exception:
    """One exception that tells all of them, for a build that kept going."""
    first = errors[0]
    if len(errors) == 1 or not isinstance(first, (CCompilerError, DistutilsError)):
        for error in errors[1:]:
            first.add_note(str(error))
        return first
    told = copy.copy(first)
    texts = "\n".join(str(error) for error in errors)
    told.args = (f"{len(errors)} extensions failed\n{texts}",)
    return told
