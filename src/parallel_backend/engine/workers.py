"""Extension workers: each builds one extension after another, as the hook's process tells it.

They talk over a connection of `multiprocessing`. The hook's process sends ``("build", index,
alone)``, ``("token", token)`` and ``("end",)``; a worker sends ``("built", Built)``,
``("want", number)`` and ``("give", token)``. A worker that has left something behind in memory
that a later extension could see ends after it has told so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

from parallel_backend.descriptors import open_null
from parallel_backend.engine.failures import run_reported, was_killed
from parallel_backend.engine.folders import own_folders
from parallel_backend.engine.inputs import Input, look_at
from parallel_backend.engine.scope import Scope
from parallel_backend.engine.slots import Slots, WorkerSlots
from parallel_backend.engine.state import changed, mark, snapshot
from parallel_backend.hook_process import (
    begin_fork,
    end_fork,
    end_groups,
    forget_group,
    note_group,
)
from parallel_backend.hook_process.result import pack, travels
from parallel_backend.timings.record import happened, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from parallel_backend.engine import Engine

__all__ = ["Built", "ForkWorker", "build_one", "scope_of"]


@dataclass
class Built:
    """What became of one extension.

    `error`: an exception as `outcome.pack` gives it; `travels`: it stays the same. `killed`:
    a command was killed, as for want of memory. `missed`: perhaps objects were not where setuptools
    puts them; for one that is built alone they are. `left`: names of what it left changed in
    memory. `carried`: attributes that the extension has now, pickled one by one. `inputs`: files
    that were read, `absent`: paths where there was none to read. `looks`: what is installed, as it
    was when this worker looked first.
    """

    index: int
    error: bytes | None = None
    travels: bool = True
    killed: bool = False
    missed: bool = False
    left: list[str] = field(default_factory=list)
    carried: dict[str, bytes] = field(default_factory=dict)
    inputs: list[Input] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    compiled: int = 0
    reused: int = 0
    looks: dict[str, Input] = field(default_factory=dict)


def scope_of(command: Any, extension: Any, *, slots: Slots, publish: bool) -> Scope:
    """The scope in which an extension is built."""
    return Scope(
        name=f"extension {extension.name!r}", command=command, slots=slots, publish=publish
    )


def build_one(engine: Engine, command: Any, extension: Any, scope: Scope) -> BaseException | None:
    """Let the command build one extension by its own code; the exception, its report in it."""
    with span("extension", extension.name, told=True) as timed, own_folders(engine, command, scope):
        error = run_reported(scope, lambda: command.build_extension(extension))
        if error is not None:
            timed.fail(error)
        return error


def _serve(connection: Connection, engine: Engine, command: Any) -> None:
    """Build what the hook's process names, until it says that this was all."""
    slots = WorkerSlots(connection)
    # A worker that has left something behind ends, so this stays what every extension begins from.
    begin = snapshot(command)
    told = dict(engine.installation.looks)
    with contextlib.suppress(EOFError, OSError):  # the hook's process has died
        while (message := slots.receive())[0] != "end":
            _, index, alone = message
            extension = command.extensions[index]
            scope = scope_of(command, extension, slots=slots, publish=alone)
            built = _build(engine, command, extension, scope, Built(index))
            built.left = changed(begin, snapshot(command, extension))
            # What it has of its own now is what a later one begins from, here as in a serial build.
            if (place := f"extension {extension.name!r}") in begin:
                begin[place] = {name: mark(value) for name, value in vars(extension).items()}
            looks = engine.installation.looks.items()
            built.looks = {path: look for path, look in looks if told.get(path) is not look}
            told.update(built.looks)
            connection.send(("built", built))
            if built.left:
                return


def _build(engine: Engine, command: Any, extension: Any, scope: Scope, built: Built) -> Built:
    before = {name: mark(value) for name, value in vars(extension).items()}
    declared = [look_at(path) for path in _declared(extension)]
    error = build_one(engine, command, extension, scope)
    if error is not None:
        built.killed = was_killed(error)
        built.error = pack(False, error)
        built.travels = travels(error)
        built.missed = bool(scope.objects) and not scope.publish and not scope.failures
    for name, value in vars(extension).items():
        if before.get(name) != mark(value) and (data := _pickled(value)):
            built.carried[name] = data
    # What was not there before it has made itself.
    built.inputs = [
        *scope.inputs,
        *(known if known.stamp else look_at(known.path) for known in declared),
    ]
    built.absent = list(scope.absent)
    built.compiled, built.reused = scope.compiled, scope.reused
    return built


def _declared(extension: Any) -> Iterable[str]:
    """Files beside sources that an extension says it is made from."""
    named = [*(extension.extra_objects or ()), *(extension.depends or ())]
    return {os.fspath(name) for name in named}


def _pickled(value: Any) -> bytes:
    import pickle

    try:
        return pickle.dumps(value)
    except Exception:  # whatever __reduce__ may raise: it stays in the worker
        return b""


def _connections() -> tuple[Connection, Connection]:
    """Two ends. Of sockets, since `selectors` takes nothing else on Windows."""
    here, there = socket.socketpair()
    return Connection(here.detach()), Connection(there.detach())


class ForkWorker:
    """A worker in a fork of the hook's process, a process group of its own."""

    def __init__(self, engine: Engine, command: Any, others: list[Connection]) -> None:
        self._engine = engine
        self.connection, there = _connections()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.pid = os.fork()
        if self.pid == 0:
            for connection in (self.connection, *others):
                connection.close()
            self._be_the_worker(there, command)
        there.close()
        with contextlib.suppress(OSError):  # it may have done so itself, and be gone
            os.setpgid(self.pid, self.pid)
        note_group(engine.private, self.pid)

    def _be_the_worker(self, connection: Connection, command: Any) -> NoReturn:
        try:
            os.setpgid(0, 0)
            begin_fork()
            # A background group must not read from the terminal: it would be stopped, not told.
            null = open_null()
            os.dup2(null, 0)
            os.close(null)
            with span("worker", f"worker {os.getpid()}", whole=True, told=True):
                _serve(connection, self._engine, command)
            end_fork()
        finally:
            os._exit(0)

    def end(self) -> int:
        """Let it end by itself, having nothing to do; its exit status, negative for a signal."""
        with contextlib.suppress(OSError):  # it has ended
            self.connection.send(("end",))
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.connection.close()
        happened("gone", self.pid)
        forget_group(self._engine.private, self.pid)
        if status != 0:
            end_groups(self._engine.private, owners={self.pid})
        return status

    @staticmethod
    def kill(workers: Sequence[ForkWorker]) -> None:
        """End workers and all that they run, now."""
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
        if workers:
            end_groups(workers[0]._engine.private, owners={worker.pid for worker in workers})
        for worker in workers:
            worker.end()
