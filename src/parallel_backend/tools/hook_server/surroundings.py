"""The environment that the server was started with, what the interpreter's start made of it, and
which of its variables a warm interpreter depends on."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Environ = os._Environ[str]
else:
    Environ = type(os.environ)

__all__ = ["Reads", "Surroundings", "set_environment", "thread_count"]

# What the loader, the C library, the interpreter and the files that it runs at its start (``site``,
# ``*.pth``) read, of which nothing can be seen afterwards.
_PREFIXES = (
    "COVERAGE_",
    "DYLD_",
    "LC_",
    "LD_",
    "MALLOC_",
    "OPENSSL_",
    "PYTHON",
    "SETUPTOOLS_",
    "_PYTHON",
)
_NAMES = frozenset(
    ("APPDATA", "GLIBC_TUNABLES", "HOME", "LANG", "LANGUAGE", "USERPROFILE", "__PYVENV_LAUNCHER__")
)


class Surroundings:
    """What this process was started in.

    `asked` is the environment as it was asked for, `base` that of requests which name none.
    """

    def __init__(
        self,
        *,
        asked: dict[str, str] | None = None,
        base: dict[str, str] | None = None,
    ) -> None:
        self.asked = _initial_environment() if asked is None else asked
        self.base = self.asked if base is None else base
        try:
            self.folder = os.getcwd()
        except OSError:  # it is gone
            self.folder = ""
        names = {*self.asked, *os.environ}
        #: What the start changed, as the start of a fresh process would: LC_CTYPE (PEP 538), or
        #: whatever a sitecustomize.py sets.
        self.changes = {
            name: os.environ.get(name)
            for name in names
            if self.asked.get(name) != os.environ.get(name)
        }

    def of_hook(self, environment: dict[str, str]) -> dict[str, str]:
        """What a fresh interpreter would have made of this environment."""
        whole = {**environment, **self.changes}
        return {name: value for name, value in whole.items() if value is not None}

    def suit(self, environment: Mapping[str, str], source: str) -> bool:
        """Whether an interpreter started for this request would have become what this one is."""
        if _of_interpreter(environment) != _of_interpreter(self.asked):
            return False
        return self.folder_for(environment, source) == self.folder_for(self.asked, self.folder)

    def folder_for(self, environment: Mapping[str, str], source: str) -> str:
        """Where the interpreter must be started; empty: anywhere.

        A path in PYTHONPATH that is not absolute is taken from the current folder, once.
        """
        path = environment.get("PYTHONPATH", "")
        relative = path and not all(map(os.path.isabs, path.split(os.pathsep)))
        if not relative or sys.flags.ignore_environment:
            return ""
        return os.path.realpath(source)


class Reads:
    """Notes which variables are read of `os.environ` within its ``with`` block."""

    def __init__(self) -> None:
        #: Each variable with its value, None where it is not set.
        self.values: dict[str, str | None] = {}
        #: Somebody has looked through all of them.
        self.all = False

    def __enter__(self) -> None:
        reads = self

        class Recorder(Environ):
            def __getitem__(self, name: str) -> str:
                reads.values[name] = None
                reads.values[name] = value = super().__getitem__(name)
                return value

            def __iter__(self) -> Iterator[str]:
                reads.all = True
                return super().__iter__()

        # Not another object: many modules hold this one.
        os.environ.__class__ = Recorder

    def __exit__(self, *_: object) -> None:
        os.environ.__class__ = Environ


def set_environment(environment: Mapping[str, str]) -> None:
    """Make `os.environ` this, in place."""
    for name in [*os.environ]:
        if name not in environment:
            del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def thread_count() -> int:
    """How many threads this process has, those of libraries included."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # pragma: no cover - Linux has it
        threading = sys.modules.get("threading")
        return 1 if threading is None else int(threading.active_count())


def _initial_environment() -> dict[str, str]:
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:  # pragma: no cover - Linux has it
        return dict(os.environ)
    environment: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition(b"=")
        if name and equals:
            environment.setdefault(os.fsdecode(name), os.fsdecode(value))
    return environment


def _of_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name in _NAMES or name.startswith(_PREFIXES)
    }
