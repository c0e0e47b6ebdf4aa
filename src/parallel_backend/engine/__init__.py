"""What runs inside ``build_ext`` and ``build_clib`` while a hook runs."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parallel_backend.settings import Settings
from parallel_backend.timings import Tally

if TYPE_CHECKING:
    from parallel_backend.engine.costs import Costs
    from parallel_backend.engine.objects import Objects
    from parallel_backend.engine.slots import PoolSlots
    from parallel_backend.jobserver import Pool

__all__ = ["Engine", "installed"]


class Engine:
    """What the parts of the engine share for the length of one hook call."""

    objects: Objects
    costs: Costs
    slots: PoolSlots

    def __init__(self, *, settings: Settings, private: Path) -> None:
        self.settings = settings
        self.private = private
        self.tally = Tally()
        #: Reports of failures that were raised, and that a project may have caught.
        self.raised: list[str] = []
        self._tracked = False
        self._writes_rules: dict[tuple[str, ...], bool] = {}
        self._lock = threading.Lock()
        self._pool: Pool | None = None

    def open_pool(self, stack: contextlib.ExitStack) -> Pool:
        """The token pool, open until the stack is closed; children find it in the environment."""
        if self._pool is None:
            from parallel_backend.jobserver import open_pool

            self._pool = stack.enter_context(
                open_pool(
                    makeflags=self.settings.makeflags,
                    jobs=self.settings.jobs,
                    slots=self.settings.slots,
                    private=self.private,
                    report=lambda line: print(f"parallel-backend: {line}", file=sys.stderr),
                )
            )
            stack.enter_context(_environment(self._pool.environment))
        return self._pool

    def start(self, stack: contextlib.ExitStack) -> None:
        """Get ready to compile: now, and not in a project that has nothing to compile."""
        from parallel_backend.engine import patches
        from parallel_backend.engine.costs import Costs
        from parallel_backend.engine.objects import Objects
        from parallel_backend.engine.output import capturing
        from parallel_backend.engine.slots import PoolSlots

        self.objects = Objects(self.private)
        self.costs = Costs()
        self.slots = PoolSlots(self.open_pool(stack), self.tally)
        stack.enter_context(capturing(self.private))
        stack.enter_context(patches.applied(self))

    def number_of_slots(self) -> int:
        """As far as it can be told: under a jobserver that names none it is the machine's."""
        limit = self._pool.limit if self._pool else None
        return limit or self.settings.slots()

    def prepare(self, compiler: Any, *, tracked: bool) -> None:
        """Before workers start: learn whether compilers can tell which files they read.

        `tracked`: whether that is of use.
        """
        self._tracked = tracked
        if not getattr(compiler, "initialized", True):
            compiler.initialize()  # MSVC's does so itself when it compiles, in each worker
        for name in ("compiler_so", "compiler_so_cxx"):
            self.writes_rules(getattr(compiler, name, None) or [])

    def writes_rules(self, command: list[str]) -> bool:
        """Whether a compiler takes gcc's ``-MD -MF``, and whether it is of use."""
        if not self._tracked:
            return False
        words = [word for word in command if not word.startswith("-")]
        end = next((i for i, word in enumerate(command) if word.startswith("-")), len(words))
        program = tuple(command[:end])
        with self._lock:
            if program not in self._writes_rules:
                self._writes_rules[program] = bool(program) and _is_like_gcc(program)
            return self._writes_rules[program]


@contextlib.contextmanager
def installed(*, settings: Settings, private: Path, builds: bool) -> Iterator[int]:
    """Let `setuptools` build by our engine for the length of a ``with`` block.

    `builds`: the hook is to build something, so that whatever it starts finds the token pool;
    otherwise there is one from the moment that something compiles. Yields the number of job slots.
    """
    with contextlib.ExitStack() as stack:
        engine = Engine(settings=settings, private=private)
        if builds:
            engine.open_pool(stack)
        stack.enter_context(_started_on_demand(engine, stack))
        stack.enter_context(_told(engine))
        yield engine.number_of_slots()


@contextlib.contextmanager
def _told(engine: Engine) -> Iterator[None]:
    """At the end, show what failed and was caught, and say what was done."""
    try:
        yield
    except BaseException as error:
        _show(report for report in engine.raised if report not in str(error))
        raise
    _show(engine.raised)
    line = engine.tally.closing_line(slots=engine.number_of_slots())
    if line:
        print(line, flush=True)


def _show(reports: Iterable[str]) -> None:
    for report in reports:
        print(report, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    saved = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _started_on_demand(engine: Engine, stack: contextlib.ExitStack) -> Iterator[None]:
    """Start the engine when a command that compiles is made, whatever it is called.

    In a project with nothing to compile, such as bdist_wheel makes one in too, only when it runs.
    """
    import distutils.cmd

    kind: Any = distutils.cmd.Command
    original: Callable[..., None] = kind.__init__
    waiting: list[tuple[Any, str, Any]] = []
    started = False

    def start() -> None:
        nonlocal started
        started = True
        _put_back(waiting)
        engine.start(stack)

    def __init__(self: Any, dist: Any) -> None:
        bases = [base for base in type(self).__mro__ if _COMPILES.match(base.__module__)]
        if bases and not started:
            if dist.has_ext_modules() or dist.has_c_libraries():
                start()
            else:
                waiting.extend(_start_when_it_runs(base, start) for base in bases)
        original(self, dist)

    kind.__init__ = __init__
    try:
        yield
    finally:
        kind.__init__ = original
        _put_back(waiting)


def _start_when_it_runs(kind: Any, start: Callable[[], None]) -> tuple[Any, str, Any]:
    """Start the engine before the first command of a class does its work; what to put back."""
    name = "build_extensions" if kind.__module__.endswith("build_ext") else "run"
    original = vars(kind).get(name)

    def first(self: Any) -> None:
        start()
        getattr(self, name)()

    setattr(kind, name, first)
    return kind, name, original


def _put_back(waiting: list[tuple[Any, str, Any]]) -> None:
    while waiting:
        setattr(*waiting.pop())


_COMPILES = re.compile(r"(setuptools\._)?distutils\.command\.build_(ext|clib)$")


def _is_like_gcc(program: tuple[str, ...]) -> bool:
    """Whether a compiler defines what gcc, clang and their kin define."""
    try:
        answer = subprocess.run(
            [*program, "-dM", "-E", "-x", "c", os.devnull],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.returncode == 0 and b"#define __GNUC__ " in answer.stdout
