"""Whose code it is: that of distutils, setuptools and Cython is known, a project's is not."""

from __future__ import annotations

from typing import Any

__all__ = ["is_distutils", "is_general", "is_stock"]


def is_distutils(function: Any) -> bool:
    """Whether a method is distutils' own, and not a project's."""
    module = getattr(function, "__module__", None) or ""
    return module.startswith("setuptools._distutils.") or module.split(".")[0] == "distutils"


def is_general(function: Any) -> bool:
    """Whether a method is distutils', setuptools' or Cython's, and not a project's own."""
    package = function.__module__.partition(".")[0]
    return is_distutils(function) or package in ("setuptools", "Cython")


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
