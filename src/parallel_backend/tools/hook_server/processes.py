"""The hook server where no process may fork: each hook runs in a fresh interpreter.

Threads wait for input, for output and for the hook's process, since nothing else can wait for all
of them on Windows.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from functools import partial

from parallel_backend.tools.hook_server.channel import open_standard_descriptors, put_away
from parallel_backend.tools.hook_server.groups import signal_group
from parallel_backend.tools.hook_server.hook import (
    answer_of,
    finished,
    open_streams,
    status_of_fork,
)
from parallel_backend.tools.hook_server.messages import Lines, Request, read_message
from parallel_backend.tools.hook_server.service import Service
from parallel_backend.tools.hook_server.surroundings import Surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

__all__ = ["ProcessServer", "be_the_hook"]

# Seconds between looks for a reader of answers, where an end of input may be that of the client.
_LOOK = 0.2
# Seconds that somebody who told the server to end gets to read the last answer.
_LAST_WORDS = 1.0
_POSIX = os.name == "posix"


class ProcessServer:
    """Serves one channel until its end. `command` runs the server anew, without arguments."""

    def __init__(self, read: int, write: int, *, command: list[str], patience: float) -> None:
        open_standard_descriptors()
        self._descriptors = (os.dup(read), os.dup(write))
        for descriptor in {read, write}:
            put_away(descriptor)
        self._command = command
        self._environment = Surroundings().base
        #: What has happened, for the main thread to do something about.
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._unsent: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._service = Service(start=self._start, send=self._unsent.put, patience=patience)
        self._lines = Lines()
        self._reading = True
        self._told = 0

    def run(self, hello: bytes) -> int:
        """Serve; returns the signal that told this process to end, or 0."""
        self._heed_signals()
        self._unsent.put(hello)
        writer = threading.Thread(target=self._write, daemon=True)
        writer.start()
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            self._service.proceed()
            if self._service.finished:
                break
            try:
                self._events.get(timeout=self._wait())()
            except queue.Empty:
                if not self._reading and self._unsent.empty():
                    self._unsent.put(b"\n")  # fails where nobody reads
            self._service.look_at_clock()
        self._unsent.put(b"")
        writer.join(_LAST_WORDS if self._told else None)
        return self._told

    def _wait(self) -> float | None:
        wait = self._service.wait()
        if self._reading:
            return wait
        return _LOOK if wait is None else min(wait, _LOOK)

    def _heed_signals(self) -> None:
        def end(number: int, _frame: object) -> None:
            self._events.put(partial(self._be_told, number))

        def ignore(_number: int, _frame: object) -> None:
            # Not SIG_IGN, which the hook's process would inherit.
            pass

        signal.signal(signal.SIGTERM, end)
        if _POSIX and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, end)
        signal.signal(signal.SIGINT, end if os.isatty(self._descriptors[0]) else ignore)

    # --- threads

    def _read(self) -> None:
        data = b" "
        while data:
            try:
                data = os.read(self._descriptors[0], 1 << 16)
            except OSError:  # a terminal that was closed, a connection that was broken
                data = b""
            self._events.put(partial(self._take, data))

    def _write(self) -> None:
        while data := self._unsent.get():
            try:
                while data:
                    data = data[os.write(self._descriptors[1], data) :]
            except OSError:
                self._events.put(self._lose_reader)
                return

    def _attend(self, process: _Process) -> None:
        process.popen.wait()
        self._events.put(partial(self._end_hook, process))

    # --- what happens, in the main thread

    def _take(self, data: bytes) -> None:
        for line in self._lines.take(data):
            self._service.take(line)
        if not data:
            self._service.take(self._lines.rest)
            self._reading = False
            self._service.close()

    def _lose_reader(self) -> None:
        self._reading = True  # it is known, so that nobody has to look
        self._service.abandon()

    def _be_told(self, number: int) -> None:
        self._told = number
        self._service.abandon()

    def _end_hook(self, process: _Process) -> None:
        status, answer = process.popen.returncode, process.take_answer()
        # It may have been killed while it wrote its answer.
        self._service.ended(answer if status == 0 else b"", status)

    def _start(self, request: Request) -> _Process:
        process = _Process(request, command=self._command, environment=self._environment)
        threading.Thread(target=self._attend, args=(process,), daemon=True).start()
        return process


class _Process:
    """A hook's process, and the private folder that its request and its answer lie in."""

    def __init__(
        self, request: Request, *, command: list[str], environment: dict[str, str]
    ) -> None:
        self._folder = tempfile.mkdtemp(prefix="hook-server-")
        try:
            with open(os.path.join(self._folder, "request"), "wb") as file:
                file.write(request.line)
            # Not `process_group`, which Python 3.10 does not have.
            self.popen = subprocess.Popen(
                [*command, "--hook", self._folder],
                cwd=request.source,
                env=environment if request.environment is None else request.environment,
                stdin=subprocess.DEVNULL,
                start_new_session=_POSIX,
            )
        except BaseException:
            self._forget()
            raise

    def take_answer(self) -> bytes:
        """Its answer, or empty. The folder is gone then."""
        try:
            with open(os.path.join(self._folder, "answer"), "rb") as file:
                return file.read()
        except OSError:
            return b""
        finally:
            self._forget()

    def _forget(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def tell(self, step: int) -> None:
        if not _POSIX:  # pragma: no cover - Windows has no such signals
            self.popen.terminate()
        elif self.popen.returncode is None:
            signal_group(self.popen.pid, (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[step])

    def sweep(self) -> None:
        if _POSIX:
            signal_group(self.popen.pid, signal.SIGKILL)


def be_the_hook(folder: str) -> NoReturn:
    """In the fresh interpreter: do what the request in the private folder asks for."""
    with open(os.path.join(folder, "request"), "rb") as file:
        request = read_message(file.read())
    assert isinstance(request, Request)
    process = os.getpid()
    answer = answer_of(request, lambda: _begin(request))
    line = finished(answer, request)
    if os.getpid() != process:
        os._exit(status_of_fork(answer))
    with open(os.path.join(folder, "answer"), "wb") as file:
        file.write(line)
    os._exit(0)


def _begin(request: Request) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if _POSIX:
        for number in (signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)
    open_streams(request)
