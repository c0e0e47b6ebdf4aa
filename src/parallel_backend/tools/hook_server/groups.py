"""The process group that a hook leads, so that it can be ended with all that it has started."""

from __future__ import annotations

import os

__all__ = ["lead_group", "signal_group"]


def lead_group(process: int) -> None:
    """Make a process that has not called ``exec`` yet the leader of a group; 0 is this one."""
    try:
        os.setpgid(process, process)
    except OSError:  # it has ended
        return


def signal_group(group: int, number: int) -> None:
    """Send a signal to all of a group, if there is anybody left whom this process may signal."""
    try:
        os.killpg(group, number)
    except OSError:
        return
