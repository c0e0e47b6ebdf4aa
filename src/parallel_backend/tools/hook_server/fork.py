"""A hook's process as a fork of the server's, and the signals of both."""

from __future__ import annotations

import os
import sys

from parallel_backend.tools.hook_server.channel import high_copy
from parallel_backend.tools.hook_server.groups import lead_group, signal_group
from parallel_backend.tools.hook_server.hook import (
    answer_of,
    finished,
    open_streams,
    status_of_fork,
)
from parallel_backend.tools.hook_server.messages import Request
from parallel_backend.tools.hook_server.surroundings import set_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

__all__ = ["Fork", "Signals"]

# The standard library's `signal` makes enumerations of all this, which takes milliseconds.
_signal: Any = __import__("_signal")


class Signals:
    """The signals that the server heeds. `inlet` is readable when there is one to take.

    `mask`: what was blocked when the server was started, if that was told. `interruptible`: Ctrl-C
    ends the server. If not, its client hears of it as well, and decides.
    """

    CHILD: int = _signal.SIGCHLD

    def __init__(self, *, mask: Iterable[int] | None, interruptible: bool) -> None:
        self._noted: list[int] = []
        ends = os.pipe()
        self.inlet, outlet = self.descriptors = (high_copy(ends[0]), high_copy(ends[1]))
        for descriptor in ends:
            os.close(descriptor)
        for descriptor in self.descriptors:
            os.set_blocking(descriptor, False)
        _signal.set_wakeup_fd(outlet, warn_on_full_buffer=False)
        heeded = [_signal.SIGCHLD, _signal.SIGTERM]
        self._ignored = [_signal.SIGHUP] * (_signal.getsignal(_signal.SIGHUP) == _signal.SIG_IGN)
        if not self._ignored:  # not as nohup has it
            heeded.append(_signal.SIGHUP)
        if interruptible:
            heeded.append(_signal.SIGINT)
        else:
            _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        for number in heeded:
            _signal.signal(number, lambda number, _frame: self._noted.append(number))
        self._heeded = heeded
        before = _signal.pthread_sigmask(_signal.SIG_UNBLOCK, heeded)
        self.mask = [*map(int, before if mask is None else mask)]

    def take(self) -> list[int]:
        """What has come since this was last asked, when `inlet` is readable."""
        os.read(self.inlet, 1 << 10)
        # One may come between any two steps.
        return [self._noted.pop(0) for _ in range(len(self._noted))]

    def hold(self) -> Iterable[int]:
        """Let signals wait, those that have come and were not taken, too: for the interpreter that
        this process becomes, or for `let_go`, which wants what this returns."""
        mask: Iterable[int] = _signal.pthread_sigmask(_signal.SIG_BLOCK, self._heeded)
        while self._noted:
            os.kill(os.getpid(), self._noted.pop())
        return mask

    def let_go(self, mask: Iterable[int]) -> None:
        """Take signals again."""
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)

    def be_as_at_start(self) -> None:
        """In a hook's process: heed signals as a fresh process does, in the background."""
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        for number in (_signal.SIGTERM, _signal.SIGCHLD, _signal.SIGHUP):
            if number not in self._ignored:
                _signal.signal(number, _signal.SIG_DFL)
        # Who asks something at the terminal shall fail, and not be stopped for ever.
        for number in (_signal.SIGTTIN, _signal.SIGTTOU):
            _signal.signal(number, _signal.SIG_IGN)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self.mask)


class Fork:
    """A hook's process, the leader of a group of its own. `answer`: its whole answer, or empty.

    `surroundings`: its environment. `private`: descriptors of the server. OSError: there are too
    many processes, or descriptors.
    """

    _STEPS = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGKILL)

    def __init__(
        self,
        request: Request,
        *,
        surroundings: dict[str, str],
        signals: Signals,
        private: tuple[int, ...],
    ) -> None:
        self._data = bytearray()
        self.speaks = True
        self.answer = b""
        self.inlet, outlet = os.pipe()
        try:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            # No signal is taken by either before it is ready for it.
            mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
            try:
                self.pid = os.fork()
                if self.pid == 0:
                    begin = _beginning(request, surroundings, signals, (*private, self.inlet))
                    _be_the_hook(request, outlet, begin)
            finally:
                _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        except BaseException:
            os.close(self.inlet)
            raise
        finally:
            os.close(outlet)
        lead_group(self.pid)
        os.set_blocking(self.inlet, False)

    def read(self) -> None:
        """Take what it has said."""
        while self.speaks:
            try:
                data = os.read(self.inlet, 1 << 16)
            except BlockingIOError:
                break
            self.speaks = bool(data)
            self._data += data
        if self._data.endswith(b"\n"):
            self.answer = bytes(self._data)

    def close(self) -> None:
        os.close(self.inlet)

    def tell(self, step: int) -> None:
        signal_group(self.pid, self._STEPS[step])

    def sweep(self) -> None:
        signal_group(self.pid, _signal.SIGKILL)


def _be_the_hook(request: Request, outlet: int, begin: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        process = os.getpid()
        copy = high_copy(outlet)
        os.close(outlet)
        pipe = os.fstat(copy)
        answer = answer_of(request, begin)
        line = finished(answer, request)
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        if os.getpid() != process:
            status = status_of_fork(answer)
        elif os.path.samestat(os.fstat(copy), pipe):  # the hook may have closed it
            while line:
                line = line[os.write(copy, line) :]
            status = 0
    finally:
        os._exit(status)


def _beginning(
    request: Request, surroundings: dict[str, str], signals: Signals, private: tuple[int, ...]
) -> Callable[[], None]:
    """What a hook's process does first."""

    def begin() -> None:
        import gc

        gc.freeze()  # what is here already is not looked through by it, and so not copied
        lead_group(0)
        signals.be_as_at_start()
        for descriptor in private:
            os.close(descriptor)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        open_streams(request)
        zone = os.environ.get("TZ")
        set_environment(surroundings)
        if zone != os.environ.get("TZ"):
            import time

            time.tzset()
        os.chdir(request.source)

    return begin
