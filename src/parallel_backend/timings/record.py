"""Notes of what happens while a build runs, in a file that is appended to.

Each note is a line of JSON: ``[kind, name, process, id, up, slot, begin, end, details]``. Times are
nanoseconds of the monotonic clock, which all processes share. `up` is the id of what it happened
in, `slot` the number of the job slot, 0 for the one that a build has from the start. What began and
has no end yet is noted with null as its end, and again when it has ended: all of it where somebody
looks on while it runs, else what may be killed. What is noted last of an id counts, and details add
up.

The file is opened for each line: who is killed loses what it was at and no more, and a project that
closes descriptors it does not know does no harm. Where nothing is recorded all this does nothing,
nor does it in a fork: that of a recorder must write nowhere.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Self

__all__ = [
    "RECORDS",
    "Span",
    "begun",
    "current",
    "program",
    "recording",
    "slot_was_held",
    "span",
    "waiting",
]

#: The folder for the records of many hooks, in the one that `timings` names.
RECORDS = ".parallel-backend-records"

_KEPT = 500  # characters of a text that a note is given
_SHORTEST_WAIT = 100_000  # nanoseconds
# Names of exceptions by which something is broken off.
_BREAKS = ("KeyboardInterrupt", "Terminated", "_CancelledError")

_path: str | None = None
_process = 0
_watched = False
_within: ContextVar[Span | None] = ContextVar("within", default=None)
_numbers = itertools.count()


@contextlib.contextmanager
def recording(path: str | os.PathLike[str], *, watched: bool = False) -> Iterator[None]:
    """Note what this process does in this ``with`` block in the file at `path`.

    `watched`: somebody reads it meanwhile.
    """
    global _path, _process, _watched
    before = _path, _process, _watched
    _path, _process, _watched = os.fspath(path), os.getpid(), watched
    within = _within.set(None)
    try:
        yield
    finally:
        _path, _process, _watched = before
        _within.reset(within)


class Span:
    """Something that begins and ends. Attributes may be set until its end.

    `whole`: it is all that this process does, whose CPU time and peak memory are its own.
    `told`: it is noted when it begins, too, since its process may be killed.
    """

    def __init__(
        self,
        kind: str,
        name: object,
        *,
        whole: bool,
        told: bool,
        details: dict[str, Any],
        slot: int,
        up: Span | None = None,
    ) -> None:
        self.kind = kind
        self.name = str(name)
        self.details = details
        self.up = _within.get() if up is None else up
        self._slot = slot
        self._whole = whole
        self._clock = time.process_time_ns if whole else time.thread_time_ns
        self.id = f"{os.getpid()}-{next(_numbers)}"
        self._cpu = self._clock()
        self._begin = time.monotonic_ns()
        self._end: int | None = None
        if told:
            self._write(None)

    def __enter__(self) -> Self:
        self._before = _within.set(self)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        _within.reset(self._before)
        if error is not None:
            self.fail(error)
        self.details["cpu"] = self._clock() - self._cpu
        if self._whole:
            self.details["peak"] = _peak()
        self.end()

    def note(self, **details: Any) -> None:
        """Keep more of it."""
        self.details.update(details)

    def fail(self, error: BaseException) -> None:
        """It did not do what it should, and why."""
        name = type(error).__name__
        result = "cancelled" if name in _BREAKS else ""
        lines = str(error).strip().splitlines() or [name]
        self.note(result=result or "failed", error=lines[0][:_KEPT])

    def used(self, status: int | None, usage: Any) -> None:
        """Its process has ended, just now if that is not known yet; `usage` as `os.wait4` gives it,
        or None."""
        self._end = self._end or time.monotonic_ns()
        if status is not None:
            self.note(status=status)
        if usage is not None:
            cpu = int((usage.ru_utime + usage.ru_stime) * 1e9)
            self.note(cpu=cpu, peak=_bytes(usage.ru_maxrss))

    def end(self) -> None:
        """It ends now; or it has ended, and more of it is known by now."""
        self._end = self._end or time.monotonic_ns()
        self._write(self._end)

    def _write(self, end: int | None) -> None:
        up = self.up.id if self.up is not None else ""
        details = dict(self.details)  # another thread may note something
        _write(self.kind, self.name, self.id, up, self._slot, self._begin, end, details)


class _Nothing(Span):
    """Where nothing is recorded."""

    def __init__(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def note(self, **details: Any) -> None:
        pass

    def fail(self, error: BaseException) -> None:
        pass

    def end(self) -> None:
        pass


_NOTHING = _Nothing()


def span(
    kind: str,
    name: object,
    *,
    whole: bool = False,
    told: bool | None = None,
    slot: int = 0,
    **details: Any,
) -> Span:
    """Something that lasts as long as a ``with`` block.

    `told`: None where only those who look on want to know when it begins.
    """
    if _path is None:
        return _NOTHING
    told = _watched if told is None else told
    return Span(kind, name, whole=whole, told=told, details=details, slot=slot)


def current() -> Span:
    """The innermost span that this thread is in."""
    return (_path and _within.get()) or _NOTHING


def begun(
    kind: str, name: object, *, slot: int = 0, up: Span | None = None, **details: Any
) -> Span | None:
    """A command that begins in a job slot; call `end` when it is over. None where nothing is
    recorded. `up`: what it happens in, if that is not what this thread is in."""
    if _path is None:
        return None
    up = None if up is _NOTHING else up
    # Linux lets a process begin with the peak of the one that starts it: less cannot be seen.
    details["least"] = _peak()
    return Span(kind, name, whole=False, told=_watched, details=details, slot=slot, up=up)


def program(words: Any, *, slot: int = 0) -> Span | None:
    """A process that is started now. None where nothing is recorded."""
    if _path is None:
        return None
    first = words if isinstance(words, (str, bytes, os.PathLike)) else [*words, ""][0]
    return begun("program", os.path.basename(os.fsdecode(first).partition(" ")[0]), slot=slot)


def slot_was_held(number: int, since: float) -> None:
    """A job slot is given back that was held `since` (seconds of the monotonic clock)."""
    if _path is not None:
        now = time.monotonic_ns()
        _write("slot", str(number), "", "", number, int(since * 1e9), now, {})


@contextlib.contextmanager
def waiting(is_wait: bool) -> Iterator[None]:
    """In this ``with`` block nothing is done but to wait for a job token, if `is_wait`."""
    if _path is None or not is_wait:
        yield
        return
    began = time.monotonic_ns()
    yield
    now = time.monotonic_ns()
    if now - began >= _SHORTEST_WAIT:
        _write("wait", "a job token", "", "", 0, began, now, {})


def _write(kind: str, name: str, *rest: Any) -> None:
    import json

    if _path is None or os.getpid() != _process:  # it is over, and somebody waits for a child still
        return
    # With separators of our own each call would make an encoder first.
    line = json.dumps([kind, name[:_KEPT], os.getpid(), *rest])
    with contextlib.suppress(OSError):  # a build does not fail because the disk is full of notes
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(_path, flags, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)


def _peak() -> int:
    """The most memory that this process has had, in bytes; 0 where that is not told."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Linux has it
        return 0
    return _bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _bytes(maxrss: int) -> int:
    return maxrss if sys.platform == "darwin" else maxrss * 1024
