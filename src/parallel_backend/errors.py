"""The errors that this package raises for what a user or the surroundings did.

Every one derives from :class:`ParallelBackendError`, and its message is one line that says what is
wrong, where, and what to do. The front door turns it into ``SystemExit``.
"""

from __future__ import annotations

__all__ = [
    "HookProcessError",
    "JobserverError",
    "ParallelBackendError",
    "SettingsError",
    "TreeLockError",
]


class ParallelBackendError(Exception):
    """The base of every error of this package."""


class SettingsError(ParallelBackendError):
    """A setting has an unknown key or a value that is not allowed."""


class HookProcessError(ParallelBackendError):
    """The process that runs a hook ended without a result."""


class JobserverError(ParallelBackendError):
    """A job token pool cannot be used."""


class TreeLockError(ParallelBackendError):
    """Another build of the same tree does not end."""
