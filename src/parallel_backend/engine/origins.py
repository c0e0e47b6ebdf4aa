"""Whose code it is: that of distutils, setuptools and Cython is known, a project's is not."""

from __future__ import annotations

from typing import Any

__all__ = ["is_distutils", "is_general", "is_known", "is_stock"]

_KNOWN = ("setuptools", "distutils", "_distutils_hack", "Cython", "parallel_backend")


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
