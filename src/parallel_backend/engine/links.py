"""Linking: of objects where they are, to a path that nobody sees until it is whole."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from parallel_backend.engine.inputs import installed, look_at, time_of
from parallel_backend.engine.reuse import Link, expecting
from parallel_backend.engine.scope import Scope, current_scope

if TYPE_CHECKING:
    from parallel_backend.engine import Engine

__all__ = ["create_static_lib", "link"]

_number = itertools.count()


def link(engine: Engine, original: Callable[..., Any]) -> Callable[..., Any]:
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
        placed = _placed(scope, objects)
        with _whole(engine, scope, final) as temporary, engine.launcher.local_slot(self):
            return _link_or_take(
                engine,
                scope,
                temporary,
                lambda: original(self, target_desc, placed, temporary, None, *args, **options),
            )

    return link


def create_static_lib(engine: Engine, original: Callable[..., Any]) -> Callable[..., Any]:
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
        with _whole(engine, scope, final) as temporary:
            # ar adds to an archive that is there already; one of an earlier build does not count.
            if os.path.exists(final) and time_of(final) >= engine.began:
                shutil.copy2(final, temporary)
            with engine.launcher.local_slot(self):
                return original(
                    self,
                    _placed(scope, objects),
                    output_libname,
                    os.path.dirname(temporary),
                    *args,
                    **options,
                )

    return create_static_lib


def _link_or_take(engine: Engine, scope: Scope, target: str, run: Callable[[], Any]) -> Any:
    """Link to `target`, or have what the same command has made of the same objects before."""
    folder = getattr(scope.command, "build_temp", None)
    expected = Link(engine, target, objects=list(scope.objects.values()), temporary=folder or "")
    try:
        with expecting(expected):
            return run()
    finally:
        expected.clean_up()


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
def _whole(engine: Engine, scope: Scope, final: str) -> Iterator[str]:
    """A path for a linker to write to, moved to `final` when it is whole.

    A linker that is killed leaves half a file, newer than its sources, and the next build would
    take it for whole.
    """
    if sys.platform == "darwin":  # pragma: no cover - its linker writes the path into the library
        yield final
        return
    if os.path.exists(final) and not os.path.isfile(final):
        yield final  # /dev/null, say: what is moved to a device replaces it
        return
    beside = next(iter(scope.objects.values()), None)
    place = os.path.abspath(os.path.dirname(beside) if beside else engine.private)
    prefix = os.path.join(place, f"tmp-{os.getpid()}-{next(_number)}")
    # The base name stays: a linker writes it into a library that defines versions.
    os.mkdir(prefix)
    temporary = os.path.join(prefix, os.path.basename(final))
    try:
        yield temporary
        if os.path.exists(temporary):
            _move(temporary, final)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        with contextlib.suppress(OSError):
            os.rmdir(prefix)


def _move(source: str, target: str) -> None:
    try:
        os.replace(source, target)
    except OSError:  # another file system, or the folder is not there yet
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        beside = f"{target}.tmp-{os.getpid()}"
        shutil.copy2(source, beside)
        os.replace(beside, target)
