"""For whom something is compiled now: an extension, or the C libraries."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parallel_backend.engine.output import Job

if TYPE_CHECKING:
    from parallel_backend.engine.inputs import Input
    from parallel_backend.engine.slots import Slots

__all__ = ["Scope", "current_scope"]

_local = threading.local()


class Scope:
    """What `compile` has to know beside its arguments.

    `name` is for humans, and keeps apart commands that are equal in words alone. `command` is the
    distutils command that builds it. `publish`: nothing else runs, so that objects can also be put
    where setuptools would have them, for code that makes up their names itself.
    """

    def __init__(self, *, name: str, command: Any, slots: Slots, publish: bool) -> None:
        self.name = name
        self.command = command
        self.slots = slots
        self.publish = publish
        #: Where the objects are that setuptools would call by the key.
        self.objects: dict[str, str] = {}
        #: What was read to make them.
        self.inputs: list[Input] = []
        #: Paths where there was nothing, and where a file would have been read instead.
        self.absent: set[str] = set()
        #: How many were compiled, and how many were there already.
        self.compiled = 0
        self.reused = 0
        #: What failed commands printed; a project may catch the exception that tells it.
        self.failures: list[str] = []

    @contextlib.contextmanager
    def current(self) -> Iterator[Scope]:
        """Make it the scope of this thread for the length of a ``with`` block."""
        before = getattr(_local, "scope", None)
        _local.scope = self
        try:
            yield self
        finally:
            _local.scope = before

    @contextlib.contextmanager
    def job(self, *, live: bool = False) -> Iterator[Job]:
        """A new job of this scope, current in this thread for the length of a ``with`` block."""
        job = Job(live=live)
        try:
            with job.current():
                yield job
        finally:
            job.close()

    def place(self, plain: str, path: str) -> None:
        """Note that the object which setuptools would call `plain` is at `path`."""
        self.objects[plain] = path
        if not self.publish:
            # An object of an earlier build: better none than a wrong one for who looks for it.
            with contextlib.suppress(OSError):
                os.unlink(plain)
        else:
            temporary = Path(f"{plain}.{id(self)}.tmp")
            temporary.unlink(missing_ok=True)
            try:
                temporary.hardlink_to(path)
            except OSError:
                shutil.copy2(path, temporary)
            temporary.replace(plain)


def current_scope() -> Scope | None:
    """The scope of this thread, if it has one."""
    return getattr(_local, "scope", None)
