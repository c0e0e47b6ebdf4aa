"""One project's build: its source unpacked, its environment made, its hooks called."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parallel_backend.errors import ParallelBackendError
from parallel_backend.settings import VARIABLES
from parallel_backend.timings.record import RECORDS, span
from parallel_backend.tools.cli.archives import unpack
from parallel_backend.tools.cli.environments import (
    Environment,
    Installer,
    Isolated,
    Runner,
    Surrounding,
)
from parallel_backend.tools.cli.limits import limits, with_limit
from parallel_backend.tools.cli.projects import (
    OLDEST_SETUPTOOLS,
    OWN_REQUIREMENT,
    BuildSystem,
    ProjectError,
    read_build_system,
    requirement_name,
)
from parallel_backend.tools.hook_server import (
    BackendMissingError,
    HookExitedError,
    HookFailedError,
    HookKilledError,
    HookMissingError,
    HookServer,
)
from parallel_backend.tools.timings.events import read_events

__all__ = ["KINDS", "Building", "Result", "Shop"]

#: What can be built: the end of its hooks' names, and what the folder for it is called there.
KINDS = {
    "wheel": ("wheel", "wheel_directory"),
    "sdist": ("sdist", "sdist_directory"),
    "editable-wheel": ("editable", "wheel_directory"),
}


class _CancelledError(ParallelBackendError):
    """The build was broken off."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """What all builds of one run share.

    :param python: the interpreter to build with, and for.
    :param isolated: each gets an environment of its own.
    :param installer: what installs into it.
    :param is_checked: otherwise, what each requires must be installed.
    :param kind: a key of `KINDS`.
    :param config_settings: for every hook (PEP 517).
    :param out: the folder that what is built goes to.
    :param made: a folder beside it, on the same disk, where it is built.
    :param private: a folder for what only lives as long as the run.
    :param lent: the folder that `lend_backend` gave.
    :param variables: for all hooks, so that they find the token pool.
    :param jobs: job slots for what one project starts that does not know the pool.
    :param timings: a folder where each finds one for the records of its hooks, by its label.
    """

    python: str
    isolated: bool
    installer: Installer
    is_checked: bool
    kind: str
    config_settings: Mapping[str, Any] | None
    out: Path
    made: Path
    private: Path
    lent: Path
    variables: Mapping[str, str]
    jobs: int
    timings: Path
    #: Who made which file, by its name.
    names: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Result:
    """What came of a build.

    :param status: not begun, built, failed or cancelled.
    :param file: what was built, in the shop's folder.
    :param backend: what built it.
    :param note: why it was not built, or why not by our backend.
    :param compiled: objects, None where that is not known; `reused` alike.
    """

    status: str = "not begun"
    file: Path | None = None
    seconds: float = 0.0
    backend: str = ""
    note: str = ""
    compiled: int | None = None
    reused: int | None = None


@dataclass(kw_only=True)
class Building:
    """The build of `source`, a folder or an archive, under the name `label`. See `Task`."""

    source: Path
    label: str
    shop: Shop
    estimate: float = 0.0
    #: What it does now, for humans.
    step: str = "waits"
    began: float = 0.0
    step_began: float = 0.0
    result: Result = field(default_factory=Result)

    def __post_init__(self) -> None:
        self.log = self.shop.out / f"{self.label}.log"
        # Another run may write a log of that name meanwhile.
        self._log = self.shop.made / f"{self.label}.log"
        #: Where its hooks leave their records.
        self.records = self.shop.timings / self.label
        self._lock = threading.Lock()
        self._cancelled = False
        self._runner: Runner | None = None
        self._server: HookServer | None = None
        self._timed = contextlib.ExitStack()

    def run(self) -> bool:
        """Build it; what came of it is then in `result`."""
        with span("project", self.label, told=True) as timed:
            is_built = self._run()
            if not is_built:
                timed.note(result=self.result.status, error=self.result.note)
        return is_built

    def _run(self) -> bool:
        self.began = time.monotonic()
        result = self.result
        try:
            self._show_log()
            with (
                tempfile.TemporaryDirectory(
                    prefix="project-", dir=self.shop.private, ignore_cleanup_errors=True
                ) as folder,
                self._timed,
            ):
                result.file = self._build(Path(folder))
            result.status = "built"
        except Exception as error:  # of whatever kind: the other projects go on
            result.status = "cancelled" if self._cancelled else "failed"
            result.note = "" if self._cancelled else _one_line(error)
            self._write_log(error)
        with contextlib.suppress(OSError):
            os.replace(self._log, self.log)
        result.seconds = time.monotonic() - self.began
        with contextlib.suppress(Exception):  # of records that a project has written to
            self._count()
        return result.status == "built"

    def cancel(self) -> None:
        """Break it off; again: more harshly. For other threads."""
        with self._lock:
            self._cancelled = True
            runner, server = self._runner, self._server
        if runner is not None:
            runner.cancel()
        if server is not None:
            server.cancel()

    def _heed(self) -> None:
        if self._cancelled:
            raise _CancelledError("it was broken off")

    def _enter(self, step: str) -> None:
        self._heed()
        self.step, self.step_began = step, time.monotonic()
        self._timed.close()
        self._timed.enter_context(span("step", step, told=True))

    def _build(self, folder: Path) -> Path:
        self._enter("unpacks")
        source = self._unpacked(folder)
        system = read_build_system(source)
        self._enter("makes its environment")
        environment = self._environment(folder)
        self._enter("gets its requirements")
        environment.install(_without_ours(system.requires))
        backend = self._backend(system, environment)
        made = Path(tempfile.mkdtemp(dir=self.shop.made))
        name, argument = KINDS[self.shop.kind]
        with HookServer(environment.python) as server:
            with self._lock:
                self._server = server

            def call(hook: str, **arguments: Any) -> Any:
                variables = environment.variables()
                told = limits(variables, jobs=self.shop.jobs)
                given = with_limit(self.shop.config_settings, backend=backend, limits=told)
                self._heed()
                return server.call(
                    hook,
                    backend=backend,
                    backend_path=system.backend_path,
                    source=source,
                    arguments={**arguments, "config_settings": given},
                    environment={**variables, **told, **self._timings(backend)},
                    stdout=self._log,
                    stderr=self._log,
                )

            self._enter("asks for requirements")
            with contextlib.suppress(HookMissingError):
                environment.install(_without_ours(call(f"get_requires_for_build_{name}")))
            self._enter(f"builds its {self.shop.kind}")
            return self._deliver(made, call(f"build_{name}", **{argument: str(made)}))

    def _timings(self, backend: str) -> dict[str, str]:
        """Where the hooks of our backend are to leave their records."""
        if not backend.startswith("parallel_backend"):
            return {}
        return {VARIABLES["timings"]: str(self.records)}

    def _show_log(self) -> None:
        """Have a new log, which can be read in the shop's folder while it is written."""
        self._log.write_bytes(b"")
        shown = self._log.with_suffix(".shown")
        try:
            os.link(self._log, shown)
            os.replace(shown, self.log)
        except OSError:  # no links there: it is seen in the end
            self.log.unlink(missing_ok=True)

    def _unpacked(self, folder: Path) -> Path:
        if self.source.is_dir():
            return self.source.resolve()
        target = folder / "source"
        target.mkdir()
        return unpack(self.source, target, heed=self._heed)

    def _environment(self, folder: Path) -> Environment:
        shop = self.shop
        if not shop.isolated:
            return Surrounding(
                python=shop.python,
                lent=shop.lent,
                shared=shop.variables,
                is_checked=shop.is_checked,
            )
        temporary = folder / "tmp"
        temporary.mkdir()
        runner = Runner(log=self._log, folder=temporary)
        with self._lock:
            self._runner = runner
        environment = Isolated(
            folder=folder / "environment",
            base=shop.python,
            lent=shop.lent,
            shared=shop.variables,
            runner=runner,
            installer=shop.installer,
        )
        environment.create()
        return environment

    def _backend(self, system: BuildSystem, environment: Environment) -> str:
        """Ours if it can stand in for the project's, else its own."""
        backend = system.backend
        if system.replacement:
            found = environment.setuptools()
            if found >= OLDEST_SETUPTOOLS:
                backend = system.replacement
            elif found:
                self.result.note = f"its setuptools {found} is older than {OLDEST_SETUPTOOLS}"
        self.result.backend = backend
        return backend

    def _deliver(self, made: Path, name: str) -> Path:
        if os.path.basename(name) != name or not (made / name).is_file():
            raise ProjectError(f"{self.result.backend} says that it made {name!r}, but did not")
        if self.shop.names.setdefault(name, self.label) != self.label:
            raise ProjectError(f"{self.shop.names[name]} made {name} already")
        target = self.shop.out / name
        os.replace(made / name, target)
        return target

    def _write_log(self, error: Exception) -> None:
        """What the log does not hold yet of a failure."""
        told = str(error)
        if isinstance(error, HookFailedError):
            told = error.message if _has_ended(error) else error.traceback
        elif isinstance(error, BackendMissingError):
            told = error.traceback
        elif not isinstance(error, (ParallelBackendError, OSError)):
            told = "".join(traceback.format_exception(error))
        with (
            contextlib.suppress(OSError),
            self._log.open("a", encoding="utf-8", errors="backslashreplace") as log,
        ):
            log.write(f"{told.rstrip()}\n")

    def _count(self) -> None:
        """Add up what the hooks of our backend have recorded; others record nothing."""
        if not self.result.backend.startswith("parallel_backend"):
            return
        results = [
            event.result
            for path in (self.records / RECORDS).glob("*")
            for event in read_events(path)
            if event.kind == "compile"
        ]
        self.result.compiled = results.count("done")
        self.result.reused = results.count("reused")


def _without_ours(requirements: Sequence[str]) -> list[str]:
    """Requirements less our own package, which every environment has from here."""
    return [each for each in requirements if requirement_name(each) != OWN_REQUIREMENT]


def _has_ended(error: HookFailedError) -> bool:
    """It is no failure of code, but says why the build ended."""
    return error.type == "SystemExit"


def _one_line(error: Exception) -> str:
    if isinstance(error, HookFailedError):
        lines = [line for line in error.message.splitlines() if line.strip()] or [""]
        text = lines[0] if _has_ended(error) else f"{error.type}: {' '.join(lines)}"
        if isinstance(error.code, int):
            text = f"exit status {error.code}"
    elif isinstance(error, HookExitedError):
        text = f"its process ended with exit status {error.status}"
    elif isinstance(error, HookKilledError):
        text = f"its process was killed by {error.signal}"
    else:
        known = isinstance(error, (ParallelBackendError, OSError))
        text = str(error) if known else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
