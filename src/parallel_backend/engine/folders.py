"""Folders for compilers that have a ``compile()`` of their own, which is left alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from parallel_backend.engine.objects import object_key
from parallel_backend.engine.origins import is_general
from parallel_backend.engine.scope import Scope

if TYPE_CHECKING:
    from parallel_backend.engine import Engine

__all__ = ["own_folders"]


@contextlib.contextmanager
def own_folders(engine: Engine, command: Any, scope: Scope) -> Iterator[None]:
    """Where ``compile()`` is not distutils' general one it is left alone, but while other
    extensions are built its objects go to a folder of this extension."""
    put_back: list[tuple[Any, Any]] = []
    compilers: list[Any] = [command.compiler, getattr(command, "shlib_compiler", None)]
    for compiler in {id(compiler): compiler for compiler in compilers}.values():
        if not scope.publish and hasattr(compiler, "compile") and not is_general(compiler):
            put_back.append((compiler, vars(compiler).get("compile")))
            compiler.compile = _in_folder(engine, compiler, scope)
    try:
        yield
    finally:
        for compiler, before in put_back:
            if before is None:
                del compiler.compile
            else:
                compiler.compile = before


def _in_folder(engine: Engine, compiler: Any, scope: Scope) -> Callable[..., Any]:
    original = compiler.compile

    def compile(sources: Any, output_dir: str | None = None, *args: Any, **options: Any) -> Any:
        folder = output_dir or compiler.output_dir or str(engine.private)
        return original(sources, os.path.join(folder, object_key([scope.name])), *args, **options)

    return compile
