"""What is said of a failure beside setuptools' own words: the extension and the source."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from distutils.errors import CCompilerError, DistutilsError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parallel_backend.build.commands import Command

__all__ = ["joined", "reported"]


def reported(error: Exception, extension: str, command: Command | None) -> Exception:
    """The exception, of the same class, with what failed in its message or its notes.

    setuptools prints the message of its own exceptions last of all; other exceptions get a note,
    which Python prints last of all. `command`: the one that failed, if one did.
    """
    if not isinstance(error, (CCompilerError, DistutilsError)):
        error.add_note(f"extension {extension!r}")
        return error
    told = copy.copy(error)
    source = f"{command.source}: " if command is not None and command.source else ""
    told.args = (f"extension {extension!r}: {source}{error}",)
    return told


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
