"""The caller of a hook that runs in a fork: waits, hands on streams and signals, cleans up."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from parallel_backend.errors import HookProcessError
from parallel_backend.outcome import signal_name, unpack
from parallel_backend.process_state.groups import end_groups
from parallel_backend.process_state.hook import Interrupt, Terminated, be_the_hook
from parallel_backend.process_state.last_words import read_last_words
from parallel_backend.process_state.relay import Relay, flush, is_inherited

__all__ = ["run_in_fork"]

# Seconds that a hook which was told to stop gets to end its compilers and give tokens back.
_PATIENCE = 10.0


def run_in_fork(function: Callable[[Path], Any], private: Path, received: list[int]) -> Any:
    result_in, result_out = os.pipe()
    relays = [Relay(name) for name in ("stdout", "stderr") if not is_inherited(name)]
    for name in ("stdout", "stderr"):
        flush(getattr(sys, name))
    data = bytearray()
    with _signals_for_fork(received) as tell:
        # No signal is taken by either before it is ready for it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
        except OSError:  # too many processes: the caller goes on, and must hear its signals
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for descriptor in (result_in, result_out):
                os.close(descriptor)
            for relay in relays:
                relay.close()
            raise
        if pid == 0:
            os.close(result_in)
            be_the_hook(function, private, result_out, relays, mask)
        try:
            try:
                os.close(result_out)
                for relay in relays:
                    relay.be_the_reader()
                os.set_blocking(result_in, False)
                tell(pid)
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                _attend(pid, result_in, relays, data)
            except BaseException as error:
                _end(pid, error, lambda: _attend(pid, result_in, relays, data, patience=_PATIENCE))
                raise
        finally:
            tell(0)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            end_groups(private)
            os.close(result_in)
            for relay in relays:
                relay.close()
    if not data:
        print(read_last_words(private), end="", file=sys.stderr)
    return _unpack(bytes(data), status, received)


@contextlib.contextmanager
def _signals_for_fork(received: list[int]) -> Iterator[Callable[[int], None]]:
    """Hand the signals that would end this process to the hook's process, and wait for its end.

    Only those that nobody else handles, and only where Python allows it: in the main thread.
    """
    target = 0

    def tell(pid: int) -> None:
        nonlocal target
        target = pid
        if pid and received:  # it came before there was anybody to tell
            os.kill(pid, received[0])

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if target:
            os.kill(target, number)

    mine = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                mine[number] = signal.signal(number, handle)
    try:
        yield tell
    finally:
        for number, before in mine.items():
            signal.signal(number, before)


def _end(pid: int, error: BaseException, attend: Callable[[], bool]) -> None:
    """Tell the hook to end as this process was told, and kill it if it does not."""
    ended = False
    try:
        with _patient():
            os.kill(pid, signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
            ended = attend()
    finally:  # also at another Ctrl-C
        if not ended:
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """A second Ctrl-C that follows soon does not break off the hook's cleaning up."""
    before = signal.getsignal(signal.SIGINT)
    mine = threading.current_thread() is threading.main_thread()
    if mine and before is signal.default_int_handler:
        signal.signal(signal.SIGINT, Interrupt(handled=True))
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGINT, before)


def _attend(
    pid: int,
    result_in: int,
    relays: list[Relay],
    data: bytearray,
    *,
    patience: float | None = None,
) -> bool:
    """Gather the result in `data`, and hand on the streams, until the hook's process has ended.

    False if nothing was heard of it for `patience` seconds.
    """
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        selector.register(result_in, selectors.EVENT_READ, lambda: _read(result_in, data))
        for relay in relays:
            selector.register(relay.inlet, selectors.EVENT_READ, relay.pump)
        # What the hook left running may hold the pipes open: it is the hook's own end that counts.
        watch = _open_watch(pid)
        if watch is not None:
            stack.callback(os.close, watch)
            selector.register(watch, selectors.EVENT_READ, lambda: False)
        last = result_in if watch is None else watch
        heard = time.monotonic()
        while last in selector.get_map():
            # A signal that comes just before the call does not break it off: look now and then.
            events = selector.select(1.0)
            if events:
                heard = time.monotonic()
            elif patience is not None and time.monotonic() - heard > patience:
                return False
            for key, _ in events:
                if not key.data():
                    selector.unregister(key.fd)
    _read(result_in, data)
    for relay in relays:
        relay.pump()
    return True


def _open_watch(pid: int) -> int | None:
    """A descriptor that is readable when the process has ended; None where there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _read(descriptor: int, data: bytearray) -> bool:
    """Take all that a non-blocking descriptor has; false at its end."""
    while True:
        try:
            piece = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return True
        if not piece:
            return False
        data += piece


def _unpack(data: bytes, status: int, received: list[int]) -> Any:
    if received:
        raise Terminated(received[0])
    if status < 0:
        name = signal_name(-status)
        hint = " (was the machine out of memory?)" if -status == signal.SIGKILL else ""
        raise HookProcessError(
            f"the process of the build hook was killed by {name}{hint}; "
            "what it printed last stands above"
        )
    if not data:
        raise HookProcessError(
            f"the process of the build hook ended with exit status {status} and without a result; "
            "something in the build has called os._exit"
        )
    succeeded, value = unpack(data)
    if succeeded:
        return value
    if isinstance(value, Terminated):
        raise HookProcessError(f"the build hook was ended by {signal_name(value.number)}")
    raise value
