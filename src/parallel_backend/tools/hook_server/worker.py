"""A process that the supervisor has hooks run in: each in a fork of it, or one in itself.

Requests come by one descriptor, a line each; "!" before one means that it is not to be sent back.
Reports go by another one:

    stale PID           this worker is of no use for the request, and ends
    hook PID            the hook begins, in a process of this number
    {"id": ...}         the hook's answer
    ended PID STATUS    the hook's process has ended, with a status as of `subprocess`
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import sys

from parallel_backend.tools.hook_server.descriptors import write_all
from parallel_backend.tools.hook_server.hook import be_the_hook
from parallel_backend.tools.hook_server.messages import Request, answer_line, read_lines
from parallel_backend.tools.hook_server.template import Template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["END", "serve", "thread_count"]

_signal: Any = __import__("_signal")

#: What comes before "ended": a hook that was killed may have left half an answer.
END = b"!\n"


def serve(requests: int, reports: int, *, forks: bool) -> NoReturn:
    """Be a worker, until no more requests come. `forks` false: only one comes."""
    _forget_the_server()
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # not to get the signals of the supervisor's group
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    with contextlib.suppress(BrokenPipeError):  # the supervisor has ended
        _work(requests, reports, Template() if forks else None)
    atexit._run_exitfuncs()
    os._exit(0)


def _work(requests: int, reports: int, template: Template | None) -> None:
    for line in read_lines(requests):
        if not line:
            return
        text = line.removeprefix(b"!")
        request = Request(json.loads(text), text)
        if template:
            fits = template.suits(request) and (text != line or template.is_unchanged())
            if not fits:
                write_all(reports, b"stale %d\n" % os.getpid())
                return
        if template is None or thread_count() > 1 or _fork(request, reports):
            os.close(requests)
            be_the_hook(request, reports)


def _fork(request: Request, reports: int) -> bool:
    """Fork, and wait for the fork's end; true: this is the fork."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    gc.freeze()  # a hook does not look through what is there already, which would copy it
    try:
        pid = os.fork()
    except OSError as error:
        message = f"the hook's process cannot be made: {error}"
        answer = {"id": request.identity, "outcome": "refused", "message": message}
        write_all(reports, answer_line(answer))
        return False
    if pid == 0:
        return True
    _, status = os.waitpid(pid, 0)
    write_all(reports, END + b"ended %d %d\n" % (pid, os.waitstatus_to_exitcode(status)))
    return False


def _forget_the_server() -> None:
    """Let hooks find what is there by the name of this package, or nothing."""
    for name in [*sys.modules]:
        if name.partition(".")[0] == "parallel_backend":
            del sys.modules[name]
    sys.path_importer_cache.pop(os.path.dirname(__file__), None)


def thread_count() -> int:
    """Count the threads of this process, those of libraries included."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # pragma: no cover - Linux has it
        threading = sys.modules.get("threading")
        return 1 if threading is None else int(threading.active_count())
