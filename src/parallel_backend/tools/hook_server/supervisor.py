"""The process that owns the connection. It takes requests, and has workers run their hooks.

It runs no hook and imports no backend, so it stays as it is whatever changes in the environment: a
worker that is out of date is replaced. Threads wait for requests, for reports, for the ends of
workers, and until answers are taken, since nothing else can wait for all of them on every system.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from _queue import Empty, SimpleQueue
from functools import partial

from parallel_backend.tools.hook_server.descriptors import write_all
from parallel_backend.tools.hook_server.messages import Request, read_lines
from parallel_backend.tools.hook_server.processes import Worker, start_worker
from parallel_backend.tools.hook_server.request_queue import RequestQueue
from parallel_backend.tools.hook_server.worker import END

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Supervisor"]

# A request carries an environment, which the system limits to some megabytes.
_LONGEST_REQUEST = 1 << 25
# Where each start of an interpreter changes what it has looked at, that is ignored after so many.
_MOST_STARTS = 3
# Seconds between looks for a reader of answers, where nothing tells of its end.
_LOOK = 0.2
# Seconds that somebody who told the server to end gets to read the last answer.
_LAST_WORDS = 1.0


class Supervisor:
    """Serves one channel until its end. `command` starts a worker in this interpreter.

    `reports`: the two ends of the pipe that all workers report by. `environment`: that of requests
    which name none. `first`: a worker that is there already, in this environment. `forks` false:
    each worker runs one hook.
    """

    def __init__(
        self,
        channel: tuple[int, int],
        reports: tuple[int, int],
        *,
        command: list[str],
        patience: float,
        environment: Mapping[str, str],
        first: Worker | None,
    ) -> None:
        self._channel = channel
        self._reports = reports
        self._command = command
        self._environment = environment
        self._forks = first is not None
        #: What has happened, for the main thread to do something about.
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._unsent: SimpleQueue[bytes] = SimpleQueue()
        self._queue = RequestQueue(start=self._start, send=self._unsent.put, patience=patience)
        #: The worker for the next hook, and the one whose hook runs.
        self._worker = first
        self._running: Worker | None = None
        self._starts = 0
        self._told = 0

    def run(self, hello: bytes) -> int:
        """Serve; returns the signal that told this process to end, or 0."""
        self._heed_signals()
        if self._worker:
            self._keep(self._worker)
        self._unsent.put(hello)
        writer = threading.Thread(target=self._write, daemon=True)
        writer.start()
        for work in (self._read, self._listen, self._miss_reader):
            threading.Thread(target=work, daemon=True).start()
        while True:
            self._queue.proceed()
            if self._queue.finished:
                break
            with contextlib.suppress(Empty):
                self._events.get(timeout=self._queue.wait())()
            self._queue.look_at_clock()
        self._unsent.put(b"")
        writer.join(_LAST_WORDS if self._told else None)
        return self._told

    def _heed_signals(self) -> None:
        def end(number: int, _frame: object) -> None:
            self._events.put(partial(self._be_told, number))

        def ignore(_number: int, _frame: object) -> None:
            # Not SIG_IGN, which workers would inherit.
            pass

        signal.signal(signal.SIGTERM, end)
        if os.name == "posix":
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # not as nohup has it
                signal.signal(signal.SIGHUP, end)
        signal.signal(signal.SIGINT, end if os.isatty(self._channel[0]) else ignore)

    # --- threads

    def _read(self) -> None:
        for line in read_lines(self._channel[0], _LONGEST_REQUEST):
            self._events.put(partial(self._queue.take, line))
        self._events.put(self._queue.close)

    def _write(self) -> None:
        while data := self._unsent.get():
            try:
                write_all(self._channel[1], data)
            except OSError:
                self._events.put(self._queue.abandon)
                return

    def _listen(self) -> None:
        for line in read_lines(self._reports[0]):
            self._events.put(partial(self._hear, line))

    def _miss_reader(self) -> None:
        """Wait until nobody reads answers any more."""
        if not hasattr(select, "poll"):  # pragma: no cover - Windows
            while True:
                time.sleep(_LOOK)
                self._unsent.put(b"\n")  # fails where nobody reads
        poll = select.poll()
        poll.register(self._channel[1], 0)
        poll.poll()
        self._events.put(self._queue.abandon)

    def _attend(self, worker: Worker) -> None:
        status = worker.process.wait()
        self._events.put(partial(self._lose, worker, status))

    # --- what happens, in the main thread

    def _be_told(self, number: int) -> None:
        self._told = number
        self._queue.abandon()

    def _hear(self, report: bytes) -> None:
        """Take what a worker, or its hook, reports. It may be no longer of interest."""
        word, *numbers = report.split(b" ")
        running = self._running
        if running is None:
            return
        if report.startswith(b"{") and report.endswith(b"}"):
            running.answer = report + b"\n"
            if self._queue.answered(running.answer):
                self._running = None
        elif word == b"hook":
            self._begin_hook(running, *map(int, numbers))
        elif word == b"stale":
            self._begin_again(running, *map(int, numbers))
        elif word == b"ended":
            self._end_hook(running, *map(int, numbers))

    def _begin_hook(self, running: Worker, hook: int) -> None:
        self._starts = 0
        running.begin(hook)
        if hook == running.process.pid or not self._forks:
            self._drop()  # it takes no other one

    def _begin_again(self, running: Worker, pid: int) -> None:
        if pid == running.process.pid:
            self._starts += 1
            self._drop()
            self._running = None
            self._queue.begin_again()

    def _end_hook(self, running: Worker, pid: int, status: int) -> None:
        if pid == running.process.pid and pid != running.hook:
            running.sweep()  # its worker was killed
        elif pid != running.hook:
            return
        self._running = None
        self._queue.ended(running.answer, status)

    def _lose(self, worker: Worker, status: int) -> None:
        """Take note of a worker's end. What it reported before is taken first."""
        if worker is self._worker:
            self._drop()
        if worker is self._running:
            write_all(self._reports[1], END + b"ended %d %d\n" % (worker.process.pid, status))

    # --- workers

    def _start(self, request: Request) -> Worker:
        """Have a worker run a hook. Raises OSError."""
        environment = self._environment
        if request.environment is not None:
            environment = request.environment
        # A path that is not absolute is taken from where an interpreter starts.
        path = environment.get("PYTHONPATH", "")
        relative = path and not all(map(os.path.isabs, path.split(os.pathsep)))
        started_in = environment, request.source if relative else ""
        worker = self._worker
        if worker is None or worker.started_in != started_in:
            self._drop()
            worker = start_worker(
                self._command, started_in, source=request.source, reports=self._reports[1]
            )
            self._keep(worker)
        worker.ask(b"!" * (self._starts >= _MOST_STARTS) + request.line + b"\n")
        self._running = worker
        return worker

    def _keep(self, worker: Worker) -> None:
        self._worker = worker
        threading.Thread(target=self._attend, args=(worker,), daemon=True).start()

    def _drop(self) -> None:
        """Let the worker end when it is done."""
        worker, self._worker = self._worker, None
        if worker:
            worker.close()
