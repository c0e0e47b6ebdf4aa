"""What runs inside ``build_ext`` and ``build_clib`` while a hook runs."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from parallel_backend.engine.imports import watching
from parallel_backend.hook_process import imports_of_the_caller
from parallel_backend.settings import Settings
from parallel_backend.timings import Tally

if TYPE_CHECKING:
    from parallel_backend.engine.compilers import Compilers
    from parallel_backend.engine.costs import Costs
    from parallel_backend.engine.headers import Far, Text
    from parallel_backend.engine.installation import Installation
    from parallel_backend.engine.launchers import Launcher
    from parallel_backend.engine.objects import Objects
    from parallel_backend.engine.slots import PoolSlots
    from parallel_backend.engine.store import Store
    from parallel_backend.jobserver import Pool

__all__ = ["Engine", "installed"]


class Engine:
    """What the parts of the engine share for the length of one hook call."""

    objects: Objects
    store: Store
    installation: Installation
    compilers: Compilers
    costs: Costs
    #: When it started, by the clock of the file system, in nanoseconds.
    began: int
    launcher: Launcher
    slots: PoolSlots

    def __init__(self, *, settings: Settings, private: Path) -> None:
        self.settings = settings
        self.private = private
        self.tally = Tally()
        #: Reports of failures that were raised, and that a project may have caught.
        self.raised: list[str] = []
        #: Where the headers lie that commands have read; see headers.Search.
        self.searched: dict[tuple[object, ...], Far] = {}
        #: What is in sources, by their content.
        self.texts: dict[str, Text] = {}
        self._pool: Pool | None = None
        self._launcher: Launcher | None = None

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
                    report=self.report,
                )
            )
            stack.enter_context(_environment(self._pool.environment))
        return self._pool

    @staticmethod
    def report(line: str) -> None:
        """Say something of the build itself."""
        print(f"parallel-backend: {line}", file=sys.stderr, flush=True)

    def open_launcher(self, stack: contextlib.ExitStack) -> Launcher:
        """What stands before compilers, until the stack is closed."""
        if self._launcher is None:
            from parallel_backend.engine import launchers

            self._launcher = stack.enter_context(launchers.opened(self.settings, self.private))
        return self._launcher

    def start(self, stack: contextlib.ExitStack, distribution: Any) -> None:
        """Get ready to compile: now, and not in a project that has nothing to compile."""
        from parallel_backend.engine import patches
        from parallel_backend.engine.compilers import Compilers
        from parallel_backend.engine.costs import Costs
        from parallel_backend.engine.inputs import now_at
        from parallel_backend.engine.installation import Installation
        from parallel_backend.engine.objects import Objects
        from parallel_backend.engine.output import capturing
        from parallel_backend.engine.slots import PoolSlots
        from parallel_backend.engine.store import open_store
        from parallel_backend.records.tree_lock import tree_lock

        build = distribution.get_option_dict("build").get("build_base", ("", "build"))[1]
        self.store = open_store(
            Path(build),
            self.private,
            limit=self.settings.store_size,
            fresh=self.settings.fresh,
        )
        lock = Path(self.store.folder).parent / "lock"
        timeout = self.settings.lock_timeout
        stack.enter_context(tree_lock(lock, timeout=timeout, report=self.report))
        self.began = now_at(self.store.folder)
        stack.callback(self._trim)
        self.compilers = Compilers()
        self.installation = Installation()
        self.objects = Objects(self.private)
        self.costs = Costs()
        self.launcher = self.open_launcher(stack)
        self.slots = PoolSlots(self.open_pool(stack), self.tally)
        stack.enter_context(capturing(self.private))
        stack.enter_context(patches.applied(self))

    def _trim(self) -> None:
        if self.tally.compiled:
            self.store.trim()

    def number_of_slots(self) -> int:
        """As far as it can be told: under a jobserver that names none it is the machine's."""
        limit = self._pool.limit if self._pool else None
        return limit or self.settings.slots()

    def prepare(self, compiler: Any, *, sources: Iterable[Any]) -> None:
        """Before workers start: learn what the compilers are.

        `sources`: the extensions that are to be built.
        """
        if not getattr(compiler, "initialized", True):
            compiler.initialize()  # MSVC's does so itself when it compiles, in each worker
        self.launcher.prepare(compiler)
        names = {str(source) for extension in sources for source in extension.sources or ()}
        for source in {os.path.splitext(name)[1]: name for name in names}.values():
            kind = "compiler_so_cxx" if self.compilers.is_cplusplus(source) else "compiler_so"
            command, variables = self.launcher.launched(getattr(compiler, kind, None) or [])
            self.compilers.of_source(command, source, {**os.environ, **variables})
        self.compilers.of_link(getattr(compiler, "linker_so", None) or [], os.environ)


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
            if importlib.util.find_spec("setuptools_rust"):
                from parallel_backend.rust import steady_interpreter

                stack.enter_context(steady_interpreter())
        patches = stack.enter_context(contextlib.ExitStack())
        seen = functools.partial(_translate_at_once, engine, stack, patches)
        stack.enter_context(watching("Cython.Build.Dependencies", seen))
        stack.enter_context(_started_on_demand(engine, stack))
        stack.enter_context(_told(engine))
        yield engine.number_of_slots()


def _translate_at_once(
    engine: Engine, stack: contextlib.ExitStack, patches: contextlib.ExitStack, module: ModuleType
) -> None:
    from parallel_backend.engine.translation import translate_at_once

    translate_at_once(module, engine, stack, patches)


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

    def start(dist: Any) -> None:
        nonlocal started
        started = True
        _put_back(waiting)
        with imports_of_the_caller():
            engine.start(stack, dist)

    def __init__(self: Any, dist: Any) -> None:
        bases = [base for base in type(self).__mro__ if _COMPILES.match(base.__module__)]
        if bases and not started:
            if dist.has_ext_modules() or dist.has_c_libraries():
                start(dist)
            else:
                waiting.extend(_start_when_it_runs(base, start) for base in bases)
        original(self, dist)

    kind.__init__ = __init__
    try:
        yield
    finally:
        kind.__init__ = original
        _put_back(waiting)


def _start_when_it_runs(kind: Any, start: Callable[[Any], None]) -> tuple[Any, str, Any]:
    """Start the engine before the first command of a class does its work; what to put back."""
    name = "build_extensions" if kind.__module__.endswith("build_ext") else "run"
    original = vars(kind).get(name)

    def first(self: Any) -> None:
        start(self.distribution)
        getattr(self, name)()

    setattr(kind, name, first)
    return kind, name, original


def _put_back(waiting: list[tuple[Any, str, Any]]) -> None:
    while waiting:
        setattr(*waiting.pop())


_COMPILES = re.compile(r"(setuptools\._)?distutils\.command\.build_(ext|clib)$")
