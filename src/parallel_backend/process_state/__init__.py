"""Run a hook so that the process that calls it stays as it was.

Where a fork is safe, the hook runs in a fork of the process: nothing that setuptools or a
``setup.py`` does reaches the caller. The result comes back through a pipe, as does what the hook
writes to a `sys.stdout` or `sys.stderr` that the caller has replaced. Elsewhere (several threads,
Windows, macOS), or if asked for, the hook runs here, and the state that hooks are known to change
is put back.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from parallel_backend.errors import HookProcessError
from parallel_backend.process_state.groups import (
    close_record,
    end_groups,
    forget_group,
    make_record,
    note_group,
)
from parallel_backend.process_state.hook import Terminated, begin_fork, end_fork
from parallel_backend.process_state.last_words import LastWords, read_last_words

__all__ = [
    "LastWords",
    "Terminated",
    "begin_fork",
    "end_fork",
    "end_groups",
    "forget_group",
    "fork_is_safe",
    "note_group",
    "read_last_words",
    "run_hook",
]

T = TypeVar("T")


def fork_is_safe() -> bool:
    """Whether this process can fork and go on in Python: POSIX, not macOS, and one thread.

    macOS' own libraries abort in a child that has not called ``exec``; with several threads, a lock
    that another thread held at the fork stays locked for ever in the child.
    """
    if not hasattr(os, "fork") or sys.platform == "darwin":
        return False  # pragma: no cover - Linux can fork
    if threading.active_count() > 1:
        return False
    # Threads of libraries are seen by the system alone, which shows one that has ended for a while.
    for _ in range(20):
        try:
            if len(os.listdir("/proc/self/task")) == 1:
                return True
        except OSError:  # pragma: no cover - Linux has /proc
            return True
        time.sleep(0.001)
    return False


def run_hook(
    function: Callable[[Path], T], *, in_place: bool = False, place: str | None = None
) -> T:
    """Call `function` with a private folder, which is gone afterwards, and return what it returns.

    Whatever `function` raises is raised here, `KeyboardInterrupt` and `SystemExit` included.
    `HookProcessError` says that the process of the hook died. Where a signal ended the hook
    (SIGTERM, SIGHUP), the same signal then ends this process, as it would have without us.

    `in_place`: run it in this process even where a fork is safe. `place`: where the private folder
    is made, by default where temporary files go.
    """
    received: list[int] = []
    known = tempfile.tempdir
    try:
        private = Path(tempfile.mkdtemp(prefix="parallel-backend-", dir=place))
        make_record(private)
    except OSError as error:
        raise HookProcessError(
            f"no private folder can be made for the build in {place or tempfile.gettempdir()}: "
            f"{error.strerror}; make room there, or name another one (TMPDIR)"
        ) from error
    finally:
        tempfile.tempdir = known  # TMPDIR may be another one for the next hook
    try:
        if not in_place and fork_is_safe():
            from parallel_backend.process_state.caller import run_in_fork

            result: T = run_in_fork(function, private, received)
            return result
        from parallel_backend.process_state.in_place import put_back, terminable

        with put_back(), terminable(received):
            return function(private)
    finally:
        close_record(private)
        shutil.rmtree(private, ignore_errors=True)
        if received:
            signal.raise_signal(received[0])
