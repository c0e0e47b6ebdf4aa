"""The names in modules and classes, as they were, so that what a hook patches can be put back."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

__all__ = [
    "collect_leftover_classes",
    "emptied_caches",
    "import_beforehand",
    "is_standard",
    "saved_namespaces",
]

# Made by the interpreter itself, or not to be set.
_OWN = frozenset(
    {
        "__abstractmethods__",
        "__annotate_func__",
        "__annotations__",
        "__annotations_cache__",
        "__builtins__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__static_attributes__",
        "__warningregistry__",
        "__weakref__",
        "_abc_impl",
    }
)
# Projects set flags of their own there, and change what is a mere cache of theirs.
_WHOLE = frozenset({"builtins", "distutils", "pkg_resources", "setuptools", "sysconfig"})
_WHOLE_CLASSES = frozenset({"distutils", "setuptools"})
# All hooks import those of setuptools anyway; projects patch the others.
_IMPORTED_BEFOREHAND = (
    "subprocess",
    "tarfile",
    "zipfile",
    "distutils.unixccompiler",
    *(f"distutils.command.{name}" for name in ("bdist", "build_ext", "build_scripts")),
    *(
        f"setuptools.command.{name}"
        for name in (
            "bdist_wheel",
            "build",
            "build_clib",
            "build_py",
            "dist_info",
            "editable_wheel",
            "egg_info",
            "install",
            "install_lib",
            "install_scripts",
            "sdist",
        )
    ),
)
_MISSING: Any = object()
_DESCRIPTORS = (classmethod, property, staticmethod)
_DEPTH = 3


def import_beforehand() -> None:
    """Import what hooks import in any case: only what is there can be put back."""
    for name in _IMPORTED_BEFOREHAND:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def saved_namespaces() -> Callable[[], None]:
    """Take what modules and classes hold; the function returned puts it back.

    All names of setuptools and distutils, with the contents of lists, dicts and sets. Of the
    standard library, functions and classes alone: other values there are its own business.
    """
    for name in _IMPORTED_BEFOREHAND:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    taken: list[tuple[Any, dict[str, Any], bool]] = []
    contents: dict[int, Callable[[], None]] = {}
    seen: set[int] = set()
    for module in list(sys.modules.values()):
        whole = _is_whole(module)
        if not whole and not is_standard(module):
            continue
        for owner in (module, *_classes(module)):
            if id(owner) not in seen:
                seen.add(id(owner))
                names = dict(vars(owner))
                taken.append((owner, names, whole))
                for value in names.values() if whole else ():
                    _take_contents(value, contents)

    def put_back() -> None:
        for owner, names, whole in taken:
            _put_back_names(owner, names, whole=whole)
        for put_back_one in contents.values():
            put_back_one()

    return put_back


def emptied_caches() -> Callable[[], None]:
    """The function returned empties what setuptools and distutils have cached.

    What was true for one project may be wrong for the next, such as that a folder is there.
    """

    def empty() -> None:
        for module in filter(_is_whole, list(sys.modules.values())):
            for owner in (module, *_classes(module)):
                _empty_caches(vars(owner))

    return empty


def collect_leftover_classes() -> None:
    """Let go of classes whose modules are forgotten: distutils finds compilers by subclasses."""
    for module in filter(_is_whole, list(sys.modules.values())):
        for kind in _classes(module):
            below: list[type] = type.__subclasses__(kind)
            if any(each.__module__ not in sys.modules for each in below):
                gc.collect()
                return


def is_standard(module: ModuleType) -> bool:
    """Whether a module is the standard library's own, and not one of its name."""
    if _top(getattr(module, "__name__", None)) not in sys.stdlib_module_names:
        return False
    file = getattr(module, "__file__", None)
    return file is None or str(file).startswith(_standard_folders())


def _standard_folders() -> tuple[str, ...]:
    # What the two are in: os is never elsewhere, and lib-dynload is beside it, or below.
    folders = {os.path.dirname(os.__file__), os.path.join(sys.base_exec_prefix, "lib")}
    return tuple(os.path.join(folder, "") for folder in folders)


def _is_whole(module: ModuleType) -> bool:
    return _top(getattr(module, "__name__", None)) in _WHOLE


def _top(name: object) -> str:
    return name.partition(".")[0] if isinstance(name, str) else ""


def _classes(module: ModuleType) -> Iterator[type]:
    for value in list(vars(module).values()):
        # Also the classes that setuptools has put its own in the place of.
        if isinstance(value, type) and (
            value.__module__ == module.__name__ or _top(value.__module__) in _WHOLE_CLASSES
        ):
            yield value


def _take_contents(
    value: Any, taken: dict[int, Callable[[], None]], *, depth: int = _DEPTH
) -> None:
    if type(value) not in (dict, list, set) or id(value) in taken or not depth:
        return
    copy = value.copy()

    def put_back() -> None:
        if type(value) is list:
            if len(value) != len(copy) or any(map(_is_not, value, copy)):
                value[:] = copy
        elif type(value) is set:
            if value != copy:
                value.clear()
                value.update(copy)
        elif list(value) != list(copy) or any(map(_is_not, value.values(), copy.values())):
            value.clear()
            value.update(copy)

    taken[id(value)] = put_back
    for inner in copy.values() if type(value) is dict else copy:
        _take_contents(inner, taken, depth=depth - 1)


def _is_not(one: object, other: object) -> bool:
    return one is not other


def _put_back_names(owner: Any, names: dict[str, Any], *, whole: bool) -> None:
    now = dict(vars(owner))
    for name, value in names.items():
        differs = now.get(name, _MISSING) is not value and name not in _OWN
        if differs and (whole or callable(value) or isinstance(value, _DESCRIPTORS)):
            _set(owner, name, value)
    for name in now.keys() - names.keys() - _OWN if whole else ():
        with contextlib.suppress(AttributeError, TypeError):
            delattr(owner, name)


def _set(owner: Any, name: str, value: Any) -> None:
    with contextlib.suppress(AttributeError, TypeError):
        setattr(owner, name, value)


def _empty_caches(names: Mapping[str, Any]) -> None:
    for value in names.values():
        function = getattr(value, "__func__", value)
        with contextlib.suppress(AttributeError, TypeError):
            function.cache_clear()
    repeat = names.get("SkipRepeatAbsolutePaths")
    if repeat is not None:
        repeat.instance.clear()
