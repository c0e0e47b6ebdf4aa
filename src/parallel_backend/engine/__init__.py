"""What runs inside ``build_ext`` and ``build_clib`` while a hook runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parallel_backend.jobserver import open_pool
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

    def __init__(self, *, settings: Settings, pool: Pool, private: Path) -> None:
        self.settings = settings
        self.pool = pool
        self.private = private
        self.tally = Tally()
        self._tracked = False
        self._writes_rules: dict[tuple[str, ...], bool] = {}
        self._lock = threading.Lock()

    def start(self, stack: contextlib.ExitStack) -> None:
        """Get ready to compile: now, and not in a project that has nothing to compile."""
        from parallel_backend.engine import patches
        from parallel_backend.engine.costs import Costs
        from parallel_backend.engine.objects import Objects
        from parallel_backend.engine.output import capturing
        from parallel_backend.engine.slots import PoolSlots

        self.objects = Objects(self.private)
        self.costs = Costs()
        self.slots = PoolSlots(self.pool, self.tally)
        stack.enter_context(capturing(self.private))
        stack.enter_context(patches.applied(self))

    def prepare(self, compiler: Any, *, tracked: bool) -> None:
        """Before workers start: learn whether compilers can tell which files they read.

        `tracked`: whether that is of use.
        """
        self._tracked = tracked
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
def installed(*, settings: Settings, private: Path) -> Iterator[int]:
    """Let `setuptools` build by our engine for the length of a ``with`` block.

    Yields the number of job slots, as far as one can be told: under a jobserver that names none
    it is what the machine offers.
    """
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(
            open_pool(
                makeflags=settings.makeflags,
                jobs=settings.jobs,
                slots=settings.slots,
                private=private,
                report=lambda line: print(f"parallel-backend: {line}", file=sys.stderr),
            )
        )
        stack.enter_context(_environment(pool.environment))
        engine = Engine(settings=settings, pool=pool, private=private)
        stack.enter_context(_started_on_demand(engine, stack))
        number = pool.limit or settings.slots()
        yield number
        line = engine.tally.closing_line(slots=number)
        if line:
            print(line, flush=True)


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
    """Start the engine when a command that compiles is first looked for."""
    import distutils.dist

    kind: Any = distutils.dist.Distribution
    original: Callable[..., Any] = kind.get_command_obj
    started = False

    def get_command_obj(self: Any, command: str, create: bool = True) -> Any:
        nonlocal started
        if command in ("build_ext", "build_clib") and not started:
            started = True
            engine.start(stack)
        return original(self, command, create)

    kind.get_command_obj = get_command_obj
    try:
        yield
    finally:
        kind.get_command_obj = original


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
