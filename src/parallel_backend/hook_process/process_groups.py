"""The process groups that a hook has started, on record, so that none outlives it.

The record is a file without a name: only the hook's processes can write to it, each appending
``+GROUP START OWNER`` when it starts a group, and ``-GROUP`` when the group has ended. START is
when the group's leader began, by the clock of /proc: with the process id it says for certain who
the leader is. Short appended writes do not mix.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Container
from pathlib import Path

from parallel_backend.descriptors import Private

__all__ = [
    "close_record",
    "end_groups",
    "forget_group",
    "make_record",
    "note_group",
    "process_start",
    "record_of",
    "take_record",
]

# The record of each hook that this process has a part in; forks share the descriptor.
_records: dict[Path, Private] = {}


def make_record(private: Path) -> Private:
    """Begin the record of a hook whose private directory this is."""
    with tempfile.TemporaryFile(dir=private, buffering=0) as file:
        descriptor = os.dup(file.fileno())
    return take_record(private, descriptor)


def take_record(private: Path, descriptor: int) -> Private:
    """Go on with a record that another process has begun."""
    with contextlib.suppress(ImportError):
        import fcntl

        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
    record = _records[private] = Private(descriptor)
    return record


def record_of(private: Path) -> Private:
    """The record of a hook, for a process that is to go on with it."""
    return _records[private]


def close_record(private: Path) -> None:
    """End the record of a hook that is over."""
    _records.pop(private).close()


def note_group(private: Path, group: int) -> None:
    """Note a process group that this process has started."""
    _append(private, b"+%d %d %d\n" % (group, process_start(group), os.getpid()))


def forget_group(private: Path, group: int) -> None:
    """Note that a process group has ended."""
    _append(private, b"-%d\n" % group)


def _append(private: Path, line: bytes) -> None:
    record = _records[private]
    if record.is_open():  # a project may have closed it
        with contextlib.suppress(OSError):  # the disk may be full
            os.write(record.number, line)


def process_start(pid: int) -> int:
    """When a process began, in clock ticks since boot (proc_pid_stat(5)); 0: it cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            # The name, which may hold anything, stands in parentheses.
            return int(stream.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def end_groups(private: Path, *, owners: Container[int] | None = None) -> None:
    """End the process groups that dead processes have left (default: all that are on record).

    They get a second: the compiler's driver then removes its temporary files.
    """
    groups = {
        group: start
        for group, (start, owner) in _on_record(private).items()
        if owners is None or owner in owners
    }
    until = time.monotonic() + 1
    for group, start in groups.items():
        _signal_group(group, start, signal.SIGTERM)
    while time.monotonic() < until and any(_signal_group(*each, 0) for each in groups.items()):
        time.sleep(0.01)  # these are no children of this process, so nothing tells of their end
    for group, start in groups.items():
        _signal_group(group, start, signal.SIGKILL)
        forget_group(private, group)


def _on_record(private: Path) -> dict[int, tuple[int, int]]:
    record = _records[private]
    if not record.is_open():
        return {}
    groups: dict[int, tuple[int, int]] = {}
    size = os.fstat(record.number).st_size
    for line in os.pread(record.number, size, 0).splitlines():
        if line.startswith(b"+"):
            group, start, owner = map(int, line[1:].split())
            groups[group] = start, owner
        else:
            groups.pop(int(line[1:]), None)
    return groups


def _signal_group(group: int, start: int, number: int) -> bool:
    """Signal a group whose leader is the process that was noted; whether it could be."""
    if not start or process_start(group) != start:
        return False
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
