"""The hook's own process: a fork that runs one function, sends its outcome, and ends."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from parallel_backend.outcome import pack
from parallel_backend.process_state.relay import Relay, flush

__all__ = ["Interrupt", "Terminated", "be_the_hook", "begin_fork", "end_fork", "raise_terminated"]


class Terminated(BaseException):
    """Raised in a hook's process when it is told to end by a signal (SIGTERM, SIGHUP)."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def be_the_hook(
    function: Callable[[Path], Any],
    private: Path,
    result_out: int,
    relays: list[Relay],
    mask: set[int | signal.Signals],
) -> NoReturn:
    """Be the hook's process, from the fork to its end. `mask`: the signals that were blocked before
    all were, for the fork."""
    try:
        _begin_hook(relays)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            data = pack(True, function(private))
        except BaseException as error:
            data = pack(False, error)
        end_fork()
        with open(result_out, "wb") as stream:
            stream.write(data)
    finally:
        os._exit(0)


def begin_fork() -> None:
    """In a fork: what its parent does at its exit, and its ways with signals, are not ours."""
    gc.freeze()  # what is here already is not looked through by us, and so not copied
    atexit._clear()
    finalize: Any = weakref.finalize
    finalize._registry.clear()
    finalize._registered_with_atexit = False
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _begin_hook(relays: list[Relay]) -> None:
    interrupt = signal.getsignal(signal.SIGINT)
    begin_fork()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, raise_terminated)
    if interrupt is signal.default_int_handler:
        interrupt = Interrupt()
    signal.signal(signal.SIGINT, interrupt)
    for relay in relays:
        relay.be_the_stream()
    # A frontend may have installed something since this process looked last.
    importlib.invalidate_caches()


def raise_terminated(number: int, _frame: FrameType | None) -> NoReturn:
    """The handler of signals that end a hook."""
    signal.signal(number, signal.SIG_IGN)  # once is enough: what follows is cleaning up
    raise Terminated(number)


class Interrupt:
    """Handles SIGINT: `KeyboardInterrupt`, once in a while.

    Ctrl-C reaches the whole group of the terminal, and the caller hands it on, too: what follows
    soon must not break off the cleaning up after the first. `handled`: the first is past.
    """

    _WHILE = 3.0

    def __init__(self, *, handled: bool = False) -> None:
        self._last = time.monotonic() if handled else float("-inf")

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last > self._WHILE:
            self._last = now
            raise KeyboardInterrupt


def end_fork() -> None:
    """What the interpreter does at its exit, since a fork ends with ``os._exit``."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for name in ("stdout", "stderr"):
        flush(getattr(sys, name))
