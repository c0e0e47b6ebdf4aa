"""Serves job tokens to this build and to what it starts, through a FIFO.

A FIFO and not a pipe, since ninja (from 1.13 on) and cargo open a path, and since it needs no
descriptors that something on the way may close.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from parallel_backend.descriptors import moved_up
from parallel_backend.jobserver.environment import tell_children
from parallel_backend.jobserver.makeflags import is_tellable
from parallel_backend.jobserver.pool import DescriptorPool, MemoryPool, Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["has_fifos", "serve"]


def has_fifos() -> bool:
    """Say whether this system can have a jobserver in a FIFO."""
    return hasattr(os, "mkfifo")


def serve(*, makeflags: str, slots: int, private: Path, report: Callable[[str], None]) -> Pool:
    """Return a new pool of `slots` job slots: the implicit one, and tokens for the others.

    The FIFO lies in `private`, or in a temporary folder where that cannot be. Without FIFOs the
    tokens are for this process alone. What the user's `makeflags` say of other things is kept in
    the environment for children.
    """
    if not has_fifos():
        return MemoryPool(limit=slots)
    for folder, is_temporary in _folders(private):
        try:
            path, fd = _make_fifo(folder)
        except OSError:
            # A file system without FIFOs, or a folder that cannot be written.
            if is_temporary:
                os.rmdir(folder)
            continue
        pool = _Server(fd=fd, path=path, folder=folder if is_temporary else None)
        try:
            _fill(pool, fd=fd, slots=slots, makeflags=makeflags, report=report)
        except BaseException:
            pool.close()
            raise
        return pool
    report("no FIFO can be made here, so what the build starts does not share its job slots")
    return MemoryPool(limit=slots)


class _Server(DescriptorPool):
    """The pool that made its FIFO, and deletes it."""

    def __init__(self, *, fd: int, path: str, folder: str | None) -> None:
        super().__init__(fd=fd, limit=1, environment={}, description="")
        self.path = path
        self._folder = folder

    def close(self) -> None:
        if self.is_open_here():
            # Somebody may have tidied up before us.
            with suppress(OSError):
                os.unlink(self.path)
            if self._folder is not None:
                with suppress(OSError):
                    os.rmdir(self._folder)
        super().close()


def _folders(private: Path) -> Iterator[tuple[str, bool]]:
    """Give the folders to try, each with whether it was made for it."""
    folder = os.path.abspath(private)
    if is_tellable(folder):
        yield folder, False
    from tempfile import mkdtemp

    # Not in TMPDIR, which may be what cannot be told.
    with suppress(OSError):
        yield mkdtemp(prefix="parallel-backend-", dir="/tmp"), True


def _make_fifo(folder: str) -> tuple[str, int]:
    path = os.path.join(folder, "jobserver")
    os.mkfifo(path, 0o600)
    try:
        return path, moved_up(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except BaseException:
        os.unlink(path)
        raise


def _fill(
    pool: _Server, *, fd: int, slots: int, makeflags: str, report: Callable[[str], None]
) -> None:
    tokens = os.write(fd, b"+" * (slots - 1))
    if tokens < slots - 1:
        report(f"{slots} job slots are more than a FIFO holds; going on with {tokens + 1}")
    pool.limit = tokens + 1
    pool.description = f"{pool.limit} job slots of this build's own"
    pool.environment = tell_children(makeflags=makeflags, path=pool.path, jobs=pool.limit)
