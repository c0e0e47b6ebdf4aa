"""Build the extensions of one ``build_ext`` command with workers, and get a serial build's result.

A worker starts from the state that the command had when its workers were forked, so an extension
sees neither what the others leave behind in memory nor, maybe, the files that they generate. Where
a serial build would have shown it that, it is seen afterwards, and built again as a serial build
does:

- One that fails before all that stands before it in ``setup.py`` was built is tried again when
  that is so, alone.
- One that leaves something changed in memory (the command, its compiler, the environment) is built
  again in the hook's own process, and all that stand after it begin anew from the state it left.
  The second time that this happens the rest is built one after another.
- If a file that one has read changed afterwards, or was written meanwhile and read by others, too,
  it and all that stand after it are built again, one after another.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pickle
import sys
import time
from typing import TYPE_CHECKING, Any

from setuptools.extension import Library

from parallel_backend.engine.failures import how_it_ended, joined
from parallel_backend.engine.inputs import has_changed, now_at, time_of
from parallel_backend.engine.origins import (
    is_distutils,
    is_general,
    runs_own_code,
)
from parallel_backend.engine.staff import Staff
from parallel_backend.engine.state import attributes
from parallel_backend.engine.workers import (
    Built,
    ForkWorker,
    build_one,
    scope_of,
)
from parallel_backend.errors import WorkerDied
from parallel_backend.hook_process import fork_is_safe, read_crash_output
from parallel_backend.hook_process.result import unpack
from parallel_backend.timings.record import happened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parallel_backend.engine import Engine

__all__ = ["WorkerDied", "build_extensions"]

_log = logging.getLogger(__name__)


def build_extensions(engine: Engine, command: Any) -> None:
    """What ``build_ext.build_extensions()`` does."""
    command.check_extensions_list(command.extensions)
    engine.prepare(command.compiler, sources=command.extensions)
    _import_what_all_need(command)
    _remove_earlier(engine, command)
    with engine.tally.running():
        began = time.monotonic()
        try:
            _Build(engine, command).run(at_once=_may_fork(engine, command))
        except Exception as error:
            engine.raised.append(str(error))
            raise
        finally:
            engine.tally.busy += time.monotonic() - began


def _remove_earlier(engine: Engine, command: Any) -> None:
    """Remove the extensions of an earlier build, or make them old where somebody may use them.

    setuptools, and many a project, take one that is there for up to date if its sources and
    `depends` are older, whatever became of headers and options. Whether its commands have to run is
    seen for each, later.
    """
    compiler = command.compiler
    if not is_general(compiler) and is_distutils(compiler.compile):
        return  # MSVC's own, which does not tell what it reads: setuptools' look is all there is
    for extension in command.extensions:
        with contextlib.suppress(Exception):  # whatever a project's own method may raise
            path = command.get_ext_fullpath(extension.name)
            if time_of(path) < engine.began:
                if command.inplace:
                    os.utime(path, (0, 0))
                else:
                    os.unlink(path)


def _import_what_all_need(command: Any) -> None:
    """What Cython's ``build_ext`` imports for its first extension: once, not in every worker."""
    if any(base.__module__ == "Cython.Distutils.build_ext" for base in type(command).__mro__):
        for name in ("Cython.Build.Dependencies", "Cython.Compiler.CythonScope"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def _may_fork(engine: Engine, command: Any) -> bool:
    """Whether extensions are built at once, in forks."""
    if engine.settings.extensions == "serial" or engine.slots.most() == 1:
        return False
    if len(command.extensions) < 2:
        return False
    if not is_general(command.compiler) and not is_distutils(command.compiler.compile):
        _log.info("parallel-backend: a project's own compile() runs: one extension at a time")
        return False  # it may use all cores itself, as pybind11's ParallelCompile does
    return fork_is_safe()


class _Build:
    """The state of one run. Extensions are called by their index in `setup.py`'s order."""

    def __init__(self, engine: Engine, command: Any) -> None:
        self.engine = engine
        self.command = command
        self.extensions: list[Any] = command.extensions
        self.before = [attributes(extension) for extension in self.extensions]
        self.pending = set(range(len(self.extensions)))
        self.built: dict[int, Built] = {}
        self.failed: dict[int, BaseException] = {}
        #: Those that failed, and perhaps would not have, had all before them been built.
        self.doubtful: dict[int, BaseException] = {}
        #: Those before which all was built when they began.
        self.certain: set[int] = set()
        #: The first one that left something changed in memory: what stands after it does not count.
        self.pivot: int | None = None
        self.pivots = 0
        #: Whether every extension gets a worker of its own: what it sees must not depend on which
        #: others its worker has built, and not all that a project's own code leaves can be seen.
        self.fresh = runs_own_code(command)

    def run(self, *, at_once: bool) -> None:
        """Build all, or raise what a serial build would have raised."""
        if not at_once:
            self.build_here(sorted(self.pending))
        else:
            self.order = self.costliest_first()
            self.began = now_at(self.command.build_temp)
            staff = Staff(self.engine, self.command)
            try:
                self.direct(staff)
            finally:
                staff.close()
            self.build_again_what_was_overtaken()
        for built in self.built.values():
            self.engine.tally.extensions += built.error is None
        if self.failed:
            raise joined([self.failed[index] for index in sorted(self.failed)])

    def is_library(self, index: int) -> bool:
        return isinstance(self.extensions[index], Library)

    def costliest_first(self) -> list[int]:
        """Libraries, static and shared, and then the rest."""
        costs = [self.engine.costs.of_extension(extension) for extension in self.extensions]
        return sorted(self.pending, key=lambda i: (not self.is_library(i), -costs[i], i))

    def candidates(self, staff: Staff) -> Iterator[int]:
        """What may be begun now, in the order in which it should be."""
        end = min([len(self.extensions), *self.doubtful, *self.pivot_if_any()])
        libraries = any(self.is_library(index) for index in staff.at_work.values())
        for index in self.order:
            if index in self.pending and index < end:
                libraries = libraries or self.is_library(index)
                if libraries and not self.is_library(index):
                    return
                yield index

    def pivot_if_any(self) -> list[int]:
        return [] if self.pivot is None else [self.pivot]

    def direct(self, staff: Staff) -> None:
        """Let workers build until nothing is left."""
        while self.pending or self.doubtful or staff.at_work:
            before = set(staff.at_work.values())
            staff.employ(list(self.candidates(staff)))
            for index in set(staff.at_work.values()) - before:
                self.begin(index)
            if staff.at_work:
                more = any(True for _ in self.candidates(staff))
                for worker, built in staff.listen(more=more):
                    self.note(staff, worker, built)
            elif self.doubtful and min(self.doubtful) <= min(
                [*self.pivot_if_any(), *self.doubtful]
            ):
                # All before it is built, and nothing runs beside it.
                self.begin(min(self.doubtful))
                staff.employ([min(self.doubtful)], alone=True)
            else:
                self.pass_pivot()

    def begin(self, index: int) -> None:
        self.pending.discard(index)
        self.certain.discard(index)
        if {*self.built, *self.failed}.issuperset(range(index)):
            self.certain.add(index)

    def note(self, staff: Staff, worker: ForkWorker, built: Built | None) -> None:
        """A worker has built its extension, or not, or has died."""
        index = staff.at_work[worker]
        beside = len(staff.at_work) > 1
        if built is None:
            ended = how_it_ended(staff.dismiss(worker))
            print(read_crash_output(self.engine.private, worker.pid), end="", file=sys.stderr)
            name = self.extensions[index].name
            error = WorkerDied(f"the process that built extension {name!r} {ended}")
            happened("died", name, error=str(error))
            self.note_error(index, error, hurried=beside)
            return
        self.engine.tally.count(compiled=built.compiled, reused=built.reused)
        # Workers that come later need not look again.
        self.engine.installation.looks.update(built.looks)
        if not built.travels:
            # Its class is the project's own, which catches it perhaps: let the real one rise.
            self.note_pivot(staff, index, ["nothing, but it fails in a way of its own"])
        elif built.error is not None:
            hurried = built.missed or (built.killed and beside)
            self.note_error(index, unpack(built.error)[1], hurried=hurried)
        elif built.left:
            self.note_pivot(staff, index, built.left)
        else:
            self.accept(built)
        if worker in staff.at_work:
            ready = next(self.candidates(staff), None)
            if ready is None or built.left or self.fresh:
                staff.dismiss(worker)
            else:
                self.begin(ready)
                staff.hand_out(worker, ready)

    def accept(self, built: Built) -> None:
        extension = self.extensions[built.index]
        for name, data in built.carried.items():
            with contextlib.suppress(Exception):  # a class that pickles and does not come back
                setattr(extension, name, pickle.loads(data))
        self.built[built.index] = built
        self.doubtful.pop(built.index, None)

    def note_error(self, index: int, error: BaseException, *, hurried: bool) -> None:
        """`hurried`: without the others beside it, it might not have failed."""
        if index in self.certain and not hurried:
            self.doubtful.pop(index, None)
            self.fail(index, error)
        else:
            self.doubtful[index] = error
            self.retract(index)

    def fail(self, index: int, error: BaseException) -> None:
        """A failure that a serial build would have had, too."""
        try:
            # setuptools lets an optional extension fail.
            with self.command._filter_build_errors(self.extensions[index]):
                raise error
        except Exception:
            if not self.engine.settings.keep_going:
                raise
            self.failed[index] = error
        else:
            self.built[index] = Built(index, error=b"optional")

    # --- what does not count

    def note_pivot(self, staff: Staff, index: int, left: list[str]) -> None:
        name = self.extensions[index].name
        _log.debug("parallel-backend: building extension %r changes %s", name, ", ".join(left))
        self.pivot = min([index, *self.pivot_if_any()])
        self.doubtful.pop(index, None)
        self.retract(index)
        killed = staff.kill([worker for worker, i in staff.at_work.items() if i > self.pivot])
        for other in [*killed, *self.built, *self.doubtful]:
            if other > self.pivot:
                self.doubtful.pop(other, None)
                self.retract(other)

    def retract(self, index: int) -> None:
        """Make it as if this extension had not been built."""
        if (built := self.built.pop(index, None)) is not None:
            self.engine.tally.retract(compiled=built.compiled, reused=built.reused)
        self.failed.pop(index, None)
        extension = self.extensions[index]
        happened("retracted", extension.name)
        vars(extension).clear()
        vars(extension).update(self.before[index])
        self.before[index] = attributes(extension)
        with contextlib.suppress(OSError):
            path = self.command.get_ext_fullpath(extension.name)
            if time_of(path) >= self.began:  # else it is of an earlier build
                os.unlink(path)
        if index not in self.doubtful:
            self.pending.add(index)

    def pass_pivot(self) -> None:
        """Build here what leaves something behind; those after it begin from there."""
        assert self.pivot is not None
        index, self.pivot = self.pivot, None
        self.pivots += 1
        if self.pivots == 1:
            self.build_here([index])
            for later in self.pending:
                self.before[later] = attributes(self.extensions[later])
        else:
            _log.info("parallel-backend: this build_ext changes what the next extension sees:")
            _log.info("parallel-backend: one extension at a time from here (-v names the changes)")
            self.build_here(sorted(self.pending))

    def build_again_what_was_overtaken(self) -> None:
        """Build again what may have read a file as a serial build would not have shown it."""
        overtaken, changed = self.overtaken()
        for path in sorted(changed):
            self.engine.report(
                f"{path} changed while extensions were built: those that had read it are built "
                f"again, with what it is now; if one of them is to have it as it was, say "
                f'extensions = "serial"'
            )
        if overtaken:
            again = [index for index in sorted(self.built) if index >= min(overtaken)]
            for index in again:
                self.retract(index)
            self.build_here(again)

    def overtaken(self) -> tuple[set[int], set[str]]:
        """Extensions that have read a file which changed afterwards, or which was written while
        they were built and that others have read, too: each may have meant its own.

        The first extension is right about a file that was as before the build. Also such files,
        if they have changed.
        """
        found: set[int] = set()
        modified: set[str] = set()
        verdicts: dict[str, bool] = {}
        readers: dict[str, set[int]] = {}
        appeared = {path for b in self.built.values() for path in b.absent}
        appeared = {path for path in appeared if os.path.lexists(path)}
        for index, built in self.built.items():
            for path in appeared.intersection(built.absent) if index else ():
                _log.debug("parallel-backend: %s came too late to be read", path)
                found.add(index)
            for known in built.inputs:
                if not index and known.stamp and known.stamp[0] < self.began:
                    continue
                if verdicts.setdefault(repr(known), has_changed(known)):
                    _log.debug("parallel-backend: %s changed while it was in use", known.path)
                    if known.stamp and known.stamp[0] < self.began:
                        modified.add(known.path)
                    found.add(index)
                elif known.stamp and known.stamp[0] >= self.began:
                    readers.setdefault(os.path.abspath(known.path), set()).add(index)
        for path, indexes in readers.items():
            if len(indexes) > 1:
                _log.debug("parallel-backend: several extensions share %s, made meanwhile", path)
                found |= indexes
        return found, modified

    # --- in the hook's own process

    def build_here(self, indexes: list[int]) -> None:
        """Build extensions one after another; their sources at once."""
        for index in indexes:
            self.pending.discard(index)
            extension = self.extensions[index]
            scope = scope_of(self.command, extension, slots=self.engine.slots, publish=True)
            error = build_one(self.engine, self.command, extension, scope)
            self.engine.tally.count(compiled=scope.compiled, reused=scope.reused)
            if error is None:
                self.built[index] = Built(index)
            else:
                self.fail(index, error)
