"""Is it setuptools' own code? Known by what public names stand for, never by modules' names."""

from __future__ import annotations

import functools
import sys
from typing import Any

__all__ = ["compiles_by_one_command", "is_stock"]


@functools.cache
def _packages() -> frozenset[str]:
    """The packages in which the classes behind distutils' public names are defined."""
    import distutils.ccompiler
    import distutils.command.build_clib
    import distutils.command.build_ext

    import setuptools.modified

    kinds: tuple[Any, ...] = (
        setuptools.modified.newer_group,
        distutils.ccompiler.CCompiler,
        distutils.command.build_ext.build_ext,
        distutils.command.build_clib.build_clib,
    )
    found = set()
    for kind in kinds:
        names = kind.__module__.split(".")
        # setuptools._distutils.compilers.C.base: what belongs together lies in the first two.
        found.add(".".join(names[:2]) if len(names) > 2 else names[0])
    return frozenset(found)


def is_stock(function: Any) -> bool:
    """Whether a function is distutils' own, and not a project's."""
    module = getattr(function, "__module__", None) or ""
    return any(module == name or module.startswith(f"{name}.") for name in _packages())


def compiles_by_one_command(compiler: Any) -> bool:
    """Whether compiling a source is distutils' own doing, from the method down to the process.

    Otherwise what runs for one source is not known before it runs.
    """
    kind = type(compiler)
    runner = "call" if hasattr(kind, "call") else "spawn"
    return sys.platform != "win32" and all(
        is_stock(getattr(kind, name))
        and getattr(getattr(compiler, name), "__func__", None) is getattr(kind, name)
        for name in ("_compile", "_setup_compile", "_get_cc_args", "object_filenames", runner)
    )
