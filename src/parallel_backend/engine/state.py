"""What building an extension leaves behind in memory, beside the extension itself.

A serial build shows it to the extensions that come later, and workers cannot: so it has to be seen.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

from parallel_backend.engine.origins import is_known

__all__ = ["attributes", "changed", "mark", "snapshot"]

# distutils notes here what it linked last. Nobody has reason to read the note of another extension.
_HARMLESS = "_built_objects"

_DEEPEST = 6

# What is told apart by being another one.
_WHOLE = (type, ModuleType, BuiltinFunctionType, MethodType)

Snapshot = dict[str, dict[Any, object]]


def snapshot(command: Any, extension: Any = None, *, compiler: Any = None) -> Snapshot:
    """What can be told apart of a ``build_ext`` command, its compilers, its distribution, the
    environment and the current folder.

    Where the command is of a project's own class, also of that class and its module, of the
    project's other modules, of the compilers' classes, and of all extensions but `extension`.
    `compiler`: one more compiler. The command may be None.
    """
    places: dict[str, dict[Any, Any]] = {"os.environ": _environ(), "os": {"getcwd()": os.getcwd()}}
    compilers = {"compiler": compiler}
    if command is not None:
        places["command"] = {**vars(command), _HARMLESS: None}
        places["distribution"] = vars(command.distribution)
        for name in ("compiler", "shlib_compiler"):
            compilers[name] = getattr(command, name, None)
    for name, thing in compilers.items():
        if hasattr(thing, "__dict__"):
            places[name] = _without_own_methods(thing)
    marks: Snapshot = {
        place: {name: mark(value) for name, value in values.items()}
        for place, values in places.items()
    }
    if command is not None and not is_known(type(command)):
        marks |= _of_project(command, extension, [c for c in compilers.values() if c is not None])
    return marks


def changed(before: Snapshot, after: Snapshot) -> list[str]:
    """The names of what differs, sorted."""
    missing = object()
    names = []
    for place in before.keys() & after.keys():
        old, new = before[place], after[place]
        if old != new:
            either = old.keys() | new.keys()
            differing = (n for n in either if old.get(n, missing) != new.get(n, missing))
            names += [f"{place}.{name}" for name in differing]
    return sorted(names)


def attributes(thing: object) -> dict[str, Any]:
    """An object's attributes, lists and dictionaries copied."""
    return {
        name: value.copy() if type(value) in (list, dict, set) else value
        for name, value in vars(thing).items()
    }


class _Same:
    """Equal to a mark of the very same object, which it keeps: no other can take its id."""

    __slots__ = ("thing",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.thing is self.thing


def mark(value: Any, depth: int = 0) -> object:  # noqa: PLR0911 - one for each kind
    """Something that is equal as long as what can be seen of the value is."""
    if value is None or type(value) in (str, bool, int):
        return value
    with contextlib.suppress(ValueError):  # which says that it is more than plain data
        return marshal.dumps(value, 2)  # version 2: without references, whose count is no content
    if isinstance(value, (list, tuple, dict)):
        return _mark_container(value, depth + 1)
    if isinstance(value, _WHOLE) or is_known(type(value)):
        return _Same(value)
    if depth >= _DEEPEST:
        return _Same(value) if hasattr(value, "__dict__") else type(value)
    if isinstance(value, FunctionType):
        cells = [mark(cell.cell_contents, depth + 1) for cell in _filled(value.__closure__)]
        return [_Same(value), cells, mark(vars(value), depth + 1)]
    return _mark_object(value, depth + 1)


def _mark_container(value: Any, depth: int) -> list[object]:
    items = list(value.values()) if isinstance(value, dict) else value
    keys = list(value) if isinstance(value, dict) else []
    if depth > _DEEPEST:
        return [type(value), len(items)]
    if items and is_known(type(items[0])):  # such as all extensions: enough that they are they
        return [type(value), *keys, *map(id, items)]
    return [type(value), *(mark(item, depth) for item in (*keys, *items))]


def _mark_object(value: Any, depth: int) -> object:
    if isinstance(value, GeneratorType):
        frame = value.gi_frame
        return [_Same(value), frame and [frame.f_lasti, mark(frame.f_locals, depth)]]
    if hasattr(value, "__next__"):
        with contextlib.suppress(Exception):  # which iterators tell how far they are, differs
            return [_Same(value), mark(value.__reduce__()[1:], depth)]
    if type(vars(value) if hasattr(value, "__dict__") else None) is dict:
        return [type(value), mark(vars(value), depth)]
    # What has no attributes tells by its repr what it is, such as list[int] or itertools.count(3).
    return [type(value), repr(value)[:1000]]


def _filled(closure: Any) -> list[Any]:
    filled = []
    for cell in closure or ():
        try:
            _ = cell.cell_contents
        except ValueError:
            continue
        filled.append(cell)
    return filled


def _environ() -> dict[Any, Any]:
    """`os.environ`; its own dictionary where it has one, which saves decoding it."""
    return dict(getattr(os.environ, "_data", os.environ))


def _without_own_methods(compiler: Any) -> dict[str, Any]:
    """A compiler's attributes, less methods of its class that were put back on the instance."""
    return {
        name: value
        for name, value in vars(compiler).items()
        if getattr(value, "__func__", None) is not getattr(type(compiler), name, compiler)
    }


def _of_project(command: Any, extension: Any, compilers: list[Any]) -> Snapshot:
    """The namespaces in which a project's own code may keep something."""
    others = (other for other in command.extensions if other is not extension)
    places: Snapshot = {
        f"extension {other.name!r}": {n: mark(v) for n, v in vars(other).items()}
        for other in others
    }
    for kind in {base for compiler in compilers for base in type(compiler).__mro__}:
        places[kind.__qualname__] = {n: _Same(v) for n, v in vars(kind).items() if not _is_note(n)}
    namespaces: dict[str, dict[str, Any]] = {}
    for base in type(command).__mro__:
        if base is not object and not is_known(base):
            namespaces[base.__qualname__] = dict(vars(base))
            for value in vars(base).values():
                if isinstance(value, FunctionType):
                    namespaces[f"{base.__qualname__}'s module"] = value.__globals__
    here = os.path.join(os.getcwd(), "")
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(here) and not _is_ours(name):
            namespaces[name] = vars(module)
    for place, names in namespaces.items():
        places[place] = {n: mark(v) for n, v in names.items() if not _is_note(n)}
    return places


def _is_ours(module: str) -> bool:
    """Whether a module is of this backend, which a project may carry in its own tree."""
    return module.partition(".")[0] == __name__.partition(".")[0]


def _is_note(name: str) -> bool:
    """Whether Python keeps a note by this name, such as ``__warningregistry__``."""
    return name.startswith("__") and name.endswith("__")
