"""The folder that `timings` names, looked at before a build begins."""

from __future__ import annotations

import os
from pathlib import Path

from parallel_backend.errors import SettingsError
from parallel_backend.timings.record import RECORDS

__all__ = ["check_folder", "is_shared"]


def is_shared(folder: str) -> bool:
    """Whether `folder` belongs to somebody who runs many hooks, reads their records meanwhile, and
    deletes it in the end."""
    return os.path.isdir(os.path.join(folder, RECORDS))


def check_folder(folder: str) -> None:
    """Raise SettingsError if no file can be written to `folder`, or it cannot be made.

    Nothing is made: setuptools takes each folder of a project for a package perhaps.
    """
    path = Path(folder)
    there = next(parent for parent in (path, *path.parents) if os.path.lexists(parent))
    if not there.is_dir():
        raise SettingsError(f"timings: {there} is no folder; name one for timings.html to go to")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SettingsError(
            f"timings: nothing can be written to {there}; name another folder for timings.html"
        )
