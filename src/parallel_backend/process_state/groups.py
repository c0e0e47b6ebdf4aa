"""The process groups that a hook has started, on record, so that none outlives it.

The record is a file to which every process of the hook appends: ``+GROUP PROCESS`` when a process
starts a group, ``-GROUP`` when the group has ended. Short appended writes do not mix.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Container
from pathlib import Path

__all__ = ["close_record", "end_groups", "forget_group", "make_record", "note_group"]

# One descriptor for each record that this process has written to; forks share them.
_open: dict[Path, int] = {}


def make_record(private: Path) -> None:
    """Begin the record of a hook, in its private folder."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    _open[private] = os.open(private / "groups", flags)


def close_record(private: Path) -> None:
    """The hook is over."""
    os.close(_open.pop(private))


def note_group(private: Path, group: int) -> None:
    """Note a process group that this process has started."""
    os.write(_open[private], b"+%d %d\n" % (group, os.getpid()))


def forget_group(private: Path, group: int) -> None:
    """Note that a process group has ended."""
    os.write(_open[private], b"-%d\n" % group)


def end_groups(private: Path, *, owners: Container[int] | None = None) -> None:
    """End the process groups that dead processes have left (default: all that are on record).

    They get a second: the compiler's driver then removes its temporary files.
    """
    groups = {
        group: process
        for group, process in _on_record(private).items()
        if owners is None or process in owners
    }
    until = time.monotonic() + 1
    for group in groups:
        _signal_group(group, signal.SIGTERM)
    while time.monotonic() < until and any(_signal_group(group, 0) for group in groups):
        time.sleep(0.01)  # these are no children of this process, so nothing tells of their end
    for group in groups:
        _signal_group(group, signal.SIGKILL)
        forget_group(private, group)


def _on_record(private: Path) -> dict[int, int]:
    groups: dict[int, int] = {}
    size = os.fstat(_open[private]).st_size
    for line in os.pread(_open[private], size, 0).splitlines():
        if line.startswith(b"+"):
            group, process = line[1:].split()
            groups[int(group)] = int(process)
        else:
            groups.pop(int(line[1:]), None)
    return groups


def _signal_group(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
