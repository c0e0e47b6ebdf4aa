"""What building an extension leaves behind in memory, beside the extension itself.

A serial build shows it to the extensions that come later, and workers cannot: so it has to be seen.
"""

from __future__ import annotations

import marshal
import os
from types import FunctionType
from typing import Any

__all__ = ["attributes", "changed", "mark", "snapshot"]

# distutils notes here what it linked last. Nobody has reason to read the note of another extension.
_HARMLESS = "_built_objects"

_OURS = ("setuptools", "distutils", "_distutils_hack", "Cython", "parallel_backend")


def snapshot(command: Any, compiler: Any = None) -> dict[str, dict[str, object]]:
    """What can be told apart of a ``build_ext`` command, its compilers, its distribution, the
    classes and modules of the project that it comes from, the environment and the current folder.

    `compiler`: one more compiler. The command may be None.
    """
    places: dict[str, dict[Any, Any]] = {"os.environ": _environ(), "os": {"getcwd()": os.getcwd()}}
    compilers = {"compiler": compiler}
    if command is not None:
        places["command"] = {**vars(command), _HARMLESS: None}
        places["distribution"] = vars(command.distribution)
        places |= _places(type(command))
        for name in ("compiler", "shlib_compiler"):
            compilers[name] = getattr(command, name, None)
    for name, thing in compilers.items():
        if hasattr(thing, "__dict__"):
            places[name] = _without_own_methods(thing)
    return {
        place: {name: mark(value) for name, value in values.items()}
        for place, values in places.items()
    }


def changed(before: dict[str, dict[str, object]], after: dict[str, dict[str, object]]) -> list[str]:
    """The names of what differs, sorted."""
    missing = object()
    names = []
    for place in before.keys() | after.keys():
        old, new = before.get(place, {}), after.get(place, {})
        if old != new:
            differing = (
                n for n in old.keys() | new.keys() if old.get(n, missing) != new.get(n, missing)
            )
            names += [f"{place}.{name}" for name in differing]
    return sorted(names)


def attributes(thing: object) -> dict[str, Any]:
    """An object's attributes, lists and dictionaries copied."""
    return {
        name: value.copy() if type(value) in (list, dict, set) else value
        for name, value in vars(thing).items()
    }


def mark(value: Any) -> object:
    """For plain data something that is equal as long as the value is; else its identity."""
    if value is None or type(value) in (str, bool, int):
        return value
    try:
        return marshal.dumps(value, 2)  # version 2: without references, whose count is no content
    except ValueError:
        pass
    if isinstance(value, FunctionType) and value.__closure__:
        return (id(value), *(_mark_cell(cell) for cell in value.__closure__))
    if isinstance(value, (list, tuple, dict, set)):
        return (id(value), *map(id, value))
    return id(value)


def _environ() -> dict[Any, Any]:
    """`os.environ`; its own dictionary where it has one, which saves decoding it."""
    return dict(getattr(os.environ, "_data", os.environ))


def _mark_cell(cell: Any) -> object:
    try:
        return marshal.dumps(cell.cell_contents, 2)
    except ValueError:  # empty, or no plain data
        return id(cell)


def _without_own_methods(compiler: Any) -> dict[str, Any]:
    """A compiler's attributes, less methods of its class that were put back on the instance."""
    return {
        name: value
        for name, value in vars(compiler).items()
        if getattr(value, "__func__", None) is not getattr(type(compiler), name, compiler)
    }


def _places(kind: type) -> dict[str, dict[str, Any]]:
    """The namespaces in which a project's own ``build_ext`` may keep something."""
    places: dict[str, dict[str, Any]] = {}
    for base in kind.__mro__[:-1]:
        if base.__module__.partition(".")[0] in _OURS:
            continue
        places[base.__qualname__] = dict(vars(base))
        for value in vars(base).values():
            if isinstance(value, FunctionType):
                places[f"{base.__qualname__} module"] = value.__globals__
    return places
