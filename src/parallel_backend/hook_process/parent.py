"""The caller of a hook: starts its process, waits, relays streams and signals, and cleans up."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from parallel_backend.errors import HookProcessError
from parallel_backend.hook_process.channel import Channel, HookProcess, Mask
from parallel_backend.hook_process.child import Interrupt, Terminated, be_the_hook, fork_is_safe
from parallel_backend.hook_process.crash_output import read_crash_output
from parallel_backend.hook_process.process_groups import close_record, end_groups, make_record
from parallel_backend.hook_process.result import signal_name, unpack
from parallel_backend.hook_process.streams import flush

__all__ = ["run_hook"]

T = TypeVar("T")

# Seconds that a hook which was told to stop gets to end its compilers and give tokens back.
_PATIENCE = 10.0


def run_hook(function: Callable[[Path], T], *, place: str | None = None) -> T:
    """Call `function` with a private directory in a process of its own; return what it returns.

    The process is a fork where that is safe, else a fresh interpreter, which `function` must be
    picklable for. The directory is gone afterwards. Whatever `function` raises is raised here,
    `KeyboardInterrupt` and `SystemExit` included. `HookProcessError` says that the process died, or
    could not start. Where a signal ended the hook (SIGTERM, SIGHUP), the same signal then ends this
    process, as it would have without us.

    `place`: where the private directory is made, by default where temporary files go.
    """
    received: list[int] = []
    with _private_directory(place) as private:
        try:
            make_record(private)
            try:
                result: T = _run(function, private, received)
                return result
            finally:
                close_record(private)
        finally:
            shutil.rmtree(private, ignore_errors=True)
            if received:
                signal.raise_signal(received[0])


@contextlib.contextmanager
def _private_directory(place: str | None) -> Iterator[Path]:
    known = tempfile.tempdir
    try:
        private = Path(tempfile.mkdtemp(prefix="parallel-backend-", dir=place))
    except OSError as error:
        raise HookProcessError(
            f"no private directory can be made for the build in {place or tempfile.gettempdir()}: "
            f"{error.strerror}; make room there, or name another one (TMPDIR)"
        ) from error
    finally:
        tempfile.tempdir = known  # TMPDIR may be another one for the next hook
    yield private


def _run(function: Callable[[Path], Any], private: Path, received: list[int]) -> Any:
    by_fork = fork_is_safe()
    start = _fork
    if not by_fork:
        from parallel_backend.hook_process.fresh import start
    for name in ("stdout", "stderr"):
        flush(getattr(sys, name))
    channel = Channel(private, by_fork=by_fork)
    try:
        with _signals_handed_on(received) as tell:
            # No signal is taken by either process before it is ready for it.
            mask = _block_signals()
            try:
                hook = start(function, private, channel, mask)
            except BaseException:
                _restore_signals(mask)
                raise
            try:
                try:
                    channel.be_the_caller()
                    tell(hook.pid)
                    _restore_signals(mask)
                    hook.attend(None)
                except BaseException as error:
                    _end(hook, error)
                    raise
            finally:
                tell(0)
                status = hook.wait()
                end_groups(private)
        data = channel.data()
        if not data:
            print(read_crash_output(private), end="", file=sys.stderr)
        return _result(data, status, received)
    finally:
        channel.close()


def _fork(
    function: Callable[[Path], Any], private: Path, channel: Channel, mask: Mask
) -> HookProcess:
    try:
        pid = os.fork()
    except OSError as error:
        raise HookProcessError(
            f"the process of the build hook cannot be started: {error.strerror or error}"
        ) from error
    if pid == 0:
        try:
            channel.be_the_hook()
            be_the_hook(
                function,
                private,
                result=channel.result,
                lifeline=channel.lifeline,
                relays=channel.relays,
                mask=mask,
            )
        finally:
            os._exit(0)
    return HookProcess(pid, lambda: _wait(pid), lambda patience: channel.attend(pid, patience))


def _block_signals() -> Mask:
    if not hasattr(signal, "pthread_sigmask"):
        return None
    return signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _restore_signals(mask: Mask) -> None:
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _wait(pid: int) -> int | None:
    """The exit status of a child; None if somebody else has taken it, or SIGCHLD is ignored."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None


@contextlib.contextmanager
def _signals_handed_on(received: list[int]) -> Iterator[Callable[[int], None]]:
    """Hand the signals that would end this process to the hook's process, and wait for its end.

    Only those that nobody else handles, and only where Python allows it: in the main thread.
    """
    target = 0

    def tell(pid: int) -> None:
        nonlocal target
        target = pid
        if pid and received:  # it came before there was anybody to tell
            _kill(pid, received[0])

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if target:
            _kill(target, number)

    mine = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                mine[number] = signal.signal(number, handle)
    try:
        yield tell
    finally:
        for number, before in mine.items():
            signal.signal(number, before)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # where SIGCHLD is ignored it is gone at once
        os.kill(pid, number)


def _end(hook: HookProcess, error: BaseException) -> None:
    """Tell the hook to end as this process was told, and kill it if it does not."""
    ended = False
    try:
        with _patient():
            interrupted = isinstance(error, KeyboardInterrupt)
            _kill(hook.pid, signal.SIGINT if interrupted else signal.SIGTERM)
            ended = hook.attend(_PATIENCE)
    finally:  # also at another Ctrl-C
        if not ended:
            _kill(hook.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """A second Ctrl-C that follows soon does not interrupt the hook's cleaning up."""
    before = signal.getsignal(signal.SIGINT)
    mine = threading.current_thread() is threading.main_thread()
    if mine and before is signal.default_int_handler:
        signal.signal(signal.SIGINT, Interrupt(handled=True))
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGINT, before)


def _result(data: bytes, status: int | None, received: list[int]) -> Any:
    if received:
        raise Terminated(received[0])
    if status is not None and status < 0:
        name = signal_name(-status)
        hint = " (was the machine out of memory?)" if -status == signal.SIGKILL else ""
        raise HookProcessError(
            f"the process of the build hook was killed by {name}{hint}; "
            "what it printed last stands above"
        )
    if not data:
        ended = "" if status is None else f"with exit status {status} and "
        raise HookProcessError(
            f"the process of the build hook ended {ended}without a result; "
            "something in the build has called os._exit"
        )
    succeeded, value = unpack(data)
    if succeeded:
        return value
    if isinstance(value, Terminated):
        raise HookProcessError(f"the build hook was ended by {signal_name(value.number)}")
    raise value
