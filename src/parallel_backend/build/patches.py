"""Where distutils is told to build our way, and put back."""

from __future__ import annotations

import contextlib
import copy
import filecmp
import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from parallel_backend.build import failure_report
from parallel_backend.build.commands import Command, parse
from parallel_backend.build.interception import current_umask
from parallel_backend.build.stock import compiles_by_one_command, is_stock

if TYPE_CHECKING:
    from parallel_backend.build.session import Session

__all__ = ["applied"]

_log = logging.getLogger(__name__)

# 1980 is where the times of zip files begin.
_LONG_AGO = 315_700_000


@contextlib.contextmanager
def applied(session: Session) -> Iterator[None]:
    """Patch distutils' classes for the length of a ``with`` block.

    They are those that public names stand for, from which `setuptools`, Cython and projects derive
    theirs. A method that somebody else has replaced already is left alone.
    """
    import distutils.ccompiler
    import distutils.command.build_clib
    import distutils.command.build_ext

    import setuptools.command.build_clib

    build_ext = distutils.command.build_ext.build_ext
    with contextlib.ExitStack() as stack:
        for place, name, wrap in (
            (build_ext, "build_extensions", _build_extensions),
            (build_ext, "_filter_build_errors", _filter_build_errors),
            (build_ext, "copy_file", _copy_file),
            (distutils.command.build_clib.build_clib, "run", _run_build_clib),
            (distutils.ccompiler.CCompiler, "compile", _compile),
            (setuptools.command.build_clib, "newer_pairwise_group", _newer_pairwise_group),
        ):
            original: Any = getattr(place, name, None)
            function = getattr(original, "func", original)  # newer_pairwise_group is a partial
            if function is not None and is_stock(getattr(function, "__wrapped__", function)):
                replacement = functools.wraps(function)(wrap(session, original))
                _replace(stack, place, name, replacement)
        yield


def _replace(stack: contextlib.ExitStack, place: Any, name: str, replacement: Any) -> None:
    own = name in vars(place)
    before = getattr(place, name)
    setattr(place, name, replacement)
    if own:
        stack.callback(setattr, place, name, before)
    else:  # of a base class
        stack.callback(delattr, place, name)


def _build_extensions(session: Session, original: Callable[..., None]) -> Callable[..., None]:
    def build_extensions(command: Any) -> None:
        command.check_extensions_list(command.extensions)
        command.parallel = None
        _make_old(command)
        failures = session.failures = []
        session.run(lambda: original(command), command)
        if failures:
            raise failure_report.joined(failures)

    return build_extensions


def _make_old(command: Any) -> None:
    """Make the extensions of an earlier build older than all that they are made from.

    setuptools, and many a project, take one that is there for up to date if its sources and
    `depends` are older, whatever became of headers and options. Whether its commands have to run is
    seen for each, later.
    """
    for extension in command.extensions:
        with contextlib.suppress(Exception):  # whatever a project's own method may raise
            os.utime(command.get_ext_fullpath(extension.name), (_LONG_AGO, _LONG_AGO))


def _remove_old(command: Any, extension: Any) -> None:
    """An extension of an earlier build is not that of a build that failed, `optional` or not."""
    with contextlib.suppress(Exception):
        path = command.get_ext_fullpath(extension.name)
        if os.stat(path).st_mtime == _LONG_AGO:
            os.unlink(path)


def _filter_build_errors(session: Session, original: Callable[..., Any]) -> Callable[..., Any]:
    @contextlib.contextmanager
    def _filter_build_errors(self: Any, extension: Any) -> Iterator[None]:
        replay = session.replay
        before, replay.extension = replay.extension, extension.name
        replay.forget_command()
        try:
            with original(self, extension):
                try:
                    yield
                except Exception as error:
                    _remove_old(self, extension)
                    where = f"extension {extension.name!r}"
                    told = failure_report.reported(error, where, replay.last_command())
                    if told is error:
                        raise
                    raise told from error.__cause__
        except Exception as error:
            if not session.settings.keep_going:
                raise
            session.failures.append(error)
        finally:
            replay.extension = before

    return _filter_build_errors


def _run_build_clib(session: Session, original: Callable[..., None]) -> Callable[..., None]:
    def run(self: Any) -> None:
        if not self.libraries:
            return
        session.replay.forget_command()
        try:
            session.run(lambda: original(self), self)
        except Exception as error:
            told = failure_report.reported(error, "C libraries", session.replay.last_command())
            if told is error:
                raise
            raise told from error.__cause__

    return run


def _compile(session: Session, original: Callable[..., Any]) -> Callable[..., Any]:
    def compile(self: Any, sources: Any, *args: Any, **options: Any) -> Any:
        if session.may_expect() and len(sources) > 1 and compiles_by_one_command(self):
            with contextlib.suppress(Exception):  # what is wrong is said below
                session.replay.expect(_commands(original, self, sources, args, options))
        return original(self, sources, *args, **options)

    return compile


def _commands(
    original: Callable[..., Any], compiler: Any, sources: Any, args: Any, options: Any
) -> list[Command]:
    """The commands by which a compiler compiles sources."""
    found: list[Command] = []
    folder = os.getcwd()
    umask = current_umask()
    environ = dict(os.environ)
    # `distutils.spawn` runs a program by its path; from 84 on it is run by its name.
    looks_up = not hasattr(compiler, "call")

    def note(words: Any, **_: Any) -> None:
        texts = [os.fspath(word) for word in words]
        if looks_up:
            texts[0] = shutil.which(texts[0]) or texts[0]
        command = parse(texts, folder=folder, environ=environ, umask=umask)
        if command is not None and command.kind == "compile":
            found.append(command)

    twin = copy.copy(compiler)
    twin.call = twin.spawn = note
    original(twin, sources, *args, **options)
    return found


def _newer_pairwise_group(_session: Session, original: Callable[..., Any]) -> Callable[..., Any]:
    """setuptools looks at sources and `obj_deps` alone: other headers may have changed."""

    def newer_pairwise_group(groups: Any, targets: Any, *args: Any, **options: Any) -> Any:
        original(groups, targets, *args, **options)
        return list(groups), list(targets)

    return newer_pairwise_group


def _copy_file(_session: Session, original: Callable[..., Any]) -> Callable[..., Any]:
    """An extension goes to its place beside the sources by one rename: a process may have it
    mapped, and what is there may be newer by the clock, and yet another one."""

    def copy_file(self: Any, infile: Any, outfile: Any, *args: Any, **options: Any) -> Any:
        if args or not os.path.isfile(outfile) or not os.path.isfile(infile) or self.dry_run:
            return original(self, infile, outfile, *args, **options)
        if not filecmp.cmp(infile, outfile, shallow=False):
            _log.info("copying %s -> %s", infile, outfile)
            temporary = f"{outfile}.tmp-{os.getpid()}"
            try:
                shutil.copy2(infile, temporary)
                os.replace(temporary, outfile)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
        return outfile, True

    return copy_file
