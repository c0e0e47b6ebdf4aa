"""The sources of one ``compile()`` call: each is a job, and each object has a path of its own."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from distutils.errors import CCompilerError, CompileError
from typing import TYPE_CHECKING, Any

from parallel_backend.engine import crew
from parallel_backend.engine.failures import explain, how_it_ended
from parallel_backend.engine.objects import (
    Input,
    is_installed,
    look_at,
    object_key,
    read_rule,
    time_of,
)
from parallel_backend.engine.origins import is_stock
from parallel_backend.engine.output import Cancelled, Job, current_job
from parallel_backend.engine.scope import Scope
from parallel_backend.engine.state import changed, snapshot
from parallel_backend.outcome import pack, unpack
from parallel_backend.process_state import forget_group, fork_is_safe, note_group

if TYPE_CHECKING:
    from parallel_backend.engine import Engine

__all__ = ["compile_sources"]

# Options that make the compiler write more files, named after the object, or dependencies where
# somebody else wants them: such a command writes to its object's last path, and is never reused.
_SIDE_FILES = (
    "--coverage", "-fcallgraph-info", "-fdump-", "-fprofile-arcs", "-fstack-usage",
    "-ftest-coverage", "-gsplit-dwarf", "-M", "-save-temps", "-Wp,-M",
)  # fmt: skip


@dataclass(eq=False)
class _Unit:
    """One source, what setuptools calls its object, and what became of it."""

    plain: str
    source: str
    extension: str
    command: list[str] | None = None
    key: str = ""
    path: str = ""
    inputs: list[Input] = field(default_factory=list)
    compiled: bool = False
    changes: list[str] = field(default_factory=list)
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
    cc_args: list[str]
    postargs: list[str]
    pp_opts: list[str]

    def include_dirs(self) -> list[str]:
        """The folders that this call searches for headers."""
        return [option[2:] for option in self.pp_opts if option.startswith("-I")]

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
    call = _Call(engine, compiler, scope, below, cc_args, list(postargs), pp_opts)
    units = [_Unit(plain, *build[plain]) for plain in dict.fromkeys(objects) if plain in build]
    job = current_job()
    if job is not None:  # what the extension said so far comes before what its sources say
        job.show()
    _build(call, units)
    _raise_failures(call, units)
    for unit in units:
        scope.place(unit.plain, unit.path)
        scope.inputs += unit.inputs
        scope.compiled += unit.compiled and below is None
    return [scope.objects.get(plain, plain) for plain in objects]


def _build(call: _Call, units: list[_Unit]) -> None:
    safe = is_stock(call.compiler)
    for unit in units:
        unit.command = _command(call, unit) if safe else None
        safe = safe and unit.command is not None
    keep_going = call.engine.settings.keep_going
    run = functools.partial(crew.run, slots=call.scope.slots, keep_going=keep_going)
    if safe and len(units) > 1:
        costs = call.engine.costs
        units = sorted(units, key=lambda unit: -costs.of_source(unit.source, call.include_dirs()))
        run(
            units, functools.partial(crew.Thread[_Unit], functools.partial(_attempt, call), _cancel)
        )
    elif len(units) > 1 and fork_is_safe() and call.engine.settings.extensions != "thread":
        run(
            units,
            functools.partial(
                crew.Fork[_Unit], functools.partial(_attempt_apart, call), _note_apart
            ),
        )
        _again_if_changed(call, units)
    else:
        for unit in units:
            if not _attempt(call, unit) and not keep_going:
                break


def _command(call: _Call, unit: _Unit) -> list[str] | None:
    """The command that compiles a source, without the object's path; None if it is not just one."""
    commands: list[list[str]] = []
    recorder = copy.copy(call.compiler)
    recorder.call = recorder.spawn = lambda command, **_: commands.append(list(command))
    replace(call, compiler=recorder).compile(unit, "")
    return [os.fspath(word) for word in commands[0]] if len(commands) == 1 else None


# --- one source


def _attempt(call: _Call, unit: _Unit) -> bool:
    """Compile one source in a job of its own; whether it succeeded."""
    with call.scope.job() as unit.job:
        try:
            if unit.command is None:
                _compile_as_told(call, unit)
            else:
                _compile_or_take(call, unit, unit.command)
        except Exception as error:
            unit.error = Cancelled() if unit.job.cancelled else error
            unit.text = unit.job.text()
            return False
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
        call.compile(unit, unit.path)
        unit.compiled = True


def _compile_or_take(call: _Call, unit: _Unit, command: list[str]) -> None:
    engine = call.engine
    side_files = any(word.startswith(_SIDE_FILES) for word in command)
    track = not side_files and engine.writes_rules(command)
    with engine.objects.entry(object_key([*_identity(command), *command])) as entry:
        known = entry.reusable()
        if known is not None:
            unit.path, unit.inputs = known
            return
        unit.path = entry.new_path(unit.plain, below=call.below)
        folder, name = os.path.split(unit.path)
        began = time_of(folder)
        source = look_at(unit.source, content=False)
        # Under another name until it is whole, so that nobody ever takes half an object for one.
        target = unit.path if side_files else os.path.join(folder, f"tmp-{os.getpid()}-{name}")
        rule = f"{target}.d"
        try:
            call.compile(unit, target, *(("-MD", "-MF", rule) if track else ()))
            if not side_files:
                os.replace(target, unit.path)
            unit.compiled = True
            if track:
                names = _prerequisites(rule)
                unit.inputs = [
                    _seen(name, source, began) for name in names if not is_installed(name)
                ]
                if names and not any(known.stamp is None for known in unit.inputs):
                    entry.keep(unit.path, unit.inputs, _folders(command, names))
        finally:
            for leftover in (rule, *(() if side_files else (target,))):
                with contextlib.suppress(OSError):
                    os.unlink(leftover)


def _identity(command: list[str]) -> list[str]:
    """Which file the compiler is: one of another version has another size or time."""
    program = _which(command[0], os.environ.get("PATH"))
    if program is None:
        return []
    status = os.stat(program)
    return [program, str(status.st_size), str(status.st_mtime_ns)]


@functools.lru_cache(maxsize=64)
def _which(name: str, path: str | None) -> str | None:
    return shutil.which(name, path=path)


def _prerequisites(rule: str) -> list[str]:
    try:
        with open(rule, encoding="utf-8", errors="surrogateescape") as stream:
            return read_rule(stream.read())
    except OSError:
        return []


def _seen(name: str, source: Input, began: int) -> Input:
    """A file as the command read it; of the source it is known how it was before."""
    if name == source.path:
        unchanged = look_at(name, content=False) == source
        return source if unchanged else source._replace(stamp=None)
    return look_at(name, since=began)


def _folders(command: list[str], names: list[str]) -> set[str]:
    """Folders in which a new file would be found in the place of one that the command has read."""
    search = {os.path.dirname(names[0]) or "."}
    words = iter(command)
    for word in words:
        for option in ("-I", "-iquote", "-isystem", "-idirafter"):
            if word == option:
                search.add(next(words, "."))
            elif word.startswith(option):
                search.add(word[len(option) :])
    below = {""}
    for used in {os.path.dirname(name) for name in names}:
        for folder in search:
            if used.startswith(os.path.join(folder, "")):
                below.add(os.path.relpath(used, folder))
    search = {folder for folder in search if not is_installed(os.path.join(folder, ""))}
    return {os.path.join(folder, part) if part else folder for folder in search for part in below}


# --- one source, apart: in its own process


def _attempt_apart(call: _Call, unit: _Unit) -> tuple[Any, ...]:
    """In a fork: compile one source by code that may change what is in memory."""
    note_group(call.engine.private, os.getpid())
    try:
        before = snapshot(call.scope.command, call.compiler)
        _attempt(call, unit)
        unit.changes = changed(before, snapshot(call.scope.command, call.compiler))
        failed = unit.job.failed if unit.job else None
        error = pack(False, unit.error) if unit.error else None
        return unit.path, unit.compiled, error, unit.text, failed, unit.changes
    finally:
        forget_group(call.engine.private, os.getpid())


def _note_apart(unit: _Unit, result: tuple[Any, ...] | None, status: int) -> bool:
    """In the process that forked: what became of a source."""
    unit.job = Job()
    if result is None:
        unit.error = CompileError(f"the process that compiled it {how_it_ended(status)}")
        return False
    unit.path, unit.compiled, error, unit.text, unit.job.failed, unit.changes = result
    unit.error = unpack(error)[1] if error else None
    return unit.error is None


def _again_if_changed(call: _Call, units: list[_Unit]) -> None:
    """Compile here, in order, the sources from the first on that changed what others see."""
    first = next((i for i, unit in enumerate(units) if unit.changes), len(units))
    for unit in units[first:]:
        unit.error = None
        if not _attempt(call, unit) and not call.engine.settings.keep_going:
            break


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
