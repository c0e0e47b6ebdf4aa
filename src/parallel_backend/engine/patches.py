"""Where distutils is told to build our way, and put back."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from parallel_backend.engine.compilation import compile_sources
from parallel_backend.engine.extensions import build_extensions
from parallel_backend.engine.failures import run_reported
from parallel_backend.engine.inputs import installed, look_at
from parallel_backend.engine.origins import is_distutils
from parallel_backend.engine.scope import Scope, current_scope

if TYPE_CHECKING:
    from parallel_backend.engine import Engine

__all__ = ["applied"]

_number = itertools.count()


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

    with contextlib.ExitStack() as stack:
        for kind, name, wrap in (
            (distutils.command.build_ext.build_ext, "build_extensions", _build_extensions),
            (distutils.command.build_clib.build_clib, "run", _run_build_clib),
            (distutils.ccompiler.CCompiler, "compile", _compile),
            (distutils.unixccompiler.UnixCCompiler, "link", _link),
            (distutils.unixccompiler.UnixCCompiler, "create_static_lib", _create_static_lib),
        ):
            original: Any = getattr(kind, name)
            if is_distutils(original):
                replacement: Any = functools.wraps(original)(wrap(engine, original))
                replacement.parallel_backend = True
                setattr(kind, name, replacement)
                stack.callback(setattr, kind, name, original)
        yield


def _build_extensions(engine: Engine, _original: Callable[..., None]) -> Callable[..., None]:
    return lambda command: build_extensions(engine, command)


def _run_build_clib(engine: Engine, original: Callable[..., None]) -> Callable[..., None]:
    def run(self: Any) -> None:
        if not self.libraries:
            return
        engine.prepare(self.compiler, tracked=True)
        scope = Scope(name="C libraries", command=self, slots=engine.slots, publish=True)
        with engine.tally.running():
            error = run_reported(scope, lambda: original(self))
        engine.tally.objects += scope.compiled
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


def _link(engine: Engine, original: Callable[..., Any]) -> Callable[..., Any]:
    def link(
        self: Any,
        target_desc: str,
        objects: Any,
        output_filename: str,
        output_dir: str | None = None,
        *args: Any,
        **options: Any,
    ) -> Any:
        scope = current_scope()
        if scope is None or target_desc == self.EXECUTABLE:
            return original(
                self, target_desc, objects, output_filename, output_dir, *args, **options
            )
        folder = self.output_dir if output_dir is None else output_dir
        final = output_filename if folder is None else os.path.join(folder, output_filename)
        scope.inputs += map(look_at, _linked(self, args, options))
        with _whole(engine, scope, final) as temporary:
            return original(
                self, target_desc, _placed(scope, objects), temporary, None, *args, **options
            )

    return link


def _create_static_lib(engine: Engine, original: Callable[..., Any]) -> Callable[..., Any]:
    def create_static_lib(
        self: Any,
        objects: Any,
        output_libname: str,
        output_dir: str | None = None,
        *args: Any,
        **options: Any,
    ) -> Any:
        scope = current_scope()
        if scope is None:
            return original(self, objects, output_libname, output_dir, *args, **options)
        folder = self.output_dir if output_dir is None else output_dir
        final = self.library_filename(output_libname, output_dir=folder or "")
        scope.inputs += map(look_at, set(map(os.fspath, objects)) - set(scope.objects))
        with _whole(engine, scope, final, folder=True) as temporary:
            # ar adds to an archive that is there already.
            if os.path.exists(final):
                shutil.copy2(final, temporary)
            return original(
                self,
                _placed(scope, objects),
                output_libname,
                os.path.dirname(temporary),
                *args,
                **options,
            )

    return create_static_lib


def _linked(compiler: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Iterator[str]:
    """Files that a linker reads beside objects of ours, and paths where it looks for them."""
    given = dict(zip(_LINK_ARGUMENTS, args, strict=False)) | options
    is_installed = installed()
    names = [*(given.get("libraries") or ()), *(compiler.libraries or ())]
    folders = [*(given.get("library_dirs") or ()), *(compiler.library_dirs or ())]
    for word in (*compiler.objects, *(given.get("extra_postargs") or ())):
        if os.path.isfile(word):
            yield os.fspath(word)
    for folder in folders:
        if not is_installed(os.path.join(folder, "")):
            for name in names:
                for form in ("lib{}.so", "lib{}.a", "lib{}.dylib", "{}.lib"):
                    yield os.path.join(folder, form.format(name))


_LINK_ARGUMENTS = (
    "libraries", "library_dirs", "runtime_library_dirs", "export_symbols", "debug",
    "extra_preargs", "extra_postargs",
)  # fmt: skip


def _placed(scope: Scope, objects: Any) -> Any:
    """Objects by the paths that they have, also where a project has made up their names itself."""
    if not isinstance(objects, (list, tuple)):
        return objects  # distutils says what is wrong with it
    return [scope.objects.get(os.fspath(name), name) for name in objects]


@contextlib.contextmanager
def _whole(engine: Engine, scope: Scope, final: str, *, folder: bool = False) -> Iterator[str]:
    """A path for a linker to write to, moved to `final` when it is whole.

    A linker that is killed leaves half a file, newer than its sources, and the next build would
    take it for whole. `folder`: the base name must stay, so that it needs a folder of its own.
    """
    if sys.platform == "darwin":  # pragma: no cover - its linker writes the path into the library
        yield final
        return
    beside = next(iter(scope.objects.values()), None)
    place = os.path.abspath(os.path.dirname(beside) if beside else engine.private)
    prefix = os.path.join(place, f"tmp-{os.getpid()}-{next(_number)}")
    temporary = f"{prefix}-{os.path.basename(final)}"
    if folder:
        os.mkdir(prefix)
        temporary = os.path.join(prefix, os.path.basename(final))
    try:
        yield temporary
        if os.path.exists(temporary):
            _move(temporary, final)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if folder:
            os.rmdir(prefix)


def _move(source: str, target: str) -> None:
    try:
        os.replace(source, target)
    except OSError:  # another file system, or the folder is not there yet
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        beside = f"{target}.tmp-{os.getpid()}"
        shutil.copy2(source, beside)
        os.replace(beside, target)
