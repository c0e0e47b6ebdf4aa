"""What lies between a caller and its hook's process: the result, the streams, the lifeline.

The lifeline is a pipe that nobody writes to. Its write end is the caller's alone, so that whatever
ends the caller closes it, which the hook's process is told of.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from parallel_backend.descriptors import Private
from parallel_backend.hook_process.child import RESULT
from parallel_backend.hook_process.streams import Relay, is_inherited

__all__ = ["Channel", "HookProcess", "Mask"]

#: The signals that were blocked before all were, for a start; None: the system has no such thing.
Mask: TypeAlias = set[int | signal.Signals] | None


class HookProcess(NamedTuple):
    """A hook's process, as its caller sees it."""

    pid: int
    #: Gives its exit status, negative for a signal; None if somebody else has taken it.
    wait: Callable[[], int | None]
    #: Looks after it until its end; false if nothing was heard for so many seconds.
    attend: Callable[[float | None], bool]


class Channel:
    """The caller's side, and what the hook's process takes from it.

    `by_fork`: the hook's process is a fork. Close it in the caller when the hook is over.
    """

    def __init__(self, private: Path, *, by_fork: bool) -> None:
        self._private = private
        self._data = bytearray()
        result_in, result_out = os.pipe()
        lifeline, held = os.pipe()
        self._result_in, self.result = Private(result_in), Private(result_out)
        self.lifeline, self._held = Private(lifeline), Private(held)
        names = ("stdout", "stderr")
        self.relays = [Relay(name) for name in names if not is_inherited(name, by_fork=by_fork)]

    def be_the_hook(self) -> None:
        """In a fork: let go of the caller's ends."""
        self._result_in.close()
        self._held.close()

    def be_the_caller(self) -> None:
        """In the caller: let go of the hook's ends."""
        self.result.close()
        self.lifeline.close()
        for relay in self.relays:
            relay.be_the_reader()

    def attend(self, pid: int, patience: float | None = None) -> bool:
        """Gather the result, and relay the streams, until the hook's process has ended.

        False if nothing was heard of it for `patience` seconds.
        """
        for descriptor in (self._result_in, *(relay.inlet for relay in self.relays)):
            os.set_blocking(descriptor.number, False)
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            selector.register(self._result_in.number, selectors.EVENT_READ, self._read)
            for relay in self.relays:
                selector.register(relay.inlet.number, selectors.EVENT_READ, relay.pump)
            # What the hook left running may hold the pipes open: its own end is what counts.
            watch = _open_watch(pid)
            if watch is not None:
                stack.callback(os.close, watch)
                selector.register(watch, selectors.EVENT_READ, lambda: False)
            last = self._result_in.number if watch is None else watch
            heard = time.monotonic()
            while last in selector.get_map():
                # A signal that comes just before the call does not interrupt it: look now and then.
                events = selector.select(1.0)
                if events:
                    heard = time.monotonic()
                elif patience is not None and time.monotonic() - heard > patience:
                    return False
                for key, _ in events:
                    if not key.data():
                        selector.unregister(key.fd)
        self._read()
        for relay in self.relays:
            relay.pump()
        return True

    def _read(self) -> bool:
        """Take all that there is of the result; false at its end."""
        while True:
            try:
                piece = os.read(self._result_in.number, 1 << 16)
            except BlockingIOError:
                return True
            if not piece:
                return False
            self._data += piece

    def data(self) -> bytes:
        """The result's bytes; none if the hook's process has sent nothing."""
        if not self._data:
            with contextlib.suppress(OSError):
                return (self._private / RESULT).read_bytes()
        return bytes(self._data)

    def close(self) -> None:
        """Close all that this process has of it."""
        for descriptor in (self._result_in, self.result, self.lifeline, self._held):
            descriptor.close()
        for relay in self.relays:
            relay.close()


def _open_watch(pid: int) -> int | None:
    """A descriptor that is readable when the process has ended; None where there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
