"""One look at an interpreter, and what has changed from one look to the next.

A look is a flat mapping: a key such as ``environ/PATH`` or ``setuptools.dist/Distribution.attrs``
to a text. Mutable containers stand for their identity and their contents, other objects for their
type and identity; a look keeps them all alive, so that an identity names one object for ever.
"""

from __future__ import annotations

import types
from collections.abc import Iterable

__all__ = ["ABSENT", "Look", "differences", "is_own"]

ABSENT = "(absent)"

_OWN = ("setuptools", "distutils", "_distutils_hack", "pkg_resources", "wheel")
_DEPTH = 3
_SCALARS = (str, bytes, int, float, complex, type(None), type(Ellipsis))


class Look:
    """One look at the interpreter."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        #: Those of which only the identity counts; their texts are made when they are asked for.
        self.objects: dict[str, object] = {}
        self._alive: list[object] = []

    def note(self, key: str, value: object) -> None:
        """Note a value by its contents, as deep as three containers."""
        self.seen[key] = self.described(value, _DEPTH)

    def tell(self, key: str, *values: object) -> None:
        """Note plain values, made for the look."""
        self.seen[key] = " ".join(map(repr, values))

    def identify(self, key: str, value: object) -> None:
        """Note which object it is, and nothing of what is in it."""
        self.objects[key] = value

    def described(self, value: object, depth: int) -> str:
        """A text that is another one if the value has changed or is another object."""
        if isinstance(value, _SCALARS):
            return f"{type(value).__name__} {value!r}"
        if isinstance(value, tuple):  # which object it is matters to nobody
            return f"({self._all(value, depth - 1)})"
        self._alive.append(value)
        kind = type(value)
        qualified = getattr(value, "__qualname__", kind.__qualname__)
        name = f"{kind.__module__}.{qualified}@{id(value):x}"
        return name + self._contents(value, depth) if depth > 0 else name

    def _contents(self, value: object, depth: int) -> str:
        if isinstance(value, dict):
            keys, values = list(value), list(value.values())
            return f"{{{self._all(keys, 1)}: {self._all(values, depth - 1)}}}"
        if isinstance(value, list):
            return f"[{self._all(value, depth - 1)}]"
        if isinstance(value, (set, frozenset)):
            return f"{{{', '.join(sorted(self.described(each, 1) for each in value))}}}"
        if isinstance(value, types.FunctionType):
            parts = (value.__code__, value.__defaults__, value.__kwdefaults__, vars(value))
            return f"({self._all(parts, 2)})"
        if is_own(type(value).__module__) and hasattr(value, "__dict__"):
            return f"({self.described(vars(value), depth - 1)})"
        return ""

    def _all(self, values: Iterable[object], depth: int) -> str:
        return ", ".join(self.described(each, depth) for each in values)


def differences(before: Look, after: Look) -> list[list[str]]:
    """What is not as it was: keys, each with its text before and after."""
    keys = {
        *(key for key, _ in before.seen.items() ^ after.seen.items()),
        *(before.objects.keys() ^ after.objects.keys()),
        *(
            key
            for key in before.objects.keys() & after.objects.keys()
            if _differ(before.objects[key], after.objects[key])
        ),
    }
    # Of a module that was not there before, or has gone, this alone is told.
    news = before.objects.keys() ^ after.objects.keys()
    modules = {key.removeprefix("modules/") for key in news if key.startswith("modules/")}
    return [
        [key, _text(before, key), _text(after, key)]
        for key in sorted(keys)
        if key.partition("/")[0] not in modules
    ]


def _differ(one: object, other: object) -> bool:
    if one is other:
        return False
    return type(one) is not type(other) or not isinstance(one, (*_SCALARS, tuple)) or one != other


def _text(taken: Look, key: str) -> str:
    if key in taken.seen:
        return taken.seen[key]
    return taken.described(taken.objects[key], 1) if key in taken.objects else ABSENT


def is_own(name: object) -> bool:
    """Whether a module, by its name, is one whose contents count: setuptools, or part of it."""
    return str(name).partition(".")[0] in _OWN
