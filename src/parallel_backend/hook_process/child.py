"""The hook's own process, from its start to its end."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import shutil
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from parallel_backend.descriptors import Private, open_standard_descriptors
from parallel_backend.errors import HookProcessError
from parallel_backend.hook_process.result import pack
from parallel_backend.hook_process.streams import Relay, flush

__all__ = [
    "Interrupt",
    "Terminated",
    "be_the_hook",
    "begin_fork",
    "end_fork",
    "fork_is_safe",
    "imports_of_the_caller",
]

#: Where the result is written if its descriptor is gone.
RESULT = "result"

# SIGIO: the caller has died (see `_end_with_the_caller`).
_ENDING = ("SIGTERM", "SIGHUP", "SIGIO")

_path_of_the_caller: list[str] = []
# The signals that were blocked before a fork; forks can nest, by hooks of their own.
_masks: list[set[int | signal.Signals]] = []


class Terminated(BaseException):
    """Raised in a hook's process when it is told to end by a signal, or its caller has died."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def fork_is_safe() -> bool:
    """Whether this process can fork and go on in Python: POSIX, not macOS, and one thread.

    macOS' own libraries abort in a child that has not called ``exec``; with several threads, a lock
    that another thread held at the fork stays locked for ever in the child.
    """
    if not hasattr(os, "fork") or sys.platform == "darwin":
        return False
    if threading.active_count() > 1:
        return False
    # Threads of libraries are seen by the system alone, which shows one that has ended for a while.
    for _ in range(20):
        try:
            if len(os.listdir("/proc/self/task")) == 1:
                return True
        except OSError:  # there is no /proc
            return True
        time.sleep(0.001)
    return False


def be_the_hook(
    function: Callable[[Path], Any],
    private: Path,
    *,
    result: Private | None,
    lifeline: Private | None,
    relays: list[Relay],
    mask: set[int | signal.Signals] | None,
) -> None:
    """Be the hook's process: call `function`, and send what it returns or raises.

    `lifeline`: the end of a pipe whose other end is the caller's alone. `mask`: the signals to
    block while `function` runs, since all are meanwhile; None where the system has no such thing.
    """
    try:
        _begin(lifeline, relays)
    except BaseException as error:
        reason = f"the process of the build hook cannot start: {type(error).__name__}: {error}"
        data = pack(False, HookProcessError(reason))
    else:
        try:
            if mask is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            data = pack(True, function(private))
        except BaseException as error:
            data = pack(False, error)
    with contextlib.suppress(BaseException):
        end_fork()
    _send(data, result, private)
    if lifeline is not None and _is_orphan(lifeline):
        shutil.rmtree(private, ignore_errors=True)


def begin_fork() -> None:
    """In a fork: what its parent does at its exit, and its ways with signals, are not ours."""
    if hasattr(gc, "freeze"):
        gc.freeze()  # what is here already is not looked through by us, and so not copied
    atexit._clear()
    finalize: Any = weakref.finalize
    finalize._registry.clear()
    finalize._registered_with_atexit = False
    signal.set_wakeup_fd(-1)
    _default_handlers()


def _default_handlers() -> None:
    for number in (signal.SIGINT, *_ending_numbers()):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _ending_numbers() -> list[int]:
    return [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]


def _begin(lifeline: Private | None, relays: list[Relay]) -> None:
    """Start from a known state, whatever the caller's is."""
    interrupt = signal.getsignal(signal.SIGINT)
    begin_fork()
    open_standard_descriptors()
    # Children are waited for, and writing to a closed pipe is an error, as in a new interpreter.
    for name, usual in (("SIGCHLD", signal.SIG_DFL), ("SIGPIPE", signal.SIG_IGN)):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), usual)
    for number in _ending_numbers():
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _raise_terminated)
    if interrupt is signal.default_int_handler:
        interrupt = Interrupt()
    signal.signal(signal.SIGINT, interrupt)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_hold_signals, after_in_parent=_release_signals, after_in_child=_forget_handlers
        )
    if lifeline is not None:
        _end_with_the_caller(lifeline)
    for relay in relays:
        relay.be_the_stream()
    _path_of_the_caller[:] = sys.path
    # A frontend may have installed something since this process looked last.
    importlib.invalidate_caches()


# What ``setup.py`` forks, such as the workers of `multiprocessing`, is ended by SIGTERM, as it is
# without us. Signals wait meanwhile: Python forgets what its handlers were told of during a fork.


def _hold_signals() -> None:
    _masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, _ending_numbers()))


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop())


def _forget_handlers() -> None:
    for number in _ending_numbers():
        if signal.getsignal(number) is _raise_terminated:
            signal.signal(number, signal.SIG_DFL)
    if isinstance(signal.getsignal(signal.SIGINT), Interrupt):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _release_signals()


def _end_with_the_caller(lifeline: Private) -> None:
    """Have the system send SIGIO when the other end of the pipe is closed, as it is by any death.

    Linux; F_SETOWN in fcntl(2). Elsewhere the hook ends when it has done its work.
    """
    try:
        import fcntl

        fcntl.fcntl(lifeline.number, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(lifeline.number, fcntl.F_GETFL)
        fcntl.fcntl(lifeline.number, fcntl.F_SETFL, flags | fcntl.FASYNC)
    except (ImportError, AttributeError, OSError):
        return
    if _is_orphan(lifeline):  # it died before
        signal.raise_signal(signal.SIGIO)


def _is_orphan(lifeline: Private) -> bool:
    try:
        os.set_blocking(lifeline.number, False)
        return lifeline.is_open() and os.read(lifeline.number, 1) == b""
    except OSError:  # nothing to read, as long as the caller lives
        return False


def _raise_terminated(number: int, _frame: FrameType | None) -> NoReturn:
    """Handle a signal that ends a hook."""
    signal.signal(number, signal.SIG_IGN)  # once is enough: what follows is cleaning up
    raise Terminated(number)


class Interrupt:
    """Handles SIGINT: `KeyboardInterrupt`, once in a while.

    Ctrl-C reaches the whole group of the terminal, and the caller hands it on, too: what follows
    soon must not interrupt the cleaning up after the first. `handled`: the first is past.
    """

    _WHILE = 3.0

    def __init__(self, *, handled: bool = False) -> None:
        self._last = time.monotonic() if handled else float("-inf")

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last > self._WHILE:
            self._last = now
            raise KeyboardInterrupt


@contextlib.contextmanager
def imports_of_the_caller() -> Iterator[None]:
    """Import by the path that the hook began with, for the length of a ``with`` block.

    setuptools' legacy backend puts the project's directory first: a ``filecmp.py`` of the
    project's is not what we mean.
    """
    before = sys.path[:]
    if _path_of_the_caller:
        sys.path[:] = _path_of_the_caller
    try:
        yield
    finally:
        sys.path[:] = before


def end_fork() -> None:
    """What the interpreter does at its exit, since a fork ends with ``os._exit``."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for name in ("stdout", "stderr"):
        flush(getattr(sys, name))


def _send(data: bytes, result: Private | None, private: Path) -> None:
    if result is not None and result.is_open():
        with contextlib.suppress(OSError), open(result.number, "wb") as stream:
            stream.write(data)
            return
    whole = private / f"{RESULT}.tmp"
    whole.write_bytes(data)
    whole.replace(private / RESULT)
