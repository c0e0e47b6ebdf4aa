"""Whose code it is: that of distutils, setuptools and Cython is known, a project's is not."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any

__all__ = ["is_distutils", "is_general", "is_known", "is_stock", "runs_own_code"]

_KNOWN = ("setuptools", "distutils", "_distutils_hack", "Cython", "parallel_backend")

# Methods of ``build_ext`` that run before and after all extensions, and not while one is built.
_AROUND = ("initialize_options", "finalize_options", "run", "build_extensions")


def is_distutils(function: Any) -> bool:
    """Whether a function or class is distutils' own, and not a project's."""
    module = getattr(function, "__module__", None) or ""
    return module.startswith("setuptools._distutils.") or module.split(".")[0] == "distutils"


def is_known(thing: Any) -> bool:
    """Whether a class or function is distutils', setuptools' or Cython's, and no project's own."""
    return (getattr(thing, "__module__", None) or "").partition(".")[0] in _KNOWN


def is_general(compiler: Any) -> bool:
    """Whether a compiler compiles by distutils' general ``compile()``, which is ours now."""
    return hasattr(getattr(compiler.compile, "__func__", None), "parallel_backend")


def is_stock(compiler: Any) -> bool:
    """Whether compiling one source is distutils' own doing, from the method down to the process.

    Otherwise it may change the compiler or something else in memory while it runs.
    """
    kind = type(compiler)
    runner = "call" if hasattr(kind, "call") else "spawn"
    return all(
        is_distutils(getattr(kind, name))
        and is_distutils(getattr(compiler, name))
        and getattr(getattr(compiler, name), "__func__", None) is getattr(kind, name)
        for name in ("_compile", runner)
    )


def runs_own_code(command: Any) -> bool:
    """Whether building an extension runs code of the project's own that may keep something."""
    compilers = (command.compiler, getattr(command, "shlib_compiler", None))
    things = [thing for thing in (command, *compilers) if hasattr(thing, "__dict__")]
    return not all(is_known(type(extension)) for extension in command.extensions) or any(
        callable(getattr(value, "__func__", value)) and not _keeps_nothing(name, value)
        for thing in things
        for name, value in _names(thing)
    )


def _names(thing: Any) -> Iterator[tuple[str, Any]]:
    """What stands in an object and in its classes."""
    yield from vars(thing).items()
    for kind in type(thing).__mro__[:-1]:
        for name, value in vars(kind).items():
            yield name, getattr(value, "fget", value)


def _keeps_nothing(name: str, value: Any) -> bool:
    """Whether a callable is known, does not run, or names nothing that could keep a thing."""
    function = getattr(value, "__func__", value)
    if name in _AROUND or is_known(function) or isinstance(function, type(object.__init__)):
        return True
    if not isinstance(function, FunctionType):
        return False
    code = function.__code__
    plain = (code.co_names, code.co_freevars, function.__defaults__, function.__kwdefaults__)
    return not any(plain)
