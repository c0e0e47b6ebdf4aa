"""A process that hooks are forked from, and whether a fresh interpreter would become the same."""

from __future__ import annotations

import os
import sys
import time

from parallel_backend.tools.hook_server.preloads import preload, preloads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from parallel_backend.tools.hook_server.messages import Request

    Stamp = tuple[int, ...] | None
    Names = frozenset[str] | None

__all__ = ["Template"]

# Nanoseconds that an interpreter takes at most until its first statement, on a machine at ease, and
# that the clocks of files are rough by.
_START = 40_000_000
_ROUGH = 10_000_000


class Template:
    """This process, which has just been started."""

    def __init__(self) -> None:
        self._unsure_from = time.time_ns() - _START - _ROUGH
        self._loaded: tuple[str, ...] | None = None
        #: What the interpreter and the imports looked at, as it was then.
        self._directories: dict[str, Names] = {}
        self._files: dict[str, Stamp] = {}
        #: Some of it may have changed after it was read.
        self._late = False

    def suits(self, request: Request) -> bool:
        """Tell whether a hook imports what is imported here. The first one decides what that is."""
        names = preloads(request)
        if self._loaded is None:
            self._loaded = names
            if names:
                preload(names)
            self._watch()
        return names == self._loaded

    def is_unchanged(self) -> bool:
        """Tell whether an interpreter that starts now would find what this one found."""
        return (
            not self._late
            and all(_names(path) == names for path, names in self._directories.items())
            and all(_stamp(path) == stamp for path, stamp in self._files.items())
        )

    def _watch(self) -> None:
        searched = {*sys.path, *_site_directories()}
        packages: set[str] = set()
        files = {sys.executable, os.path.join(sys.prefix, "pyvenv.cfg")}
        for module in [*sys.modules.values()]:
            # Not getattr: a module of another kind may import something when it is asked.
            inside = getattr(module, "__dict__", {})
            file, path = inside.get("__file__"), inside.get("__path__")
            if isinstance(file, str):
                files.add(file)
            if isinstance(path, list):
                packages.update(path)
        self._directories = {path: _names(path) for path in searched | packages}
        for path in searched:
            names = self._directories[path] or ()
            files.update(os.path.join(path, name) for name in names if name.endswith(".pth"))
        self._files = {path: _stamp(path) for path in files}
        # What is of the future only has a wrong time.
        late = range(self._unsure_from, time.time_ns() + _ROUGH)
        self._late = any(
            stamp is not None and stamp[-1] in late
            for stamp in (*self._files.values(), *map(_stamp, searched))
        )


def _site_directories() -> list[str]:
    """List where packages may be installed one day, though nothing is there yet."""
    site = sys.modules.get("site")
    if site is None:
        return []
    found: list[str] = site.getsitepackages()
    return [*found, site.getusersitepackages()] if site.ENABLE_USER_SITE else found


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _names(path: str) -> Names:
    """Tell what is in a directory; of a file, such as a zip archive, what identifies it.

    Not a directory's time: hooks write .pyc files. What they write has a directory of its own.
    """
    try:
        names = os.listdir(path)
    except NotADirectoryError:
        return frozenset(map(str, _stamp(path) or ()))
    except OSError:
        return None
    return frozenset(names) - {"__pycache__"}
