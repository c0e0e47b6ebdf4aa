"""Where distutils is told to build our way, and put back."""

from __future__ import annotations

import contextlib
import filecmp
import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from parallel_backend.engine.compilation import compile_sources
from parallel_backend.engine.extensions import build_extensions
from parallel_backend.engine.failures import run_reported
from parallel_backend.engine.links import create_static_lib, link
from parallel_backend.engine.origins import is_distutils, is_general
from parallel_backend.engine.scope import Scope, current_scope
from parallel_backend.timings.record import span

if TYPE_CHECKING:
    from parallel_backend.engine import Engine

__all__ = ["applied"]

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def applied(engine: Engine) -> Iterator[None]:
    """Patch distutils' classes for the length of a ``with`` block.

    They are those that `setuptools`, Cython and projects derive theirs from. A method that somebody
    else has replaced already is left alone.
    """
    import distutils.ccompiler
    import distutils.command.build_clib
    import distutils.command.build_ext
    import distutils.unixccompiler

    import setuptools.command.build_clib

    with contextlib.ExitStack() as stack:
        for place, name, wrap in (
            (distutils.command.build_ext.build_ext, "build_extensions", _build_extensions),
            (distutils.command.build_clib.build_clib, "run", _run_build_clib),
            (distutils.ccompiler.CCompiler, "compile", _compile),
            (distutils.unixccompiler.UnixCCompiler, "_compile", _compile_one),
            (distutils.command.build_ext.build_ext, "copy_file", _copy_file),
            (distutils.unixccompiler.UnixCCompiler, "link", link),
            (distutils.unixccompiler.UnixCCompiler, "create_static_lib", create_static_lib),
            (setuptools.command.build_clib, "newer_pairwise_group", _newer_pairwise_group),
        ):
            original: Any = getattr(place, name, None)
            function = getattr(original, "func", original)  # newer_pairwise_group is a partial
            if is_distutils(function):
                replacement: Any = functools.wraps(function)(_timed(name, wrap(engine, original)))
                replacement.parallel_backend = True
                _replace(stack, place, name, replacement)
        yield


# Where the methods that link are told what they make.
_LINKED = {"link": (2, "output_filename"), "create_static_lib": (1, "output_libname")}


def _timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """With its times on record, if it links."""
    if name not in _LINKED:
        return function
    place, keyword = _LINKED[name]

    def timed(self: Any, *args: Any, **options: Any) -> Any:
        with span("link", args[place] if len(args) > place else options.get(keyword, "")):
            return function(self, *args, **options)

    return timed


def _replace(stack: contextlib.ExitStack, place: Any, name: str, replacement: Any) -> None:
    own = name in vars(place)
    before = getattr(place, name)
    setattr(place, name, replacement)
    if own:
        stack.callback(setattr, place, name, before)
    else:  # of a base class
        stack.callback(delattr, place, name)


def _build_extensions(engine: Engine, _original: Callable[..., None]) -> Callable[..., None]:
    return lambda command: build_extensions(engine, command)


def _run_build_clib(engine: Engine, original: Callable[..., None]) -> Callable[..., None]:
    def run(self: Any) -> None:
        if not self.libraries:
            return
        engine.prepare(self.compiler, sources=())
        scope = Scope(name="C libraries", command=self, slots=engine.slots, publish=True)
        with engine.tally.running(), span("extension", scope.name) as timed:
            error = run_reported(scope, lambda: original(self))
            if error is not None:
                timed.fail(error)
        engine.tally.count(compiled=scope.compiled, reused=scope.reused)
        if error is not None:
            engine.raised.append(str(error))
            raise error

    return run


_COMPILE_ARGUMENTS = (
    "output_dir", "macros", "include_dirs", "debug", "extra_preargs", "extra_postargs", "depends",
)  # fmt: skip


def _compile(engine: Engine, original: Callable[..., Any]) -> Callable[..., Any]:
    def compile(self: Any, sources: Any, *args: Any, **options: Any) -> Any:
        scope = current_scope()
        if scope is None or getattr(self, "dry_run", False):
            return original(self, sources, *args, **options)
        given = dict(zip(_COMPILE_ARGUMENTS, args, strict=False)) | options
        every = dict.fromkeys(_COMPILE_ARGUMENTS) | {"debug": False} | given
        return compile_sources(engine, scope, self, sources, every)

    return compile


def _compile_one(engine: Engine, original: Callable[..., None]) -> Callable[..., None]:
    return engine.launcher.compiled_by(original)


def _newer_pairwise_group(_engine: Engine, original: Callable[..., Any]) -> Callable[..., Any]:
    """setuptools looks at sources and `obj_deps` alone: other headers may have changed."""

    def newer_pairwise_group(groups: Any, targets: Any, *args: Any, **options: Any) -> Any:
        scope = current_scope()
        if scope is not None and is_general(scope.command.compiler):
            return groups, targets  # it is seen for each command, later, if it has to run
        return original(groups, targets, *args, **options)

    return newer_pairwise_group


def _copy_file(_engine: Engine, original: Callable[..., Any]) -> Callable[..., Any]:
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
