"""What the server has imported for its hooks, and whether a fresh interpreter would find the same.

What is read of the environment meanwhile is noted.
"""

from __future__ import annotations

import gc
import os
import sys

from parallel_backend.tools.hook_server.preloads import (
    UNWANTED,
    fill_caches,
    has_plugins,
    imported_by_hooks,
    imported_by_setuptools,
    top_level,
)
from parallel_backend.tools.hook_server.surroundings import (
    Reads,
    Surroundings,
    set_environment,
    thread_count,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from parallel_backend.tools.hook_server.messages import Request

    Stamp = tuple[int, ...] | None
    Names = frozenset[str] | None

__all__ = ["Warmth"]

# Nanoseconds that the clocks of files are rough by.
_ROUGH = 10_000_000


class Warmth:
    """`began`: nanoseconds since the epoch until this interpreter began to start.

    `unfit`: backends (their top-level packages) that are not to be imported beforehand.
    `commands`: those of setuptools may be.
    """

    def __init__(
        self, surroundings: Surroundings, *, began: int, unfit: list[str], commands: bool
    ) -> None:
        #: Nothing changed while it was read.
        self.sure = True
        self._surroundings = surroundings
        self._unsure_from = began - _ROUGH
        self._unfit = [*unfit]
        self._commands = commands
        self._plugins: bool | None = None
        self._loaded: tuple[str, ...] = ()
        #: The last request, and what it wants.
        self._asked: tuple[Request, tuple[str, ...]] | None = None
        self._reads = Reads()
        self._folders: dict[str, Names] = {}
        self._packages: dict[str, tuple[Stamp, Names]] = {}
        self._files: dict[str, Stamp] = {}
        self._watch_start()

    def suits(self, request: Request, environment: dict[str, str]) -> bool:
        """Whether a hook may run in a fork of this process as if in a fresh one."""
        if not self._surroundings.suit(environment, request.source):
            return False
        if not self.has_only_what_is_wanted(request):
            return False
        seen = self._surroundings.of_hook(environment)
        if any(seen.get(name) != value for name, value in self._reads.values.items()):
            return False
        return self.sure and self._is_unchanged()

    def has_only_what_is_wanted(self, request: Request) -> bool:
        """Whether the request's hook would have all that was imported beforehand."""
        return {*self._loaded} <= {*self._wanted(request)}

    def preload(self, request: Request, environment: dict[str, str]) -> str:
        """Import what the request's hook would import in any case, in its environment.

        Returns the backend that turned out to be unfit for it, and has spoilt this process; or an
        empty string.
        """
        names = self._wanted(request)
        if names == self._loaded:
            return ""
        set_environment(self._surroundings.of_hook(environment))
        top = top_level(request)
        before = [*sys.path, *sys.modules]
        try:
            with self._reads:
                _import(names)
                fill_caches()
        except BaseException:
            self._unfit.append(top)
            return "" if [*sys.path, *sys.modules] == before else top
        self._loaded = names
        self._watch_imported()
        spoilt = self._reads.all or any(name in sys.modules for name in UNWANTED)
        return top if spoilt or thread_count() > 1 else ""

    def _wanted(self, request: Request) -> tuple[str, ...]:
        if self._asked is not None and self._asked[0] is request:
            return self._asked[1]
        self._asked = (request, self._find_wanted(request))
        return self._asked[1]

    def _find_wanted(self, request: Request) -> tuple[str, ...]:
        if top_level(request) in self._unfit:
            return ()
        names = imported_by_hooks(request)
        more = imported_by_setuptools(request) if names and self._commands else ()
        if more and self._plugins is None:
            self._plugins = has_plugins(sys.path)
        return names if self._plugins else names + more

    # --- what is watched

    def _watch_start(self) -> None:
        """What the interpreter has looked at, or for, when it started."""
        for folder in {*sys.path, *_site_folders()}:
            self._watch_folder(folder)
        configuration = os.path.join(sys.prefix, "pyvenv.cfg")
        for file in (configuration, sys.executable, *self._path_files()):
            self._watch_file(file)
        self._watch_modules()

    def _watch_imported(self) -> None:
        for folder in sys.path:
            if folder not in self._folders:
                self._folders[folder] = _names(folder)
        self._watch_modules()

    def _watch_modules(self) -> None:
        for module in [*sys.modules.values()]:
            # Not getattr: a module of another kind may import something when it is asked.
            inside = getattr(module, "__dict__", {})
            file, path = inside.get("__file__"), inside.get("__path__")
            if isinstance(file, str):
                self._watch_file(file)
            for folder in path if isinstance(path, list) else ():
                if folder not in self._packages:
                    self._packages[folder] = (_stamp(folder), _names(folder))

    def _watch_folder(self, folder: str) -> None:
        stamp = _stamp(folder)
        self._folders[folder] = _names(folder)
        self.sure = self.sure and not self._is_late(stamp)

    def _watch_file(self, file: str) -> None:
        if file not in self._files:
            self._files[file] = stamp = _stamp(file)
            self.sure = self.sure and not self._is_late(stamp)

    def _is_late(self, stamp: Stamp) -> bool:
        """Whether it may have changed after it was read. (Not if it is of the future.)"""
        import time

        return stamp is not None and self._unsure_from <= stamp[-1] <= time.time_ns() + _ROUGH

    def _path_files(self) -> Iterator[str]:
        for folder, names in self._folders.items():
            for name in names or ():
                if name.endswith(".pth"):
                    yield os.path.join(folder, name)

    def _is_unchanged(self) -> bool:
        for folder, names in self._folders.items():
            if _names(folder) != names:
                return False
        for folder, (stamp, names) in self._packages.items():
            now = _stamp(folder)
            if now != stamp and _names(folder) != names:
                return False
        return all(_stamp(file) == stamp for file, stamp in self._files.items())


def _import(names: tuple[str, ...]) -> None:
    """Import the first, and of the others those that there are."""
    enabled = gc.isenabled()
    gc.disable()  # hardly anything of a module is garbage
    try:
        for name in names:
            try:
                __import__(name)
            except ModuleNotFoundError:
                if name == names[0]:
                    raise
    finally:
        if enabled:
            gc.enable()


def _site_folders() -> list[str]:
    """Where packages may be installed one day, though nothing is there yet."""
    site = sys.modules.get("site")
    if site is None:
        return []
    folders: list[str] = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return folders


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _names(folder: str) -> Names:
    """What is in a folder; for a file, such as a zip archive, what identifies it.

    Not its time: hooks write .pyc files. What they write stands in a folder of its own.
    """
    try:
        names = os.listdir(folder or os.curdir)
    except NotADirectoryError:
        return frozenset(map(str, _stamp(folder) or ()))
    except OSError:
        return None
    return frozenset(names) - {"__pycache__"}
