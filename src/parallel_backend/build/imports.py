"""Told when a module is imported."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["watching"]


@contextlib.contextmanager
def watching(name: str, seen: Callable[[ModuleType], None]) -> Iterator[None]:
    """Call `seen` with a module once it is imported, or at once if it is, in a ``with`` block."""
    if name in sys.modules:
        seen(sys.modules[name])
    watch = _Watch(name, seen)
    sys.meta_path.insert(0, watch)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(watch)


class _Watch:
    """A finder that finds nothing itself, and puts something to do behind another one's loader."""

    def __init__(self, name: str, seen: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._seen = seen

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        finders = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(name, path, target) for finder in finders)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            loader: Any = _Loader(spec.loader, self._seen)
            spec.loader = loader
        return spec


class _Loader:
    """Another loader, and something to do after it."""

    def __init__(self, loader: Any, seen: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._seen(module)
