"""Run each hook in a process of its own, so that the process that calls it stays as it was.

The process is a fork where that is safe (POSIX, one thread), else a fresh interpreter. Its result
is a message; what it writes to a `sys.stdout` or `sys.stderr` that the caller has replaced is
relayed. It ends when its caller ends, by whatever signal. `parent` is the caller's side, `child`
the hook's, `fresh` the way into a fresh interpreter.
"""

from __future__ import annotations

from parallel_backend.hook_process.child import (
    Terminated,
    begin_fork,
    end_fork,
    fork_is_safe,
    imports_of_the_caller,
)
from parallel_backend.hook_process.crash_output import CrashOutput, read_crash_output
from parallel_backend.hook_process.parent import run_hook
from parallel_backend.hook_process.process_groups import end_groups, forget_group, note_group

__all__ = [
    "CrashOutput",
    "Terminated",
    "begin_fork",
    "end_fork",
    "end_groups",
    "forget_group",
    "fork_is_safe",
    "imports_of_the_caller",
    "note_group",
    "read_crash_output",
    "run_hook",
]
