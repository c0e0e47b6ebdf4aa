"""One hook's build: what its parts share, and when they begin."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import itertools
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from parallel_backend.build.imports import watching
from parallel_backend.hook_process import imports_of_the_caller
from parallel_backend.settings import Settings
from parallel_backend.timings import Tally

if TYPE_CHECKING:
    from parallel_backend.build.replay import Replay
    from parallel_backend.build.runner import CommandNode, CommandRunner
    from parallel_backend.build.scheduler import Scheduler
    from parallel_backend.build.slots import PoolSlots
    from parallel_backend.build.translation import Translations
    from parallel_backend.jobserver import Pool
    from parallel_backend.launchers import Launcher
    from parallel_backend.records.record import Records

__all__ = ["Session", "installed"]

_log = logging.getLogger(__name__)


class Session:
    """What the parts of the build share for the length of one hook call."""

    replay: Replay
    records: Records
    runner: CommandRunner
    translations: Translations | None = None
    folder = ""

    def __init__(self, *, settings: Settings, private: Path, stack: contextlib.ExitStack) -> None:
        self.settings = settings
        self.private = private
        self.tally = Tally()
        self._stack = stack
        self._pool: Pool | None = None
        self._slots: PoolSlots | None = None
        self._launcher: Launcher | None = None
        self._scheduler: Scheduler | None = None
        self._recorders = 0
        self._numbers = itertools.count()
        self._pid = os.getpid()
        #: What failed, where the build keeps going.
        self.failures: list[Exception] = []

    @staticmethod
    def report(line: str) -> None:
        """Say something of the build itself."""
        print(f"parallel-backend: {line}", file=sys.stderr, flush=True)

    def open_pool(self) -> Pool:
        """The token pool; what is started finds it in its environment."""
        if self._pool is None:
            from parallel_backend.jobserver import open_pool

            self._pool = self._stack.enter_context(
                open_pool(
                    makeflags=self.settings.makeflags,
                    jobs=self.settings.jobs,
                    slots=self.settings.slots,
                    private=self.private,
                    report=self.report,
                )
            )
            self._stack.enter_context(_environment(self._pool.environment))
        return self._pool

    def open_slots(self) -> PoolSlots:
        """The job slots."""
        if self._slots is None:
            from parallel_backend.build.slots import PoolSlots

            self._slots = PoolSlots(self.open_pool())
        return self._slots

    def number_of_slots(self) -> int:
        """Best estimate: a jobserver does not announce its size, so fall back to the machine's."""
        limit = self._pool.limit if self._pool else None
        return limit or self.settings.slots()

    def open_launcher(self) -> Launcher:
        """What stands before compilers."""
        if self._launcher is None:
            from parallel_backend import launchers

            self._launcher = self._stack.enter_context(launchers.opened(self.settings))
        return self._launcher

    def start(self, distribution: Any) -> None:
        """Get ready to compile: now, and not in a project that has nothing to compile."""
        from parallel_backend.build import interception, patches
        from parallel_backend.build.costs import Costs
        from parallel_backend.build.replay import Replay
        from parallel_backend.records.record import Records
        from parallel_backend.records.store import open_store
        from parallel_backend.records.tree_lock import tree_lock

        enter = self._stack.enter_context
        build = distribution.get_option_dict("build").get("build_base", ("", "build"))[1]
        store = open_store(
            Path(build),
            self.private,
            limit=self.settings.store_size,
            fresh=self.settings.fresh,
        )
        lock = Path(store.folder).parent / "lock"
        enter(tree_lock(lock, timeout=self.settings.lock_timeout, report=self.report))
        self._stack.callback(self._trim, store)
        self._make_folder(os.path.dirname(store.folder))
        scheduler = self.open_scheduler()
        folder = os.path.abspath(self.folder)
        records = Records(store, folder=os.getcwd(), temporary="", build=self.private.name)
        self.records = self.runner.records = records
        self.replay = Replay(scheduler, records, self.tally, Costs(), folder)
        enter(interception.installed(self.replay, self.private))
        enter(patches.applied(self))

    def open_scheduler(self) -> Scheduler:
        """What runs nodes."""
        if self._scheduler is None:
            from parallel_backend.build.runner import CommandRunner
            from parallel_backend.build.scheduler import Scheduler

            if not self.folder:
                self._make_folder(str(self.private))
            launcher = self.open_launcher()
            self.runner = CommandRunner(launcher, self.tally)
            self.runner.failed_ahead = self._say_failed_ahead
            slots = self.open_slots()
            self._scheduler = Scheduler(self.runner, slots, local=launcher.local_slots())
            self._stack.callback(self._scheduler.close)
        return self._scheduler

    @property
    def scheduler(self) -> Scheduler:
        return self.open_scheduler()

    def _make_folder(self, beside: str) -> None:
        """A directory for what runs ahead, on the disk of what it becomes."""
        for name in os.listdir(beside):
            process = name.removeprefix("running-")
            if process != name and not _is_there(process):  # it was killed
                shutil.rmtree(os.path.join(beside, name), ignore_errors=True)
        self.folder = os.path.join(beside, f"running-{os.getpid()}")
        os.mkdir(self.folder)
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)

    def on_close(self, function: Callable[[], object]) -> None:
        """Call a function at the end, before the scheduler is closed."""
        self._stack.callback(function)

    def _trim(self, store: Any) -> None:
        if self.tally.compiled:
            store.trim()

    def _say_failed_ahead(self, node: CommandNode) -> None:
        if (node.status or 0) > 0 and not node.claimed and not node.abandoned:
            self.report(f"{node.command.name} failed ahead of its turn")

    def may_expect(self) -> bool:
        """Whether sources may be compiled at once here, and not in a fork or with one job."""
        return os.getpid() == self._pid and self.open_slots().limit != 1

    def is_recorded(self) -> bool:
        """Whether a part of the serial build runs whose commands are run ahead."""
        return self._recorders > 0

    # --- a stretch of the serial build

    def run(self, function: Callable[[], Any], command: Any) -> Any:
        """Run a part of the serial build, with its commands recorded and run ahead."""
        from parallel_backend.build.plan import Plan

        self.records.temporary = os.fspath(getattr(command, "build_temp", None) or "")
        for name in ("compiler", "shlib_compiler"):
            self.records.compilers.trust(getattr(command, name, None))
        before, self.replay.plan = self.replay.plan, Plan()
        with self.tally.running():
            stop = self._record(function, command)
            try:
                return function()
            except BaseException as error:
                if not isinstance(error, Exception):  # told to end: all that runs, at once
                    self.scheduler.close()
                raise
            finally:
                stop()
                self.replay.forget_the_rest()
                self.replay.plan = before
                if self.translations is not None:
                    self.translations.make_young()

    def _record(self, function: Callable[[], Any], command: Any) -> Callable[[], None]:
        """Start a recorder, if there can be one; returns what ends it."""
        from parallel_backend.build.recorder import can_record
        from parallel_backend.build.recording import Recording

        if self.open_slots().limit == 1 or self.is_recorded():
            return lambda: None
        if not can_record():
            _log.debug("parallel-backend: this process cannot be forked safely: no recorder")
            return lambda: None
        self._import_what_both_need(command)
        private = os.path.join(self.folder, f"recorder-{next(self._numbers)}")
        recording = Recording(self.scheduler, self.replay, self.translations)
        if not recording.start(function, command, private=private):
            return lambda: None
        self._recorders += 1

        def stop() -> None:
            recording.end()
            self._recorders -= 1

        return stop

    def _import_what_both_need(self, command: Any) -> None:
        """setuptools looks for Cython before it builds its first extension: once, for the recorder
        and the serial build."""
        have_cython = getattr(sys.modules.get("setuptools.extension"), "_have_cython", None)
        if have_cython is not None:
            with contextlib.suppress(Exception):  # it fails in its turn, as it does without us
                have_cython()
        if _is_cythons(command):
            with contextlib.suppress(ImportError):
                importlib.import_module("Cython.Build.Dependencies")
            if self.translations is not None:
                self.translations.open()


@contextlib.contextmanager
def installed(hook: str, *, settings: Settings, private: Path) -> Iterator[int]:
    """Let `setuptools` build our way for the length of a ``with`` block; the number of job slots.

    Whatever a hook that builds something starts finds the token pool; in others there is one from
    the moment that something compiles. Those, and `build_sdist`, make no folder in the project
    before that: setuptools would find it when it looks for packages.
    """
    builds = hook.startswith("build_")
    with contextlib.ExitStack() as stack:
        session = Session(settings=settings, private=private, stack=stack)
        if builds:
            session.open_pool()
            if importlib.util.find_spec("setuptools_rust"):
                from parallel_backend.rust import steady_interpreter

                stack.enter_context(steady_interpreter())
        patches = stack.enter_context(contextlib.ExitStack())
        seen = functools.partial(_translate_at_once, session, patches)
        stack.enter_context(watching("Cython.Build.Dependencies", seen))
        at_once = builds and hook != "build_sdist"
        stack.enter_context(_started_on_demand(session, at_once=at_once))
        yield session.number_of_slots()
        stack.close()
        line = session.tally.closing_line(slots=session.number_of_slots())
        if line:
            print(line, flush=True)


def _translate_at_once(session: Session, patches: contextlib.ExitStack, module: ModuleType) -> None:
    from parallel_backend.build.translation import translate_at_once

    translate_at_once(module, session, patches)


def _is_there(process: str) -> bool:
    """Whether there is another process of this number."""
    try:
        number = int(process)
        if number == os.getpid():
            return False
        os.kill(number, 0)
    except (ValueError, ProcessLookupError):
        return False
    except OSError:
        return True
    return True


def _is_cythons(command: Any) -> bool:
    """Whether a ``build_ext`` translates what it builds, by Cython."""
    return any(kind.__module__.startswith("Cython.") for kind in type(command).__mro__)


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
def _started_on_demand(session: Session, *, at_once: bool) -> Iterator[None]:
    """Start the session when a command that compiles is made, whatever it is called.

    Not `at_once`, or in a project with nothing to compile, such as bdist_wheel makes one in too,
    only when it runs.
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
            session.start(dist)

    def __init__(self: Any, dist: Any) -> None:
        bases = [base for base in type(self).__mro__ if _COMPILES.match(base.__module__)]
        if bases and not started:
            if at_once and (dist.has_ext_modules() or dist.has_c_libraries()):
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
    """Start the session before the first command of a class does its work; what to put back."""
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
