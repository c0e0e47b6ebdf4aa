"""The pool's side of one worker."""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parallel_backend.errors import ParallelBackendError
from parallel_backend.tools.bytecode.tree import Source

__all__ = ["Handle", "start"]

_WORKER = Path(__file__).with_name("worker.py")
_FLAGS = ("-I", "-S", "-E", "-W", "ignore")
_MOST_OUTPUT = 4096  # bytes: what was printed last


class Handle:
    """One worker: its process, its pipes, and the batches that it has not answered yet.

    All of its descriptors are non-blocking. `token`: the job token that it works on, None for the
    slot that this process has itself. `mark`: the ending of its temporary files.
    """

    def __init__(
        self,
        *,
        process: subprocess.Popen[bytes],
        fds: tuple[int, int, int],
        token: bytes | None,
        mark: bytes,
    ) -> None:
        self.process = process
        self.mark = mark
        self.token = token
        self.batches: deque[list[Source]] = deque()
        #: Files of the batch in work that gave no ``.pyc``.
        self.problems = 0
        self.is_greeted = False
        self.orders, self.answers, self._begun = fds
        assert process.stdout is not None
        self.output = process.stdout.fileno()
        #: How many files are in the batches that were answered.
        self.finished = 0
        #: After `end`: which file of all batches was in work; -1: none was begun.
        self.in_work = -1
        self._printed = b""
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._last_seen = (-1, time.monotonic())

    def give(self, message: Any) -> None:
        """Send something, now or when there is room: see `is_full`."""
        data = marshal.dumps(message, 2)
        self._outgoing += len(data).to_bytes(4, "little") + data
        self.write()

    def give_batch(self, batch: list[Source]) -> None:
        """Send files to compile."""
        if not self.batches:
            self._last_seen = (self._last_seen[0], time.monotonic())
        self.batches.append(batch)
        self.give([tuple(source[1:]) for source in batch])

    @property
    def is_open(self) -> bool:
        """Whether it takes orders."""
        return self.orders >= 0

    @property
    def is_full(self) -> bool:
        """Whether something waits for `write`."""
        return bool(self._outgoing)

    def write(self) -> None:
        """Send what there is room for. A worker that is gone is seen elsewhere."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._outgoing:
                del self._outgoing[: os.write(self.orders, self._outgoing)]

    def read(self) -> Iterator[Any]:
        """What was answered, as :mod:`parallel_backend.tools.bytecode.worker` tells.

        :raises EOFError: there can be no more.
        """
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.answers, 1 << 16)
            if not data:
                raise EOFError
            self._incoming += data
        while len(self._incoming) >= 4:
            end = 4 + int.from_bytes(self._incoming[:4], "little")
            if len(self._incoming) < end:
                return
            message = marshal.loads(self._incoming[4:end])
            del self._incoming[:end]
            yield message

    def read_output(self) -> bool:
        """Keep what was printed; False: there is no more, for now or for ever."""
        try:
            data = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return False
        self._printed = (self._printed + data)[-_MOST_OUTPUT:]
        return bool(data)

    def answered(self) -> tuple[int, int]:
        """Note that a batch is done; how many files it had, and how many gave no ``.pyc``."""
        count, problems = len(self.batches.popleft()), self.problems
        self.finished += count
        self.problems = 0
        return count, problems

    def begun(self) -> int:
        """How many files were begun, in all."""
        return int.from_bytes(os.pread(self._begun, 4, 0), "little")

    def is_late(self, timeout: float) -> bool:
        """Whether it is at one file, or at its greeting, for longer than `timeout` seconds."""
        now = time.monotonic()
        begun = self.begun()
        if begun != self._last_seen[0]:
            self._last_seen = (begun, now)
        is_busy = self.batches or not self.is_greeted
        return bool(is_busy) and now - self._last_seen[1] > timeout

    def dismiss(self) -> None:
        """Let it end: it has nothing more to do."""
        os.close(self.orders)
        self.orders = -1

    def end(self, *, grace: float) -> tuple[str, str]:
        """End it, with whatever it started; how it ended, and what it printed last.

        It gets `grace` seconds to end by itself, so that it can tell how it did.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        while self.read_output():
            pass
        self.in_work = self.begun() - self.finished - 1
        for fd in (self.orders, self.answers, self._begun):
            if fd >= 0:
                os.close(fd)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return _told(code), self._printed.decode("utf-8", "backslashreplace").strip()


def start(*, python: str, token: bytes | None, mark: bytes) -> Handle:
    """Start a worker.

    It leads a process group of its own: a Ctrl-C at the terminal is for this process to handle.

    :raises ParallelBackendError: `python` is no program that can be run.
    :raises BlockingIOError: there may be no more processes now.
    """
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        orders, to_worker = os.pipe()
        theirs.callback(os.close, orders)
        ours.callback(os.close, to_worker)
        from_worker, answers = os.pipe()
        theirs.callback(os.close, answers)
        ours.callback(os.close, from_worker)
        begun = _memory_file()
        ours.callback(os.close, begun)
        fds = (orders, answers, begun)
        utf8 = ["-X", "utf8"] if sys.flags.utf8_mode else []
        try:
            process = subprocess.Popen(
                [python, *_FLAGS, *utf8, str(_WORKER), *map(str, fds)],
                bufsize=0,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=fds,
                process_group=0,
            )
        except BlockingIOError:
            raise
        except OSError as error:
            raise ParallelBackendError(
                f"{python} cannot be started: {error.strerror}; name an interpreter"
            ) from error
        ends = (to_worker, from_worker, begun)
        handle = Handle(process=process, fds=ends, token=token, mark=mark)
        for fd in (to_worker, from_worker, handle.output):
            os.set_blocking(fd, False)
        ours.pop_all()
        return handle


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("parallel-backend")
    from tempfile import TemporaryFile  # pragma: no cover - Linux has memfd_create

    with TemporaryFile() as file:  # pragma: no cover - Linux has memfd_create
        return os.dup(file.fileno())


def _told(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
