"""Runs the commands of nodes: at paths of their own, with what they print kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parallel_backend.build import interception
from parallel_backend.build.commands import Command, Placement
from parallel_backend.build.nodes import Node
from parallel_backend.records.fingerprints import digest
from parallel_backend.records.record import CompileRecord, LinkRecord, Record, Records
from parallel_backend.timings import Tally
from parallel_backend.timings.record import Span, begun, current

if TYPE_CHECKING:
    from parallel_backend.launchers import Launcher

__all__ = ["CommandNode", "CommandRunner", "ForkNode"]

# A project may have deleted what it thinks that nobody needs.
_replace = os.replace


@dataclass(eq=False, kw_only=True)
class CommandNode(Node):
    """A command of the build, and what became of it.

    :param command: as setuptools runs it.
    :param inputs: words that nodes make elsewhere, by their place, for what runs ahead.
    :param output: where it writes; setuptools' own path unless it may run anywhere.
    """

    command: Command
    output: str
    extension: str = ""
    inputs: dict[int, CommandNode] = field(default_factory=dict)
    #: All nodes that make what it reads.
    reads: tuple[Any, ...] = ()
    record: Record | None = None
    status: int | None = None
    #: What it printed: standard output, standard error.
    text: tuple[bytes, bytes] = (b"", b"")
    reused: bool = False
    claimed: bool = False
    content: str = ""
    process: Any = None
    streams: tuple[int, ...] = ()
    watch: Watch | None = None
    span: Span | None = None
    began: float = 0.0

    def comes_now(self) -> None:
        """What it reads is at its own path by now, perhaps changed there."""
        self.inputs = {}

    @property
    def target(self) -> str:
        """The path that setuptools chose for what it makes."""
        return self.command.target


@dataclass(eq=False, kw_only=True)
class ForkNode(Node):
    """Work in a process that somebody else forks: `start` gives a descriptor that is readable when
    it is done, `collect` says whether it succeeded, `cancel` ends it."""

    start: Callable[[], int]
    collect: Callable[[], bool]
    cancel: Callable[[], None]
    name: str = ""
    #: The path of what it makes.
    makes: str = ""
    span: Span | None = None
    began: float = 0.0


class CommandRunner:
    """Begins the commands of nodes for a `Scheduler`.

    :param failed_ahead: is called with a node that has failed before its turn.
    """

    #: Set before the first command runs.
    records: Records

    def __init__(self, launcher: Launcher, tally: Tally) -> None:
        self._launcher = launcher
        self._tally = tally
        self._within = current()
        self.failed_ahead: Callable[[CommandNode], None] = lambda _: None

    def start(self, node: Any) -> int | None:
        with interception.unseen():
            try:
                return self._start(node)
            except BaseException as error:
                end_failed(node.span, error)
                raise

    def _start(self, node: Any) -> int | None:
        if isinstance(node, ForkNode):
            descriptor = node.start()
            node.began = time.monotonic()
            node.span = begun(
                "translation",
                node.name,
                slot=node.slot,
                up=self._within,
                run="ahead",
                makes=node.makes,
            )
            return descriptor
        command: Command = node.command
        self._begin_span(node)
        words = list(command.words)
        anywhere = command.placement is Placement.ANYWHERE
        if anywhere:
            os.makedirs(os.path.dirname(node.output))  # a project may delete all of it
            words[command.position] = node.output
            for place, need in node.inputs.items():
                words[place] = need.output
        variables: dict[str, str] = {}
        if command.kind == "compile":
            words, variables = self._launcher.launched(words, command.folder)
        environ = {**command.environ, **variables}
        if anywhere:
            node.record = self._record_of(node, words, environ)
            if node.record.take(umask=command.umask):
                node.reused = True
                node.status = 0
                node.text = node.record.text
                if node.span is not None:
                    node.span.used(None, None)
                return None
            node.record.begin()
            words += node.record.options()
        return self._run(node, words, environ)

    def _begin_span(self, node: CommandNode) -> None:
        node.began = time.monotonic()
        node.span = begun(
            node.command.kind,
            node.command.name,
            slot=node.slot,
            up=self._within,
            extension=node.extension,
            run="live" if node.urgent else "ahead",
        )

    def _record_of(self, node: CommandNode, words: list[str], environ: dict[str, str]) -> Record:
        command = node.command
        place = words.index(node.output)
        named = [*words[:place], "", *words[place + 1 :]]
        label = os.path.basename(command.target)
        if command.kind == "compile":
            return CompileRecord(
                self.records,
                named,
                environ,
                output=node.output,
                label=label,
                source=command.source,
            )
        made = {need.output: need.content for need in node.inputs.values()}
        return LinkRecord(self.records, named, environ, output=node.output, label=label, made=made)

    def _run(self, node: CommandNode, words: list[str], environ: dict[str, str]) -> int:
        command = node.command
        out, err = buffer(), buffer()
        try:
            node.process = interception.start(
                words,
                cwd=command.folder,
                env=environ,
                umask=command.umask,
                stdin=interception.null(),
                stdout=out,
                stderr=err,
            )
        except BaseException:
            os.close(out)
            os.close(err)
            raise
        node.streams = out, err
        node.watch = Watch(node.process.pid)
        return node.watch.fileno()

    def ended(self, node: Any) -> bool:
        self._tally.busy += time.monotonic() - node.began
        if isinstance(node, ForkNode):
            if node.span is not None:
                node.span.used(None, None)
            return True
        assert node.watch is not None
        status, usage = node.watch.result()
        node.status = status
        node.process.returncode = -1 if status is None else status
        interception.ended(node.process.pid)
        if status is not None and status < 0:  # the driver was killed, and has left something
            interception.kill(node.process.pid, signal.SIGKILL)
        node.text = read_all(node.streams[0]), read_all(node.streams[1])
        if node.span is not None:
            node.span.used(status, usage)
        return bool(status == 0)

    def finish(self, node: Any) -> bool:
        if isinstance(node, ForkNode):
            succeeded = node.collect()
            if node.span is not None:
                node.span.note(result="done" if succeeded else "failed")
                node.span.end()
            return succeeded
        succeeded = node.status == 0 and os.path.isfile(node.output)
        if node.span is not None:
            result = "reused" if node.reused else "done" if succeeded else "failed"
            node.span.note(result=result)
            node.span.end()
        if succeeded and node.record is not None and not node.reused:
            node.record.text = node.text
            node.record.finish()
        if succeeded:
            node.content = node.record.content if node.record else ""
            node.content = node.content or content_of(node.output)
        elif not node.urgent:
            self.failed_ahead(node)
        return succeeded

    def cancel(self, nodes: Iterable[Any], *, kill: bool) -> None:
        number = signal.SIGKILL if kill else signal.SIGTERM
        for node in nodes:
            span, node.span = node.span, None
            if span is not None:
                span.note(result="cancelled")
                span.end()
            if isinstance(node, ForkNode):
                node.cancel()
            else:
                interception.kill(node.process.pid, number)


class Watch:
    """Tells when a child has ended: its descriptor is readable then."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ends: tuple[socket.socket, socket.socket] | None = None
        try:
            self._descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):  # pragma: no cover - Linux has it since 5.3
            self._ends = socket.socketpair()
            self._descriptor = self._ends[0].fileno()
            threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:  # pragma: no cover - Linux has pidfd_open
        assert self._ends is not None
        with contextlib.suppress(OSError):
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        self._ends[1].close()

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        if self._ends is None:
            os.close(self._descriptor)
        else:  # pragma: no cover - Linux has pidfd_open
            self._ends[0].close()

    def peek(self) -> int:
        """The exit status of a child that has ended, which stays for who waits for it; 0 if
        somebody has waited for it."""
        with contextlib.suppress(OSError):
            options = os.WEXITED | os.WNOWAIT | os.WNOHANG
            info = os.waitid(os.P_PID, self._pid, options)
            if info is not None:
                return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
        return 0

    def result(self) -> tuple[int | None, Any]:
        """Exit status and usage of a child that has ended; None where somebody else has waited for
        it."""
        self.close()
        try:
            _, status, usage = os.wait4(self._pid, 0)
        except ChildProcessError:
            return None, None
        return os.waitstatus_to_exitcode(status), usage


def is_waited_for(process: Any) -> bool:
    """Whether a thread waits for a `Popen` object's process right now."""
    lock = getattr(process, "_waitpid_lock", None)
    return process.returncode is None and lock is not None and lock.locked()


def end_failed(span: Span | None, error: BaseException) -> None:
    """What was recorded could not be begun."""
    if span is not None:
        span.fail(error)
        span.end()


def note_usage(process: Any, span: Span | None) -> None:
    """Let a span know what a `Popen` object's process has used, once that is waited for."""
    if span is None or not hasattr(os, "wait4") or not hasattr(process, "_try_wait"):
        return
    pid = process.pid  # and no more of it, which would refer to itself

    def try_wait(flags: int) -> tuple[int, int]:
        try:
            found, status, usage = os.wait4(pid, flags)
        except ChildProcessError:
            return pid, 0  # as there: somebody else has waited for it
        if found == pid:
            span.used(os.waitstatus_to_exitcode(status), usage)
            span.end()
        return found, status

    process._try_wait = try_wait


def buffer() -> int:
    """A file without a name for what a command prints: no pipe that could fill up."""
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.memfd_create("parallel-backend")
    with tempfile.TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())


def read_all(descriptor: int) -> bytes:
    """All that was written to a buffer, which is closed."""
    try:
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def move(source: str, target: str) -> None:
    """Rename a file; copy it to another file system."""
    try:
        _replace(source, target)
    except OSError:
        shutil.copy2(source, target)


def content_of(path: str) -> str:
    """A hash of a file's content; "": it cannot be read."""
    try:
        return digest(Path(path).read_bytes())
    except OSError:
        return ""
