"""Cython's ``cythonize()``, called in ``setup.py`` or while an extension is built, on our slots.

It finds out what has to be translated as ever. Each of these is a node: a fork of a *translator*,
a process that has imported Cython's compiler once, for which there has to be a job slot. A project
that chose ``nthreads`` itself is left alone.

Compilers find C files at their own paths only. So a file that is translated ahead goes there at
once, with a time so old that Cython takes it for out of date; it counts when the serial build has
come to it, and goes away again, or what was there comes back, if that never happens.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import pickle
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parallel_backend.build.nodes import Node
from parallel_backend.build.runner import ForkNode, content_of, move
from parallel_backend.build.translator import Translator
from parallel_backend.timings.record import span

if TYPE_CHECKING:
    from parallel_backend.build.session import Session

__all__ = ["Task", "Translations", "translate_at_once"]

_local = threading.local()


@dataclass(frozen=True)
class Task:
    """One source: what ``cythonize_one()`` is called with, as bytes for another process."""

    source: str
    target: str
    data: bytes

    @classmethod
    def of(cls, task: Sequence[Any]) -> Task:
        """Raises what a class's own ``__reduce__`` raises."""
        source, target = (os.path.abspath(os.fspath(path)) for path in task[:2])
        return cls(source, target, pickle.dumps((os.getcwd(), tuple(task))))


class Translations:
    """The translations of one hook.

    :param one: Cython's ``cythonize_one()``.
    """

    def __init__(self, session: Session, one: Callable[..., Any]) -> None:
        self._session = session
        self._one = one
        self._translator: Translator | None = None
        self._nodes: dict[str, _Node] = {}
        self._young: list[str] = []
        #: What the serial build has come to before the recorder.
        self._passed: dict[str, _Passed] = {}
        #: In a recorder: is given what would be translated.
        self.record: Callable[[Task], None] | None = None

    def open(self) -> bool:
        """Fork the translator, if there is none and there can be one; whether there is one."""
        from parallel_backend.hook_process import fork_is_safe

        if self._translator is None and fork_is_safe():
            self._session.open_scheduler()
            self._translator = Translator(self._one)
            self._session.on_close(self._close)
        return self._translator is not None

    def _close(self) -> None:
        self._session.scheduler.abandon(list(self._nodes.values()))
        for node in self._nodes.values():
            node.take_back()
        if self._translator is not None:
            self._translator.end()

    def add(self, task: Task, number: int) -> Node | None:
        """Let a source be translated ahead, if it is not translated already; None: it cannot be."""
        translator = self._translator
        if task.target in self._passed:
            return self._passed[task.target]
        if translator is None or task.target in self._nodes:
            return None
        folder = self._session.folder
        directory = os.path.join(folder, f"translation-{len(os.listdir(folder))}-{number}")
        node = _Node(task, directory, translator, number=number)
        self._nodes[task.target] = node
        self._session.scheduler.add(node)
        return node

    def run(self, tasks: Sequence[tuple[Any, ...]]) -> None:
        """Translate what a ``cythonize()`` of the serial build wants translated."""
        if self.record is not None:
            for task in tasks:
                self.record(Task.of(task))
            return
        if len(tasks) > 1 and self._session.open_slots().limit != 1 and self.open():
            for number, task in enumerate(tasks):
                with contextlib.suppress(Exception):  # it does not pickle
                    self.add(Task.of(task), number)
        with self._session.tally.running():
            for task in tasks:
                self._translate(task)
        if not self._session.is_recorded():
            self.make_young()

    def make_young(self) -> None:
        """Give what was translated ahead the time of now: nothing compiles it any more, which
        would see that it has changed."""
        young, self._young = self._young, []
        for path in young:
            with contextlib.suppress(OSError):
                os.utime(path)

    def _translate(self, task: tuple[Any, ...]) -> None:
        made = os.path.abspath(os.fspath(task[1]))
        node = self._nodes.pop(made, None)
        scheduler = self._session.open_scheduler()
        if node is not None:
            node.claimed = True
            scheduler.passed(node.number - 1)
            scheduler.hurry(node)
            node.done.wait()
            if not node.failed and node.accept():
                self._young.append(node.target)
                return
        passed = self._passed[made] = _Passed(made)
        slot = scheduler.acquire()
        try:
            with span("translation", task[0], told=True, slot=slot, run="live", makes=made):
                self._one(*task)
            passed.content = content_of(made)
            if node is not None:
                scheduler.passed(node.number)
        finally:
            scheduler.settle(passed, failed=not passed.content)
            scheduler.release(slot)


class _Passed(Node):
    """A source that the serial build translates in its turn."""

    claimed = True

    def __init__(self, target: str) -> None:
        super().__init__(number=-1, is_external=True)
        self.target = target
        self.content = ""


class _Node(ForkNode):
    """A source that is translated ahead, in `directory`."""

    def __init__(self, task: Task, directory: str, translator: Translator, *, number: int) -> None:
        self._task = task
        self._directory = directory
        self._translator = translator
        self._inlet = -1
        self._said = "", ""
        self._is_placed = False
        self._aside = ""
        self.claimed = False
        self.content = ""
        size = 0
        with contextlib.suppress(OSError):
            size = os.path.getsize(task.source)
        super().__init__(
            number=number,
            cost=40 * size,
            is_local=True,
            start=self._start,
            collect=self._collect,
            cancel=translator.kill,
            name=task.source,
            makes=task.target,
        )

    @property
    def target(self) -> str:
        return self._task.target

    def _start(self) -> int:
        os.mkdir(self._directory)
        self._inlet = self._translator.begin(self._directory, self._task.data)
        return self._inlet

    def _collect(self) -> bool:
        with open(self._inlet, "rb") as stream:
            data = stream.read()
        succeeded, *said = pickle.loads(data) if data else (False, "", "")
        self._said = said[0], said[1]
        if succeeded:
            self._place()
        return bool(succeeded)

    def _place(self) -> None:
        target = self.target
        if os.path.lexists(target):
            self._aside = os.path.join(self._directory, "aside")
            shutil.copy2(target, self._aside)
        made = os.path.join(self._directory, "made")
        for name in os.listdir(made):
            path = os.path.join(made, name)
            os.utime(path, (1, 1))
            move(path, os.path.join(os.path.dirname(target), name))
        self._is_placed = True
        self.content = content_of(target)

    def accept(self) -> bool:
        """The serial build has come to it: it counts from now on."""
        if not self._is_placed or content_of(self.target) != self.content:
            return False
        sys.stdout.write(self._said[0])
        sys.stderr.write(self._said[1])
        return True

    def take_back(self) -> None:
        """The serial build has never come to it."""
        if self._is_placed and content_of(self.target) == self.content:
            with contextlib.suppress(OSError):
                os.unlink(self.target)
                if self._aside:
                    move(self._aside, self.target)


# --- Cython's functions


def translate_at_once(module: Any, session: Session, patches: contextlib.ExitStack) -> None:
    """Replace ``cythonize()`` of a module that has just been imported, until `patches` is
    closed."""
    try:
        whole, one = module.cythonize, module.cythonize_one
        signature = inspect.signature(whole)
    except (AttributeError, ValueError):
        return
    translations = session.translations = Translations(session, one)

    def cythonize_one(*task: Any, **options: Any) -> Any:
        tasks: list[tuple[Any, ...]] | None = getattr(_local, "tasks", None)
        if tasks is None or options or len(task) < 2:
            return one(*task, **options)
        tasks.append(task)
        return None

    def cythonize(*args: Any, **options: Any) -> Any:
        given = signature.bind(*args, **options).arguments
        if given.get("nthreads") or given.get("exclude_failures") or not patched:
            return whole(*args, **options)
        before, _local.tasks = getattr(_local, "tasks", None), []
        try:
            modules = whole(*args, **options)
        finally:
            tasks, _local.tasks = _local.tasks, before
        translations.run(tasks)
        return modules

    patched = [True]  # whoever has kept it finds Cython's own way when the hook is over
    patches.callback(patched.clear)
    for name, original, ours in (
        ("cythonize_one", one, cythonize_one),
        ("cythonize", whole, cythonize),
    ):
        ours.__doc__, ours.__module__, ours.__name__ = original.__doc__, original.__module__, name
        for place in (module, sys.modules.get("Cython.Build")):
            if place is module or getattr(place, name, None) is original:
                setattr(place, name, ours)
        patches.callback(_put_back, name, ours, original)


def _put_back(name: str, ours: Any, original: Any) -> None:
    for place in (sys.modules.get("Cython.Build.Dependencies"), sys.modules.get("Cython.Build")):
        if getattr(place, name, None) is ours:
            setattr(place, name, original)
