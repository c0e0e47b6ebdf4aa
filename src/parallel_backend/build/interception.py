"""Where `subprocess` starts a process: what this build does there, and the groups of what runs.

The methods of `subprocess.Popen` are replaced, not the class: whoever has imported it before, or
derived a class from it, is seen as well. A process that a project forks is left alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from parallel_backend.build.commands import Command, parse
from parallel_backend.descriptors import Private, open_null
from parallel_backend.hook_process.process_groups import forget_group, note_group

__all__ = [
    "Handler",
    "be_done",
    "current_umask",
    "ended",
    "handle_here",
    "installed",
    "kill",
    "start",
    "started",
    "unseen",
]

_Popen: Any = subprocess.Popen
_init: Any = _Popen.__init__

#: Decides on a process that is about to be started: its `Popen` object, the command as far as it
#: is one that is known, and a function that starts it. Whoever it is starts it, or calls `be_done`.
Handler = Callable[[Any, "Command | None", Callable[..., None]], None]

_GROUP_OPTIONS = {"process_group", "start_new_session", "preexec_fn"}
_HAS_GROUPS = os.name == "posix"
_STATUS = Path("/proc/self/status")
# The number of no process: the largest on Linux is below.
_NOBODY = 1 << 22

_local = threading.local()
# The handler of a process, by its pid: that of a fork is its own.
_handlers: dict[int, Handler] = {}
_private: list[Path] = []
_null: list[Private] = []


def _start(self: Any, args: Any, *rest: Any, **options: Any) -> None:
    """`subprocess.Popen.__init__`."""
    handler = _handlers.get(os.getpid())
    if handler is None or getattr(_local, "unseen", False):
        _init(self, args, *rest, **options)
        return

    def begin() -> None:
        more = {} if rest else group_options(options)
        _init(self, args, *rest, **{**options, **more})
        if more:
            started(self.pid)

    self.args = args
    handler(self, None if rest else _command_of(args, options), begin)


@contextlib.contextmanager
def installed(handler: Handler, private: Path) -> Iterator[None]:
    """Let `handler` decide on every process that is started in this ``with`` block."""
    _handlers[os.getpid()] = handler
    _private.append(private)
    _Popen.__init__ = _start
    try:
        yield
    finally:
        _Popen.__init__ = _init
        _private.pop()
        _handlers.clear()


def handle_here(handler: Handler) -> None:
    """Let `handler` decide in this process, a fork, from now on."""
    _handlers.clear()
    _handlers[os.getpid()] = handler


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """What this thread starts in this ``with`` block is nobody's business."""
    before = getattr(_local, "unseen", False)
    _local.unseen = True
    try:
        yield
    finally:
        _local.unseen = before


def be_done(process: Any) -> None:
    """Let a `Popen` object be a process that has succeeded, with all that one has."""

    def execute(*_: Any) -> None:
        process.pid = _NOBODY

    process._execute_child = execute
    try:
        _init(process, process.args)
    finally:
        del process._execute_child
    process.returncode = 0


def current_umask() -> int:
    """The umask. To set it for a moment would meet files that other threads make."""
    try:
        return int(re.findall(rb"^Umask:\s*(\d+)", _STATUS.read_bytes(), re.MULTILINE)[0], 8)
    except (OSError, IndexError):
        umask = os.umask(0o022)
        os.umask(umask)
        return umask


def is_plain(args: Any, options: Mapping[str, Any]) -> bool:
    """Whether a process is words alone, where it runs, and its variables.

    What is named beside these counts whatever its value: `asyncio` and the like name all of it, and
    wait for a real process by its number.
    """
    return isinstance(args, (list, tuple)) and options.keys() <= {"env", "cwd", "close_fds"}


def _command_of(args: Any, options: Mapping[str, Any]) -> Command | None:
    if not is_plain(args, options):
        return None
    words = [os.fspath(word) for word in args]
    if any(isinstance(word, bytes) for word in words):
        return None
    try:
        here = os.getcwd()
    except OSError:  # it has been deleted
        return None
    inner = os.fsdecode(options.get("cwd") or "")
    folder = os.path.join(here, inner) if inner else here
    environ = os.environ if options.get("env") is None else options["env"]
    return parse(words, folder=folder, environ=dict(environ), umask=current_umask())


# --- processes of our own


def start(words: Sequence[str], **options: Any) -> Any:
    """Start a process in a group of its own."""
    with unseen():
        process: Any = _Popen(words, **(options | ({"process_group": 0} if _HAS_GROUPS else {})))
    started(process.pid)
    return process


def group_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that put a process of the project's into a group of its own, if it may have one."""
    if not _HAS_GROUPS or _GROUP_OPTIONS & set(options):
        return {}
    # A background group must not read from the terminal: it would be stopped, not told.
    stdin = {"stdin": null()} if options.get("stdin") is None else {}
    return {"process_group": 0, **stdin}


def null() -> int:
    """What a process reads that has nothing to read."""
    if not _null or not _null[-1].is_open():
        _null.append(Private(open_null()))
    return _null[-1].number


def started(group: int) -> None:
    """A process has been started that leads a group."""
    if _private and _HAS_GROUPS:
        note_group(_private[-1], group)


def ended(group: int) -> None:
    """A process that `start` has started has ended."""
    if _private and _HAS_GROUPS:
        forget_group(_private[-1], group)


def kill(group: int, number: int) -> None:
    """Send a signal to a process and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if _HAS_GROUPS:
            os.killpg(group, number)
        else:  # pragma: no cover - Linux has process groups
            os.kill(group, signal.SIGTERM)
