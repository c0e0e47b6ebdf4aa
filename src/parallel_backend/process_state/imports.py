"""What a hook has imported, forgotten again, so that the next hook imports what is there then."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from types import ModuleType
from typing import Any

from parallel_backend.process_state.namespaces import (
    collect_leftover_classes,
    import_beforehand,
    is_standard,
)

__all__ = ["saved_imports", "stays"]

# Packages whose modules hold on to each other's classes, and to whose classes others hold on.
_KEPT = frozenset({"distutils", "setuptools", __name__.partition(".")[0]})
# The module that looks for Cython once, at its import. None of the above imports it.
_LOOKS_FOR_CYTHON = "setuptools.command.build_ext"

Modules = dict[str, ModuleType]


class _Package:
    """A package with its parts, and its files as they were."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self._files = self._look()

    def has_changed(self) -> bool:
        return self._look() != self._files

    def _look(self) -> list[tuple[int, int] | None]:
        found: list[tuple[int, int] | None] = []
        for module in self.modules.values():
            try:
                status = os.stat(getattr(module, "__file__", None) or os.devnull)
                found.append((status.st_mtime_ns, status.st_size))
            except OSError:
                found.append(None)
        return found


# Packages with extension modules, by their name, to be imported again as they are. An extension
# module keeps its state in C and cannot be made anew: numpy refuses, and Cython's compiled modules
# would go on with the former objects of its Python modules.
_set_aside: dict[str, _Package] = {}


def saved_imports() -> Callable[[], None]:
    """Take the imported modules and the ways to import; the function returned puts them back.

    New modules of the standard library, of setuptools and of this package stay.
    """
    # A frontend may have installed something since this process looked last.
    importlib.invalidate_caches()
    modules = dict(sys.modules)
    importers = set(sys.path_importer_cache)
    import_beforehand()
    modules |= {name: module for name, module in sys.modules.items() if _is_kept(name, module)}
    ways: list[tuple[str, Any, Any]] = [
        (name, getattr(sys, name), list(getattr(sys, name)))
        for name in ("path", "meta_path", "path_hooks")
    ]
    sys.meta_path.insert(0, _SetAside())

    def put_back() -> None:
        for name, value, items in ways:
            value[:] = items
            setattr(sys, name, value)
        for folder in sys.path_importer_cache.keys() - importers:
            sys.path_importer_cache.pop(folder, None)
        _forget(modules)
        collect_leftover_classes()
        importlib.invalidate_caches()

    return put_back


def _forget(modules: Modules) -> None:
    # In place: whoever holds sys.modules itself goes on with it.
    new = {
        name: module
        for name, module in sys.modules.items()
        if modules.get(name) is not module
        and not _is_kept(name, module)
        and not _is_part(name, modules)
    }
    for name in new:
        del sys.modules[name]
    for name, module in modules.items():
        if sys.modules.get(name) is not module:
            sys.modules[name] = module
    for name, module in new.items():
        package = name.partition(".")[0]
        if package not in modules and _is_extension(module):
            parts = {part: new[part] for part in new if part.partition(".")[0] == package}
            _set_aside[package] = _Package(parts)


def _is_part(name: str, modules: Modules) -> bool:
    """Whether a module is part of a package that was there before, and that others go on using."""
    package, dot, _ = name.partition(".")
    return bool(dot) and package in modules and name != _LOOKS_FOR_CYTHON


def stays(name: str) -> bool:
    """Whether a module that is imported now will not be made anew for the next hook."""
    package = name.partition(".")[0]
    parts = [m for part, m in list(sys.modules.items()) if part.partition(".")[0] == package]
    return name in sys.modules and (
        _is_kept(name, sys.modules[name]) or any(map(_is_extension, parts))
    )


def _is_kept(name: str, module: ModuleType) -> bool:
    # Of another name: it is a package's own name for it, such as cython.dataclasses.
    if getattr(module, "__name__", None) == name and is_standard(module):
        return True
    return name.partition(".")[0] in _KEPT and name != _LOOKS_FOR_CYTHON


def _is_extension(module: ModuleType) -> bool:
    return str(getattr(module, "__file__", None)).endswith(tuple(EXTENSION_SUFFIXES))


class _SetAside(MetaPathFinder):
    """Finds a package that was set aside, if what is imported now would be the very same."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - a package is never inside of another
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        package = _set_aside.get(name)
        if package is None or name not in package.modules:
            return None
        spec = next(filter(None, (_ask(finder, name) for finder in self._others())), None)
        before = package.modules[name].__spec__
        if spec is None or before is None or spec.origin is None or spec.origin != before.origin:
            return None
        if package.has_changed():
            return None
        return ModuleSpec(
            name,
            _Again(package.modules),
            origin=before.origin,
            is_package=before.submodule_search_locations is not None,
        )

    def _others(self) -> list[Any]:
        return [finder for finder in sys.meta_path if finder is not self]


def _ask(finder: Any, name: str) -> ModuleSpec | None:
    find: Callable[..., ModuleSpec | None] | None = getattr(finder, "find_spec", None)
    return find(name, None) if find else None


class _Again(Loader):
    def __init__(self, modules: Modules) -> None:
        self._modules = modules

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = self._modules[spec.name]
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
        sys.modules.update(self._modules)
