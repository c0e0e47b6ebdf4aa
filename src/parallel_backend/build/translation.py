"""Cython's ``cythonize()``, which a ``setup.py`` calls before anything compiles, on our tokens.

It finds out what has to be translated as ever. Then each of these is translated in a fork, for
which there has to be a job slot, instead of one after another. A project that chose ``nthreads``
itself is left alone.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parallel_backend.timings.record import span

if TYPE_CHECKING:
    from parallel_backend.engine import Engine

__all__ = ["translate_at_once"]

_local = threading.local()


def translate_at_once(
    module: Any, engine: Engine, stack: contextlib.ExitStack, patches: contextlib.ExitStack
) -> None:
    """Replace ``cythonize()`` of a module that has just been imported, until `patches` is closed.

    `stack`: what it opens is closed with it.
    """
    try:
        whole, one = module.cythonize, module.cythonize_one
        signature = inspect.signature(whole)
    except (AttributeError, ValueError):
        return

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
        _translate(engine, stack, one, tasks)
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


@dataclass(eq=False)
class _Unit:
    """One source: what ``cythonize_one()`` is called with, and what became of it."""

    task: tuple[Any, ...]
    begun: bool = False
    done: bool = False

    @property
    def output(self) -> str:
        return str(self.task[1])

    def cost(self) -> int:
        """What it may cost to translate."""
        try:
            return os.path.getsize(self.task[0])
        except OSError:
            return 0


def _translate(
    engine: Engine,
    stack: contextlib.ExitStack,
    one: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
) -> None:
    units = [_Unit(task) for task in tasks]
    if len(units) > 1:
        from parallel_backend.process_state import fork_is_safe

        if fork_is_safe():
            _translate_apart(engine, stack, one, units)
    for unit in units:  # what has failed fails here, as it does without us
        if not unit.done:
            with span("translation", unit.task[0], told=True):
                one(*unit.task)


def _translate_apart(
    engine: Engine, stack: contextlib.ExitStack, one: Callable[..., Any], units: list[_Unit]
) -> None:
    """Translate in forks until all is done or one has failed."""
    from parallel_backend.engine import crew
    from parallel_backend.build.slots import PoolSlots

    slots = PoolSlots(engine.open_pool(stack), engine.tally)
    if slots.most() == 1:
        return
    launcher = engine.open_launcher(stack)

    def work(unit: _Unit) -> tuple[bool, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            launcher.local_slot(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                with span("translation", unit.task[0], whole=True, told=True):
                    one(*unit.task)
            except BaseException:  # it is told by who tries again
                return False, "", ""
        return True, out.getvalue(), err.getvalue()

    def note(unit: _Unit, result: tuple[bool, str, str] | None) -> bool:
        succeeded, out, err = result or (False, "", "")
        sys.stdout.write(out)
        sys.stderr.write(err)
        unit.done = succeeded
        return succeeded

    def start(unit: _Unit) -> crew.Fork[_Unit]:
        unit.begun = True
        return crew.Fork(engine.private, work, note, unit)

    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    try:
        with engine.tally.running():
            by_cost = sorted(units, key=_Unit.cost, reverse=True)
            crew.run(by_cost, start, slots=slots, keep_going=False)
    finally:
        for unit in units:
            if unit.begun and not unit.done:  # Cython would take half a file for a whole one
                with contextlib.suppress(OSError):
                    os.unlink(unit.output)
