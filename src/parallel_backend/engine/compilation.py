"""The sources of one ``compile()`` call: each is a job, and each object has a path of its own."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from distutils.errors import CCompilerError, CompileError
from typing import TYPE_CHECKING, Any

from parallel_backend.engine import crew
from parallel_backend.engine.failures import explain
from parallel_backend.engine.inputs import Input, installed, look_at, now_at
from parallel_backend.engine.objects import Entry, object_key
from parallel_backend.engine.origins import is_stock
from parallel_backend.engine.output import Cancelled, Job, current_job
from parallel_backend.engine.reuse import Compilation, expecting
from parallel_backend.engine.scope import Scope
from parallel_backend.engine.state import changed, snapshot
from parallel_backend.hook_process import fork_is_safe
from parallel_backend.timings.record import happened, span

if TYPE_CHECKING:
    from parallel_backend.engine import Engine

__all__ = ["compile_sources"]

# Options that make the compiler write more files, named after the object, or tell its path in it,
# or write dependencies where somebody else wants them.
_SIDE_FILES = (
    "--coverage", "-fcallgraph-info", "-fdump-", "-fprofile-arcs", "-fstack-usage",
    "-fprofile-generate", "-ftest-coverage", "-gsplit-dwarf", "-M", "-save-temps", "-Wp,-M",
    "-frecord-gcc-switches", "-frecord-command-line", "-grecord-command-line",
)  # fmt: skip


@dataclass(eq=False)
class _Unit:
    """One source, what setuptools calls its object, and what became of it."""

    plain: str
    source: str
    extension: str
    #: The command that compiles it, as if its object's path were empty, if it is one.
    command: list[str] = field(default_factory=list)
    path: str = ""
    inputs: list[Input] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    compiled: bool = False
    reused: bool = False
    #: It was compiled apart, succeeded, and changed nothing that another one could see.
    settled: bool = False
    job: Job | None = None
    error: BaseException | None = None
    text: str = ""


@dataclass(frozen=True)
class _Call:
    """What the sources of one call have in common."""

    engine: Engine
    compiler: Any
    scope: Scope
    below: str | None
    depends: list[Input]
    cc_args: list[str]
    postargs: list[str]
    pp_opts: list[str]
    #: Which call it is, of this process.
    number: int = field(default_factory=itertools.count().__next__)

    def include_dirs(self) -> list[str]:
        """The folders that are searched for headers."""
        return [option[2:] for option in self.pp_opts if option.startswith("-I")]

    def cost_of(self, unit: _Unit) -> int:
        """What a source may cost to compile."""
        return self.engine.costs.of_source(unit.source, self.include_dirs())

    def compile(self, unit: _Unit, target: str, *more: str) -> None:
        """Let setuptools, or whoever has replaced its ``_compile``, compile one source."""
        self.compiler._compile(
            target,
            unit.source,
            unit.extension,
            self.cc_args,
            [*self.postargs, *more],
            self.pp_opts,
        )


def compile_sources(
    engine: Engine, scope: Scope, compiler: Any, sources: Sequence[str], options: dict[str, Any]
) -> list[str]:
    """What ``CCompiler.compile()`` does, its arguments in `options`: the objects' paths, in order.

    Raises ``CompileError``, which tells the command that failed and what it printed.
    """
    _, objects, postargs, pp_opts, build = compiler._setup_compile(
        options["output_dir"],
        options["macros"],
        options["include_dirs"],
        sources,
        options["depends"],
        options["extra_postargs"],
    )
    cc_args = compiler._get_cc_args(pp_opts, options["debug"], options["extra_preargs"])
    # Without a folder for them setuptools puts objects beside the sources; ours do not stay there.
    below = None if options["output_dir"] or compiler.output_dir else str(engine.private)
    depends = [look_at(os.fspath(path)) for path in options["depends"] or ()]
    call = _Call(engine, compiler, scope, below, depends, cc_args, list(postargs), pp_opts)
    units = [_Unit(plain, *build[plain]) for plain in dict.fromkeys(objects) if plain in build]
    job = current_job()
    if job is not None:  # what the extension said so far comes before what its sources say
        job.show()
    _build(call, units)
    _raise_failures(call, units)
    for unit in units:
        scope.place(unit.plain, unit.path)
        scope.inputs += unit.inputs
        scope.absent.update(unit.absent)
        scope.compiled += unit.compiled and below is None
        scope.reused += unit.reused and below is None
    return [scope.objects.get(plain, plain) for plain in objects]


def _build(call: _Call, units: list[_Unit]) -> None:
    keep_going = call.engine.settings.keep_going
    if is_stock(call.compiler) and all(_is_one_command(call, unit) for unit in units):
        if call.engine.store.has_earlier():  # what is there takes no slot
            units = [unit for unit in units if not _take(call, unit)]
        by_cost = sorted(units, key=call.cost_of, reverse=True) if len(units) > 1 else units
        attempt = functools.partial(_attempt, call, _compile_by_one_command)
        if len(units) > 1:
            with crew.Threads[_Unit](attempt, _cancel) as start:
                crew.run(by_cost, start, slots=call.scope.slots, keep_going=keep_going)
            return
    else:
        attempt = functools.partial(_attempt, call, _compile_as_told)
        if len(units) > 1 and fork_is_safe():
            began = now_at(os.path.dirname(units[0].plain) or ".")
            apart = functools.partial(_attempt_apart, call)
            start_apart = functools.partial(
                crew.Fork[_Unit], call.engine.private, apart, _note_apart
            )
            crew.run(units, start_apart, slots=call.scope.slots, keep_going=keep_going)
            units = _to_do_here(call, units, began)
            for unit in units:
                happened("retracted", unit.source, call=call.number)
    for unit in units:
        if not attempt(unit) and not keep_going:
            break


def _is_one_command(call: _Call, unit: _Unit) -> bool:
    """Whether a source is compiled by one command, which is then known."""
    commands: list[list[str]] = []
    recorder = copy.copy(call.compiler)
    recorder.call = recorder.spawn = lambda command, **_: commands.append(list(command))
    replace(call, compiler=recorder).compile(unit, "")
    if len(commands) == 1:
        unit.command = [os.fspath(word) for word in commands[0]]
    return len(commands) == 1


# --- one source


def _attempt(call: _Call, compile: Callable[[_Call, _Unit], None], unit: _Unit) -> bool:
    """Compile one source in a job of its own; whether it succeeded."""
    timed = span("compile", unit.source, call=call.number)
    with call.scope.job() as unit.job, timed:
        try:
            compile(call, unit)
        except Exception as error:
            unit.error = Cancelled() if unit.job.cancelled else error
            unit.text = unit.job.text()
            timed.fail(unit.error)
            return False
        timed.note(result="reused" if unit.reused else "done")
    unit.job.show()
    return True


def _cancel(unit: _Unit, number: int) -> None:
    if unit.job is not None:
        unit.job.cancel(number)


def _compile_as_told(call: _Call, unit: _Unit) -> None:
    """Compile by a project's own code, whose command is not known beforehand."""
    words = [unit.source, *call.cc_args, *call.postargs, *call.pp_opts]
    executables = getattr(call.compiler, "compiler_so", None) or []
    key = object_key([*executables, *words], scope=call.scope.name or unit.plain)
    with call.engine.objects.entry(key) as entry:
        unit.path = entry.new_path(unit.plain, below=call.below)
        _compile_or_take(call, unit, unit.path)


def _take(call: _Call, unit: _Unit) -> bool:
    """Have what the command has made before, in this build or another, if it is there."""
    command = unit.command
    words, variables = call.engine.launcher.launched(command)
    if command.count("") != 1 or any(word.startswith(_SIDE_FILES) for word in command):
        return False
    with call.engine.objects.entry(object_key(command)) as entry:
        unit.path = entry.new_path(unit.plain, below=call.below)
        expected = Compilation(call.engine, unit.path, unit.source, rule=f"{unit.path}.d")
        words = [word or unit.path for word in words]
        environ = {**os.environ, **variables} if variables else None
        with span("compile", unit.source, call=call.number, told=False, result="reused") as timed:
            if expected.begin(words, environ) is None:
                _note(call, unit, expected)
            else:
                timed.drop()
    return unit.reused


def _compile_by_one_command(call: _Call, unit: _Unit) -> None:
    """Compile by one command that is known."""
    command = unit.command
    with call.engine.objects.entry(object_key(command)) as entry:
        if any(word.startswith(_SIDE_FILES) for word in command):
            _compile_with_side_files(call, unit, entry)
            return
        unit.path = unit.path or entry.new_path(unit.plain, below=call.below)
        folder, name = os.path.split(unit.path)
        # Under another name until it is whole, so that nobody ever takes half an object for one.
        target = os.path.join(folder, f"tmp-{os.getpid()}-{name}")
        try:
            _compile_or_take(call, unit, target)
            os.replace(target, unit.path)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(target)
        if unit.reused and unit.job is not None:
            unit.job.text()  # it was not compiled: nobody wants to read how


def _compile_or_take(call: _Call, unit: _Unit, target: str) -> None:
    """Compile to `target`, or have what the command has made before, in this build or another."""
    expected = Compilation(call.engine, target, unit.source, rule=f"{unit.path}.d")
    try:
        with expecting(expected):
            call.compile(unit, target)
    finally:
        expected.clean_up()
    _note(call, unit, expected)


def _note(call: _Call, unit: _Unit, expected: Compilation) -> None:
    unit.reused = expected.reused
    unit.compiled = not expected.reused
    unit.inputs = [*expected.inputs, *call.depends]
    unit.absent = expected.absent


def _compile_with_side_files(call: _Call, unit: _Unit, entry: Entry) -> None:
    """Compile to the path that setuptools would choose: the object, and files beside it, tell it.

    Nobody else writes there meanwhile; then the object goes to a path of its own.
    """
    with call.engine.objects.entry(object_key([], scope=os.path.abspath(unit.plain))):
        unit.path = entry.new_path(unit.plain, below=call.below)
        _compile_or_take(call, unit, unit.plain)
        os.replace(unit.plain, unit.path)


# --- one source, apart: in its own process


def _attempt_apart(call: _Call, unit: _Unit) -> tuple[Any, ...]:
    """In a fork: compile one source by code that may change what is in memory."""
    before = snapshot(call.scope.command, compiler=call.compiler)
    succeeded = _attempt(call, _compile_as_told, unit)
    after = snapshot(call.scope.command, compiler=call.compiler)
    settled = succeeded and not changed(before, after)
    return unit.path, unit.compiled, unit.reused, unit.inputs, unit.absent, settled


def _note_apart(unit: _Unit, result: tuple[Any, ...] | None) -> bool:
    """In the process that forked: what became of a source."""
    if result is not None:
        unit.path, unit.compiled, unit.reused, unit.inputs, unit.absent, unit.settled = result
    return unit.settled


def _to_do_here(call: _Call, units: list[_Unit], began: int) -> list[_Unit]:
    """What is not certain to be as a serial build would have made it: all sources from the first
    on that failed, or that changed what the next one sees; all, if a file was written that they
    could read."""
    folders = {os.path.dirname(unit.source) or "." for unit in units} | set(call.include_dirs())
    is_installed = installed()
    own = (f for f in folders if os.path.isdir(f) and not is_installed(os.path.join(f, "")))
    files = (entry for folder in own for entry in os.scandir(folder) if entry.is_file())
    if any(file.stat().st_ctime_ns >= began for file in files):
        return units
    first = next((i for i, unit in enumerate(units) if not unit.settled), len(units))
    return units[first:]


def _raise_failures(call: _Call, units: list[_Unit]) -> None:
    failed = [unit for unit in units if unit.error is not None]
    told = [unit for unit in failed if not isinstance(unit.error, Cancelled)]
    for unit in told:
        assert unit.error is not None
        if not isinstance(unit.error, CCompilerError):
            unit.error.add_note(f"{unit.source}\n{unit.text}".rstrip())
            raise unit.error
    if failed and not told:
        raise Cancelled
    if told:
        message = "\n\n".join(
            f"{unit.source}: {explain(unit.error, unit.job or Job(), unit.text)}"
            for unit in told
            if unit.error is not None
        )
        call.scope.failures.append(message)
        raise CompileError(message) from told[0].error
