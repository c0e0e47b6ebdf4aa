"""What jobs print, kept apart; the processes that they run, known, so that they can be ended.

A `Job` is a compile command, or an extension with all that it runs besides. While a thread works on
one, what Python code prints and logs there and what its commands print is kept in the job, and
shown in one piece: outputs of different commands never mix.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from parallel_backend.descriptors import open_null
from parallel_backend.hook_process import CrashOutput, forget_group, note_group
from parallel_backend.timings import record

if TYPE_CHECKING:
    from parallel_backend.engine.reuse import Expected

__all__ = ["Cancelled", "Job", "capturing", "current_job", "one_group"]

_OUT, _ERR = 1, 2

_local = threading.local()
_streams: dict[int, Any] = {}
_turn = threading.Lock()

_GROUP_OPTIONS = {"process_group", "start_new_session", "preexec_fn"}
_groups = os.name == "posix"
_HAS_WAIT4 = hasattr(os, "wait4")


@contextlib.contextmanager
def one_group() -> Iterator[None]:
    """What is started in this ``with`` block stays in the process group of this process."""
    global _groups  # noqa: PLW0603 - a fork's own
    before, _groups = _groups, False
    try:
        yield
    finally:
        _groups = before


# What this process has opened for itself: forks open their own.
_own: dict[str, Any] = {}


class Cancelled(Exception):
    """A job was ended because another one failed; it says nothing of the job itself."""


def current_job() -> Job | None:
    """The job that this thread works on, if any."""
    return getattr(_local, "job", None)


class Job:
    """Text that a job has printed and that is not shown yet, and the processes that it runs.

    `live`: show the text after each command that succeeds, and not only at the job's end; what is
    not shown yet is found if the process dies.
    """

    def __init__(self, *, live: bool = False) -> None:
        self.live = live
        self.cancelled = False
        #: The last command that failed, and its exit status (negative: a signal's number).
        self.failed: tuple[list[str], int] | None = None
        #: A command that is started soon, and whose result is there already, perhaps.
        self.expected: Expected | None = None
        self._pieces: list[tuple[int, bytes]] = []
        self._processes: set[_JobProcess] = set()
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def current(self) -> Iterator[Job]:
        """Make it the job of this thread for the length of a ``with`` block."""
        before = current_job()
        _local.job = self
        try:
            yield self
        finally:
            _local.job = before

    def write(self, stream: int, data: bytes) -> None:
        """Keep what went to standard output (1) or standard error (2)."""
        if data:
            self._pieces.append((stream, data))
            if self.live:
                _crash_output().say(data)

    def show(self) -> None:
        """Write what is kept to the process' own streams, in one piece."""
        pieces = self._take()
        if pieces:
            with _one_at_a_time():
                for stream, data in pieces:
                    _emit(_streams.get(stream) or _standard(stream), data)

    def text(self) -> str:
        """What is kept, as text, taken out."""
        return b"".join(data for _, data in self._take()).decode(errors="backslashreplace")

    def _take(self) -> list[tuple[int, bytes]]:
        pieces, self._pieces = self._pieces, []
        if pieces and self.live:
            _crash_output().shown()
        return pieces

    def cancel(self, number: int) -> None:
        """Tell the job's processes to end, and let it start no more."""
        with self._lock:
            self.cancelled = True
            for process in list(self._processes):
                process.send_signal(number)

    def close(self) -> None:
        """Take over what processes have printed that nobody has waited for, as asyncio's."""
        for process in list(self._processes):
            process.leave()


class _JobProcess(subprocess.Popen[Any]):
    """`subprocess.Popen`; that of a job has a process group of its own, and its output kept."""

    _job: Job | None = None
    _expected: Expected | None = None
    _private: Path
    _timed: record.Program | None = None
    _usage: Any = None
    _waitpid_lock: Any  # of subprocess

    def __init__(self, args: Any, *rest: Any, **options: Any) -> None:
        job = current_job()
        if job is None or rest:
            timed = record.program(args)
            super().__init__(args, *rest, **options)
            self._timed = timed
            return
        told = args
        if job.expected is not None and _is_plain(args, options):
            words = job.expected.begin([os.fspath(word) for word in args], options.get("env"))
            if words is None:
                self._be_done(args)
                return
            self._expected, args = job.expected, words
        options |= self._kept_apart(options)
        with job._lock:
            try:
                if job.cancelled:
                    raise Cancelled
                timed = record.program(args)
                super().__init__(args, **options)
                self._timed = timed
            except BaseException:
                for _, buffer in self._kept:
                    os.close(buffer)
                raise
            self.args = told
            self._job = job
            job._processes.add(self)
            if self._group:
                note_group(self._private, self.pid)

    def _kept_apart(self, options: dict[str, Any]) -> dict[str, Any]:
        """What more a process of a job is started with."""
        more: dict[str, Any] = {}
        self._kept: list[tuple[int, Any]] = []
        for name, stream in (("stdout", _OUT), ("stderr", _ERR)):
            if options.get(name) is None:
                more[name] = _buffer()
                self._kept.append((stream, more[name]))
        # A background group must not read from the terminal: it would be stopped, not told.
        if options.get("stdin") is None:
            more["stdin"] = _null()
        # A leader of a group cannot do what preexec_fn often does: os.setsid().
        self._group = _groups and not _GROUP_OPTIONS & set(options)
        if self._group:
            more["process_group"] = 0
        return more

    def _be_done(self, args: Any) -> None:
        """Be a process that has ended, and has done its work."""
        self.args, self.pid, self.returncode = args, 0, 0
        self.stdin = self.stdout = self.stderr = None
        record.current().note(result="reused")

    def wait(self, timeout: float | None = None) -> int:
        code = super().wait(timeout)
        self._collect(code)
        return code

    def poll(self) -> int | None:
        if self._timed is not None and self._waitpid_lock.acquire(blocking=False):
            try:
                if self.returncode is None and _HAS_WAIT4:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid == self.pid:
                        self.returncode = os.waitstatus_to_exitcode(status)
            finally:
                self._waitpid_lock.release()
        code = super().poll()
        if code is not None:
            self._collect(code)
        return code

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """What `subprocess` waits by: it is to tell what the process used, too."""
        if self._timed is None or not _HAS_WAIT4:
            return super()._try_wait(wait_flags)  # type: ignore[misc, no-any-return]
        try:
            pid, status, usage = os.wait4(self.pid, wait_flags)
        except ChildProcessError:
            return self.pid, 0  # as there: somebody else has waited, nothing is known
        if pid == self.pid:
            self._usage = usage
        return pid, status

    def send_signal(self, sig: int) -> None:
        # gcc is a driver: a signal to it alone leaves the compiler proper running.
        if self._job is not None and self._group and self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, sig)
        else:
            super().send_signal(sig)

    def leave(self) -> None:
        """Its job ends, whether it has ended or not."""
        code = self.poll()
        if self._job is not None:
            self._collect(code)

    def _collect(self, code: int | None) -> None:
        timed, self._timed = self._timed, None
        if timed is not None:
            timed.ended(code, self._usage)
        job, self._job = self._job, None
        if job is None:
            return
        with job._lock:
            job._processes.discard(self)
        if self._group and code is not None:
            forget_group(self._private, self.pid)
        for stream, buffer in self._kept:
            size = os.fstat(buffer).st_size
            if size:
                os.lseek(buffer, 0, os.SEEK_SET)
                job.write(stream, os.read(buffer, size))
            os.close(buffer)
        if code:
            words = [self.args] if isinstance(self.args, (str, bytes, os.PathLike)) else self.args
            job.failed = ([os.fsdecode(word) for word in cast("Any", words)], code)
            return
        job.failed = None
        if self._expected is not None and code == 0:
            self._expected.finish()
        if job.live:
            job.show()


def _is_plain(args: Any, options: dict[str, Any]) -> bool:
    """Whether a command is words alone: nobody reads what it prints, or changes where it runs."""
    return (
        isinstance(args, (list, tuple))
        and not any(options.values())
        and not any(isinstance(os.fspath(word), bytes) for word in args)
    )


def _null() -> int:
    """What a process reads from that is to read nothing."""
    if os.path.exists(os.devnull):
        return subprocess.DEVNULL
    if _own.get("null", (0, None))[0] != os.getpid():
        _own["null"] = (os.getpid(), os.fdopen(open_null(), "rb"))
    return int(_own["null"][1].fileno())


def _buffer() -> int:
    """A file without a name for what a command prints: no pipe that could fill up."""
    with contextlib.suppress(AttributeError, OSError):  # a sandbox may refuse it
        return os.memfd_create("parallel-backend")
    with tempfile.TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())


class _Routed:
    """A standard stream whose text goes to the job of the thread that writes it, if it has one."""

    def __init__(self, stream: Any, number: int) -> None:
        self._stream = stream
        self._number = number

    def write(self, text: str) -> int:
        job = current_job()
        if job is None:
            return int(self._stream.write(text))
        job.write(self._number, text.encode("utf-8", "surrogateescape"))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def capturing(private: Path) -> Iterator[None]:
    """Keep apart what jobs print, for the length of a ``with`` block."""
    _JobProcess._private = private
    _streams.update({_OUT: sys.stdout, _ERR: sys.stderr})
    routed = {number: stream and _Routed(stream, number) for number, stream in _streams.items()}
    saved = sys.stdout, sys.stderr, subprocess.Popen
    # The root logger's handlers were bound to the streams when setup() was called.
    moved = []
    for handler in logging.getLogger().handlers:
        for number, stream in _streams.items():
            if getattr(handler, "stream", None) is stream:
                moved.append((handler, stream))
                cast("Any", handler).stream = routed[number]
    sys.stdout, sys.stderr = cast("Any", routed[_OUT]), cast("Any", routed[_ERR])
    subprocess.Popen = _JobProcess  # type: ignore[misc]
    try:
        yield
    finally:
        sys.stdout, sys.stderr, subprocess.Popen = saved  # type: ignore[misc]
        for handler, stream in moved:
            cast("Any", handler).stream = stream
        _streams.clear()
        for _, opened in _own.values():
            opened.close()
        _own.clear()


def _crash_output() -> CrashOutput:
    if _own.get("words", (0, None))[0] != os.getpid():
        _own["words"] = (os.getpid(), CrashOutput(_JobProcess._private))
    words: CrashOutput = _own["words"][1]
    return words


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """One thread of one process of this hook writes at a time."""
    with _turn:
        if os.name != "posix":  # pragma: no cover - there are no forks to take turns with
            yield
            return
        import fcntl

        # A descriptor that a fork has shared would share its lock, too.
        if _own.get("lock", (0, None))[0] != os.getpid():
            _own["lock"] = (os.getpid(), (_JobProcess._private / "output.lock").open("wb"))
        lock = _own["lock"][1]
        with contextlib.suppress(OSError):  # a file system without locks: lines may mix
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)


def _standard(stream: int) -> Any:
    return sys.stdout if stream == _OUT else sys.stderr


def _emit(stream: Any, data: bytes) -> None:
    buffer = getattr(stream, "buffer", None)
    if isinstance(buffer, io.BufferedIOBase):
        stream.flush()
        buffer.write(data)
        buffer.flush()
    elif stream is not None:
        stream.write(data.decode(errors="backslashreplace"))
        stream.flush()
