"""Put back what a hook that ran in the caller's own process has changed.

What is put back, and what cannot be, is told in ``docs/hooks.md``.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import warnings
from collections.abc import Iterator

from parallel_backend.process_state import process, runtime
from parallel_backend.process_state.hook import Terminated, raise_terminated
from parallel_backend.process_state.imports import saved_imports
from parallel_backend.process_state.namespaces import emptied_caches, saved_namespaces

__all__ = ["put_back", "terminable"]

# Each takes what is there, and returns the function that puts it back: in place, so that whoever
# holds the list or the dictionary itself sees it, too. The last one is put back first: names before
# caches that hold what the environment said, and all before what a project's code may still need.
_PARTS = (
    process.descriptors,
    process.streams,
    process.limits,
    process.umask,
    process.folder,
    emptied_caches,
    process.environment,
    process.locales,
    runtime.interpreter,
    runtime.logs,
    runtime.libraries,
    saved_imports,
    saved_namespaces,
    runtime.arguments,
    runtime.exit_handlers,
)


@contextlib.contextmanager
def put_back() -> Iterator[None]:
    """Put the state back after a hook that ran in this very process, whether it failed or not."""
    with contextlib.ExitStack() as stack:
        for take in _PARTS:
            stack.callback(take())
        if threading.current_thread() is threading.main_thread():
            stack.callback(process.signals())
        stack.enter_context(warnings.catch_warnings())
        yield


@contextlib.contextmanager
def terminable(received: list[int]) -> Iterator[None]:
    """Let SIGTERM and SIGHUP break off what runs, and note them in `received`.

    Only those that would have ended this process, and only where Python allows it: in the main
    thread.
    """
    mine = []
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, raise_terminated)
                mine.append(number)
    try:
        yield
    except Terminated as error:
        received.append(error.number)
        raise
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)
