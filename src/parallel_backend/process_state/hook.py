"""The hook's own process: a fork that runs one function, sends its outcome, and ends."""

from __future__ import annotations

import atexit
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

__all__ = ["Terminated", "be_the_hook"]


class Terminated(BaseException):
    """Raised in a hook's process when it is told to end by a signal (SIGTERM, SIGHUP)."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def be_the_hook(
    function: Callable[[Path], Any], private: Path, result_out: int, relays: list[Relay]
) -> NoReturn:
    try:
        _forget_the_caller(relays)
        try:
            data = pack(True, function(private))
        except BaseException as error:
            data = pack(False, error)
        _at_exit()
        with open(result_out, "wb") as stream:
            stream.write(data)
    finally:
        os._exit(0)


def _forget_the_caller(relays: list[Relay]) -> None:
    """What is the caller's to do at its exit, and its ways with signals, are not the hook's."""
    atexit._clear()
    finalize: Any = weakref.finalize
    finalize._registry.clear()
    finalize._registered_with_atexit = False
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _raise_terminated)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _Interrupt())
    for relay in relays:
        relay.be_the_stream()


def _raise_terminated(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what follows is cleaning up
    raise Terminated(number)


class _Interrupt:
    """Handles SIGINT: `KeyboardInterrupt`, once a second.

    Ctrl-C reaches the whole group of the terminal, and the caller hands it on too: the second one
    must not break off the cleaning up after the first.
    """

    def __init__(self) -> None:
        self.last = -1.0

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        first = now - self.last > 1.0 or self.last < 0
        self.last = now
        if first:
            raise KeyboardInterrupt


def _at_exit() -> None:
    """What the interpreter does at its exit, since a fork ends with ``os._exit``."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for name in ("stdout", "stderr"):
        flush(getattr(sys, name))
