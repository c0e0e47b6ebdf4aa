"""The serial build takes results that are there, and runs what is not.

Every process that the serial build starts comes by here. A command whose node has run ahead is not
run again, if what it read is as it was: its result moves to the path that setuptools chose, and
what it printed is shown, in serial order. Whatever is in doubt runs as setuptools runs it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from parallel_backend.build import interception
from parallel_backend.build.commands import Command, Placement
from parallel_backend.build.plan import Plan
from parallel_backend.build.runner import (
    CommandNode,
    Watch,
    content_of,
    end_failed,
    is_waited_for,
    move,
    note_usage,
)
from parallel_backend.records.fingerprints import now_at, time_of
from parallel_backend.timings import record

if TYPE_CHECKING:
    from parallel_backend.build.costs import Costs
    from parallel_backend.build.scheduler import Scheduler
    from parallel_backend.build.translation import Task, Translations
    from parallel_backend.records.record import Records
    from parallel_backend.timings import Tally

__all__ = ["Replay", "show"]

# A project may have deleted what it thinks that nobody needs (`del os.link`).
_link, _replace, _write = getattr(os, "link", None), os.replace, os.write

# Names of variables that cannot matter to a compiler, whoever it is: our own.
_OWN_VARIABLES = ("DIST_EXTRA_CONFIG",)

_FIRST_COST = 1 << 40

_number = itertools.count()


class Replay:
    """What happens where the serial build starts a process.

    :param folder: for the results of what runs ahead; it is there.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        records: Records,
        tally: Tally,
        costs: Costs,
        folder: str,
    ) -> None:
        self.plan = Plan()
        #: The extension that the serial build is at.
        self.extension = ""
        #: Is called when the serial build comes to a command.
        self.on_command: Callable[[], object] = lambda: None
        self._last = threading.local()
        self._scheduler = scheduler
        self._records = records
        self._tally = tally
        self._costs = costs
        self._folder = folder
        self._began = now_at(folder)
        self._within = record.current()
        self._programs: dict[str, str | None] = {}
        self._order = itertools.count()

    # --- nodes

    def key(self, command: Command) -> tuple[Any, ...]:
        """What makes two commands one: words, directory, variables, umask."""
        environ = {k: v for k, v in command.environ.items() if k not in _OWN_VARIABLES}
        program = command.words[0]
        if program not in self._programs:
            self._programs[program] = shutil.which(program)
        return (
            self._programs[program] or program,
            command.words[1:],
            command.folder,
            command.umask,
            hash(frozenset(environ.items())),
        )

    def add_recorded(self, command: Command, extension: str) -> None:
        """The recorder came to a command: let it run ahead, if it may."""
        command = self._placed(command)
        plan = self.plan
        with plan.lock:
            key = self.key(command)
            _, node = plan.recorded(key)
            is_new = node is None
            if node is None:
                node = self._node(command, extension)
                self._connect(node, plan.nodes[key])
                plan.nodes[key].append(node)
            plan.latest[os.path.normpath(command.target)] = node
        if is_new:
            self._scheduler.add(node)

    def add_translation(self, task: Task, translations: Translations | None) -> None:
        """The recorder came to a source that Cython translates."""
        node = translations and translations.add(task, next(self._order))
        if node:
            self.plan.latest[os.path.normpath(task.target)] = node

    def expect(self, commands: Sequence[Command]) -> None:
        """The serial build is about to run these: let them run at once."""
        plan = self.plan
        new: list[CommandNode] = []
        with plan.lock:
            seen: dict[tuple[Any, ...], int] = {}
            for each in commands:
                command = self._placed(each)
                if command.placement is Placement.IN_ORDER:
                    continue
                key = self.key(command)
                node = plan.expected(key, seen.get(key, 0))
                seen[key] = seen.get(key, 0) + 1
                if node is None:
                    node = self._node(command, self.extension)
                    plan.nodes.setdefault(key, []).append(node)
                    new.append(node)
                elif node.is_external and not node.done.is_set():
                    new.append(node)
                node.is_external = False
        for node in new:
            self._scheduler.add(node)

    def _placed(self, command: Command) -> Command:
        """The command, where it may really run."""
        compilers = self._records.compilers
        if command.kind == "link" and not compilers.is_a_compiler(command.words):
            return replace(
                command, kind="program", placement=Placement.IN_ORDER, reason="it is no compiler"
            )
        if command.placement is not Placement.ANYWHERE:
            return command
        target = command.target
        with interception.unseen():
            if command.kind == "compile":
                known = compilers.of_source(command.words, command.source, command.environ)
            else:
                known = compilers.of_link(command.words, command.environ)
        reason = ""
        if not known.identity:
            reason = f"{command.words[0]} does not say what it reads"
        elif command.folder != self._records.folder:
            reason = "it runs in another directory"
        elif os.path.lexists(target) and (os.path.islink(target) or not os.path.isfile(target)):
            reason = f"{target} is no plain file"
        if not reason:
            return command
        placement = Placement.OWN_PATH if command.kind == "compile" else Placement.IN_ORDER
        if command.folder != self._records.folder or os.path.islink(target):
            placement = Placement.IN_ORDER
        return replace(command, placement=placement, reason=reason)

    def _node(self, command: Command, extension: str) -> CommandNode:
        number = next(self._order)
        output = command.target
        if command.placement is Placement.ANYWHERE:
            output = os.path.join(self._folder, str(number), os.path.basename(command.target))
        cost = _FIRST_COST
        if command.kind == "compile":
            folders = [word[2:] for word in command.words if word.startswith("-I")]
            cost = self._costs.of_source(command.source, folders)
        return CommandNode(
            number=number,
            cost=cost,
            command=command,
            output=output,
            extension=extension,
            is_external=command.placement is not Placement.ANYWHERE,
            is_local=command.kind == "link",
        )

    def _connect(self, node: CommandNode, equal: Sequence[CommandNode]) -> None:
        """Let a node that may run ahead read what other nodes make, and run after an equal one:
        it finds then what that one has made.
        """
        if node.command.placement is not Placement.ANYWHERE:
            return
        latest = self.plan.latest
        reads: dict[Any, None] = {}
        for place, path in node.command.inputs():
            need = latest.get(os.path.normpath(path))
            if need is None:
                continue
            reads[need] = None
            # What it reads elsewhere must not tell the path: objects do not, sources do.
            if isinstance(need, CommandNode) and need.output != need.target:
                node.inputs[place] = need
        node.reads = tuple(reads)
        node.needs = (*reads, *equal[-1:])
        if node.command.kind == "link" and self._finds_a_library(node.command):
            node.is_external = True

    def _finds_a_library(self, command: Command) -> bool:
        """Whether a link looks for a library that another command of the build makes."""
        words = command.words
        names = [word[2:] for word in words if word.startswith("-l")]
        folders = [word[2:] for word in words if word.startswith("-L")]
        return any(
            os.path.normpath(os.path.join(command.folder, folder, f"lib{name}{suffix}"))
            in self.plan.latest
            for folder in folders
            for name in names
            for suffix in (".so", ".a", ".dylib")
        )

    # --- the serial build

    def __call__(self, process: Any, command: Command | None, begin: Callable[..., None]) -> None:
        """Handle a process that the serial build starts; see `interception.Handler`."""
        if command is None:
            self._run_live(process, None, begin, None)
            return
        command = self._placed(command)
        plan = self.plan
        self.on_command()
        with plan.lock:
            key = self.key(command)
            _, node = plan.asked(key)
            is_new = node is None
            if node is None:
                node = self._node(command, self.extension)
                plan.nodes[key].append(node)
        self._scheduler.passed(node.number - 1)
        node.claimed = True
        if is_new and not node.is_external:
            self._scheduler.add(node, urgent=True)
        if node.is_external and not node.done.is_set():
            if command.placement is Placement.ANYWHERE:
                node.is_external = False
                self._scheduler.hurry(node)
            else:
                self._run_live(process, command, begin, node)
                return
        if self._take(node):
            interception.be_done(process)
        else:
            self._run_live(process, command, begin, node)

    def _take(self, node: CommandNode) -> bool:
        """Have a node's result at the path where setuptools wants it; false: it has none."""
        command = node.command
        self._scheduler.hurry(node)
        node.done.wait()
        if node.failed or not os.path.isfile(node.output):
            return False
        if command.placement is Placement.ANYWHERE:
            if not node.urgent and not self._still_holds(node):
                self._tally.recompiled += command.kind == "compile" and not node.reused
                return False
            if not self._place(node):
                return False
        if node.text != (b"", b""):
            show(node.text)
        self._tally.count(command.kind, reused=node.reused)
        return True

    def _still_holds(self, node: CommandNode) -> bool:
        assert node.record is not None
        return node.record.holds() and all(
            need.claimed and need.content and content_of(need.target) == need.content
            for need in node.reads
        )

    def _place(self, node: CommandNode) -> bool:
        """Move a result into place; an object stays where other commands may read it, too."""
        target = node.command.target
        temporary = os.path.join(os.path.dirname(target), f".{os.getpid()}-{next(_number)}.tmp")
        try:
            if node.command.kind == "compile":
                _copy(node.output, temporary)
            else:
                move(node.output, temporary)
            # As if it had been made now, for who compares times.
            os.utime(temporary)
            _replace(temporary, target)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return False
        return True

    def _run_live(
        self,
        process: Any,
        command: Command | None,
        begin: Callable[..., None],
        node: CommandNode | None,
    ) -> None:
        """Let a process run as it was asked for, in a job slot, until it ends."""
        if command is not None:
            self._last.command = command, process
            if command.kind == "archive":
                self._forget_archive(command)
        slot = self._scheduler.acquire(background=command is None)
        began = time.monotonic()
        span = self._span(process, command, slot, node)
        try:
            begin()
            watch = Watch(process.pid)
        except BaseException as error:
            end_failed(span, error)
            self._scheduler.release(slot)
            if node is not None:
                self._scheduler.settle(node, failed=True)
            raise
        note_usage(process, span)

        def ended() -> bool:
            if is_waited_for(process):  # a thread is about to know its status
                return True
            self._tally.busy += time.monotonic() - began
            status = watch.peek() if process.returncode is None else process.returncode
            if span is not None:
                span.used(status, None)
                span.end()
            watch.close()
            self._scheduler.release(slot)
            interception.ended(process.pid)
            if status < 0:  # the driver was killed, and has left something
                interception.kill(process.pid, signal.SIGKILL)
            if node is not None:
                self._settle_live(node, status)
            return False

        self._scheduler.watch(watch.fileno(), ended)

    def last_command(self) -> tuple[Command, Any] | None:
        """The command that this thread has run last as setuptools runs it, and its process."""
        return getattr(self._last, "command", None)

    def forget_command(self) -> None:
        """What comes now has nothing to do with what this thread has run last."""
        self._last.command = None

    def forget_the_rest(self) -> None:
        """What has run ahead, and was never asked for, is of no use any more."""
        with self.plan.lock:
            nodes = [node for known in self.plan.nodes.values() for node in known]
        self._scheduler.abandon([node for node in nodes if not node.claimed])

    def _span(
        self, process: Any, command: Command | None, slot: int, node: CommandNode | None
    ) -> record.Span | None:
        if command is None:
            return record.program(process.args, slot=slot)
        why, again = command.reason, ""
        if node is not None and node.span is not None:
            again = node.span.id
            why = "it failed before" if node.failed else "what it reads has changed since it ran"
        return record.begun(
            command.kind,
            command.name,
            slot=slot,
            up=self._within,
            extension=self.extension,
            run="live",
            why=why,
            again=again,
        )

    def _settle_live(self, node: CommandNode, status: int) -> None:
        command = node.command
        if not status:
            self._tally.count(command.kind)
            self._scheduler.passed(node.number)
        if node.is_external:
            node.content = content_of(command.target)
            self._scheduler.settle(node, failed=bool(status) or not node.content)

    def _forget_archive(self, command: Command) -> None:
        """An archiver adds to what is there; what an earlier build has left does not count."""
        with contextlib.suppress(OSError):
            temporary = os.path.join(self._records.path(self._records.temporary), "")
            if command.target.startswith(temporary) and time_of(command.target) < self._began:
                os.unlink(command.target)


def _copy(source: str, target: str) -> None:
    """A second name for a file, or a copy of it."""
    if _link is not None:
        with contextlib.suppress(OSError):
            _link(source, target)
            return
    shutil.copy2(source, target)


def show(text: tuple[bytes, bytes]) -> None:
    """Write what a command printed where it would have written it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # whatever a project has put in its place
            stream.flush()
    for descriptor, data in enumerate(text, 1):
        rest = data
        while rest:
            try:
                rest = rest[_write(descriptor, rest) :]
            except BlockingIOError:  # whoever reads is slow, and has it so
                select.select([], [descriptor], [])
