"""Workers that compile what a walk finds, while it goes on.

Each worker has one batch in work and one in its pipe, so that it never waits. A batch is of 150 KB
or of 64 files, the biggest of those that wait; where few wait batches are smaller, and so all
workers begin and end at about the same time.

A worker that dies or hangs costs the file that it was at. Its other files are given out again.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import selectors
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

from parallel_backend.errors import JobserverError, ParallelBackendError
from parallel_backend.tools.bytecode.handle import Handle, start
from parallel_backend.tools.bytecode.interpreter import Interpreter
from parallel_backend.tools.bytecode.options import Options
from parallel_backend.tools.bytecode.report import Failure
from parallel_backend.tools.bytecode.tree import Source

if TYPE_CHECKING:
    from parallel_backend.jobserver import Pool as TokenPool

__all__ = ["Pool"]

_BATCH_SIZE = 150_000  # bytes
_BATCH_LENGTH = 64  # files
_WINDOW = 20_000  # files that may wait; this bounds the memory
_OLDEST = (3, 8)
_MOST_IDLE_DEATHS = 3
_GRACE = 1.0  # seconds in which a worker that has closed its pipe is to end


class Pool:
    """Compiles sources.

    :param limit: the most workers; None: as many as there are tokens.
    :param tokens: where the job tokens of all workers but one come from; None: they need none.
    :param report: gets each file that could not be compiled.
    """

    def __init__(
        self,
        *,
        python: str,
        options: Options,
        limit: int | None,
        tokens: TokenPool | None,
        report: Callable[[Failure], None],
    ) -> None:
        self.done = 0
        """Files that are done with."""
        self.compiled = 0
        self.most = 0
        """The most workers that ran at once."""
        self._python = python
        self._options = options
        self._limit = limit
        self._tokens = tokens
        self._report = report
        self._endings = [(level, ending.encode()) for level, ending in options.endings()]
        self._mark = f".{os.urandom(4).hex()}"
        self._waiting: list[Source] = []
        self._waiting_size = 0
        self._workers: list[Handle] = []
        self._started = 0
        self._idle_deaths = 0
        self._is_walking = True
        self._selector = selectors.DefaultSelector()
        self._greeting: Any = None
        self._looked = time.monotonic()
        self._period = min(1.0, options.timeout / 4)

    def interpreter(self) -> Interpreter:
        """Start the first worker, and ask it which interpreter it is."""
        self._hire()
        while self._greeting is None:
            self._poll(self._period)
        version, magic, tag = self._greeting
        if tag is None:
            raise ParallelBackendError(f"{self._python} keeps no .pyc files: it has no cache tag")
        return Interpreter(version, magic, tag)

    def run(self, parts: Iterator[list[Source]], *, progress: Callable[[int, bool], None]) -> None:
        """Compile the parts of a walk; an empty part means to finish first what came before.

        `progress` is told how many files are done, and whether the walk is.
        """
        must_finish = False
        while self._is_walking or self._waiting or self._workers:
            wait = self._period
            must_finish = must_finish and not self._is_idle()
            if self._is_walking and not must_finish and len(self._waiting) < _WINDOW:
                wait = 0.0
                part = next(parts, None)
                if part is None:
                    self._is_walking = False
                elif part:
                    self._add(part)
                else:
                    must_finish = True
            self._hand_out()
            if self._workers:
                self._poll(wait)
            progress(self.done, not self._is_walking)

    def close(self) -> None:
        """End all workers now; what they have in work leaves nothing behind."""
        while self._workers:
            self._end(self._workers[-1], grace=0.0)
        self._selector.close()

    def _is_idle(self) -> bool:
        return not self._waiting and not any(handle.batches for handle in self._workers)

    def _add(self, part: list[Source]) -> None:
        for source in part:
            heapq.heappush(self._waiting, source)
            self._waiting_size -= source.order

    def _hand_out(self) -> None:
        """Give out what waits: a batch for who has none, to new workers, a second one for each."""
        for handle in self._workers:
            if self._waiting and not handle.batches and handle.is_open:
                self._give(handle)
        while self._waiting and (hired := self._hire()):
            self._give(hired)
        for handle in self._workers:
            if self._waiting and len(handle.batches) < 2 and handle.is_open:
                self._give(handle)
            elif not handle.batches and not self._is_walking and handle.is_open:
                self._forget(handle.orders)
                handle.dismiss()
        self._watch_tokens()

    def _batch(self) -> list[Source]:
        shares = 2 * max(len(self._workers), self._limit or 1)
        size = min(_BATCH_SIZE, self._waiting_size // shares)
        length = min(_BATCH_LENGTH, ceil(len(self._waiting) / shares))
        batch: list[Source] = []
        while self._waiting and len(batch) < length and size >= 0:
            source = heapq.heappop(self._waiting)
            self._waiting_size += source.order
            size += source.order
            batch.append(source)
        return batch

    def _give(self, handle: Handle) -> None:
        handle.give_batch(self._batch())
        if handle.is_full and handle.orders not in self._selector.get_map():
            self._selector.register(
                handle.orders, selectors.EVENT_WRITE, partial(self._write, handle)
            )

    def _write(self, handle: Handle) -> None:
        handle.write()
        if not handle.is_full:
            self._forget(handle.orders)

    def _hire(self) -> Handle | None:
        """Start a worker, if there may be one more."""
        if self._limit is not None and len(self._workers) >= self._limit:
            return None
        token = None
        if self._tokens is not None and any(each.token is None for each in self._workers):
            try:
                token = self._tokens.acquire()
            except JobserverError:
                self._limit = len(self._workers)
            if token is None:
                return None
        self._started += 1
        mark = f"{self._mark}{self._started}".encode()
        try:
            handle = start(python=self._python, token=token, mark=mark)
        except BlockingIOError as error:
            if not self._workers:
                raise ParallelBackendError(f"no process can be made: {error.strerror}") from error
            self._limit = len(self._workers)
            self._release(token)
            return None
        self._workers.append(handle)
        self.most = max(self.most, len(self._workers))
        self._selector.register(handle.answers, selectors.EVENT_READ, partial(self._answer, handle))
        self._selector.register(handle.output, selectors.EVENT_READ, partial(self._listen, handle))
        options = self._options
        handle.give((self._endings, options.mode, options.hardlink_dupes, mark))
        return handle

    def _release(self, token: bytes | None) -> None:
        if token is not None and self._tokens is not None:
            with contextlib.suppress(JobserverError):  # a pool that is gone wants nothing back
                self._tokens.release(token)

    def _watch_tokens(self) -> None:
        """Wake up for a token while one is of use."""
        if self._tokens is None:
            return
        is_of_use = self._waiting and (self._limit is None or len(self._workers) < self._limit)
        fd = self._tokens.fileno()
        if not is_of_use:
            self._forget(fd)
        elif fd not in self._selector.get_map():
            self._selector.register(fd, selectors.EVENT_READ, lambda: None)

    def _forget(self, fd: int) -> None:
        if fd >= 0 and fd in self._selector.get_map():
            self._selector.unregister(fd)

    def _poll(self, wait: float) -> None:
        for key, _ in self._selector.select(wait):
            if self._selector.get_map().get(key.fd) is key:  # it may be gone since
                key.data()
        now = time.monotonic()
        if now - self._looked >= self._period:
            self._looked = now
            for handle in [*self._workers]:
                if handle.is_late(self._options.timeout):
                    self._lose(handle, f"took longer than {self._options.timeout:g} s")

    def _listen(self, handle: Handle) -> None:
        if not handle.read_output():
            self._forget(handle.output)

    def _answer(self, handle: Handle) -> None:
        try:
            for message in handle.read():
                self._take(handle, message)
        except EOFError:
            self._lose(handle)

    def _take(self, handle: Handle, message: Any) -> None:
        if not handle.is_greeted:
            handle.is_greeted = True
            self._greeting = message
            if tuple(message[0]) < _OLDEST:
                raise ParallelBackendError(
                    f"{self._python} is Python {message[0][0]}.{message[0][1]}; "
                    "it must be 3.8 or newer"
                )
        elif isinstance(message, int):
            count, problems = handle.answered()
            self.done += count
            self.compiled += count - problems
        else:
            index, line, text = message
            handle.problems += 1
            if text is not None:
                self._report(Failure(os.fsdecode(handle.batches[0][index].path), line, text))

    def _lose(self, handle: Handle, reason: str = "") -> None:
        """A worker has ended, or is to end for a `reason`."""
        how, printed = self._end(handle, grace=0.0 if reason else _GRACE)
        files = [source for batch in handle.batches for source in batch]
        at = handle.in_work
        if not handle.is_greeted:
            raise ParallelBackendError(
                f"{self._python} does not work as Python 3.8 or newer: "
                f"{reason or how}{_last_line(printed)}"
            )
        if not files:
            return
        if at >= 0:
            self._report(
                Failure(
                    os.fsdecode(files[at].path),
                    None,
                    reason or f"the worker that compiled it ended: {how}",
                    printed,
                )
            )
            self.done += at + 1
            self.compiled += at - handle.problems
        else:
            self._idle_deaths += 1
            if self._idle_deaths > _MOST_IDLE_DEATHS:
                raise ParallelBackendError(
                    f"workers of {self._python} end before they compile anything: "
                    f"{how}{_last_line(printed)}"
                )
        self._add(files[at + 1 :])

    def _end(self, handle: Handle, *, grace: float) -> tuple[str, str]:
        for fd in (handle.answers, handle.output, handle.orders):
            self._forget(fd)
        told = handle.end(grace=grace)
        self._workers.remove(handle)
        self._release(handle.token)
        for batch in handle.batches:
            for source in batch:
                for _, ending in self._endings:
                    with contextlib.suppress(OSError):
                        os.unlink(source.stem + ending + handle.mark)
        return told


def _last_line(text: str) -> str:
    return f": {text.splitlines()[-1]}" if text else ""
