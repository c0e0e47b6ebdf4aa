"""What a backend's hooks import in any case, by what is known of the backend and the project.

Only backends whose import was looked at stand here. Theirs starts no thread, makes no file and
keeps nothing that depends on the moment. It must not matter either if it comes before what a
project's own code does: so commands, which are made of what they find in `distutils` when they are
imported, are for projects that have no code of their own to run in a build.

Never ``setuptools.command.build_ext``: it looks for Cython once, when it is imported.
"""

from __future__ import annotations

import os
import sys

from parallel_backend.tools.hook_server.projects import is_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from parallel_backend.tools.hook_server.messages import Request

__all__ = [
    "UNWANTED",
    "fill_caches",
    "has_plugins",
    "imported_by_hooks",
    "imported_by_setuptools",
    "top_level",
]

#: What must not be imported beforehand, by whatever way it comes.
UNWANTED = ("setuptools.command.build_ext", "Cython")

_SETUPTOOLS = (
    "setuptools.build_meta",
    # Checks and parses; nothing of it is made of what stands elsewhere.
    "email.generator",
    "setuptools.config._validate_pyproject",
    "tomllib",
    "unicodedata",
)
_BACKENDS = {
    "flit_core": ("flit_core.buildapi",),
    "hatchling": ("hatchling.build", "hatchling.builders.wheel", "hatchling.builders.sdist"),
    "parallel_backend": (
        "parallel_backend",
        "parallel_backend.build.session",
        "parallel_backend.jobserver",
        "parallel_backend.machine",
        "parallel_backend.process_state.caller",
        "parallel_backend.timings",
        *_SETUPTOOLS,
    ),
    "setuptools": _SETUPTOOLS,
}
# All that setuptools looks through where there is a pyproject.toml.
_COMMANDS = tuple(
    f"setuptools.command.{name}"
    for name in """
    alias bdist_egg bdist_rpm bdist_wheel build build_clib build_py develop dist_info easy_install
    editable_wheel egg_info install install_egg_info install_lib install_scripts rotate saveopts
    sdist setopt
    """.split()
)
_WITH_COMMANDS = ("parallel_backend", "setuptools.build_meta")

# In an entry_points.txt, what makes setuptools run code of an installed package.
_PLUGIN = (b"[distutils.", b"[setuptools.")
_NO_PLUGINS = ("setuptools-", "wheel-")


def imported_by_hooks(request: Request) -> tuple[str, ...]:
    """What hooks of the request's backend import, whatever the project is."""
    # What an in-tree backend is, and what it imports when, is known only in its own process.
    # Where warnings are shown, those of an import belong to the hook.
    if request.backend_path or sys.warnoptions:
        return ()
    return _BACKENDS.get(top_level(request), ())


def imported_by_setuptools(request: Request) -> tuple[str, ...]:
    """What else they import where no code but that of setuptools runs before: its commands."""
    if request.backend not in _WITH_COMMANDS or not is_plain(request.source):
        return ()
    return _COMMANDS


def fill_caches() -> None:
    """Have the patterns compiled that setuptools looks for packages with.

    They are the same for every project, and are kept by what compiles them.
    """
    from fnmatch import fnmatchcase

    discovery = sys.modules.get("setuptools.discovery")
    for finder in ("FlatLayoutModuleFinder", "FlatLayoutPackageFinder"):
        for pattern in getattr(getattr(discovery, finder, None), "DEFAULT_EXCLUDE", ()):
            fnmatchcase("", pattern)


def top_level(request: Request) -> str:
    """The package that a request's backend is in."""
    return request.backend.partition(":")[0].partition(".")[0]


def has_plugins(folders: Iterable[str]) -> bool:
    """Whether setuptools may run code of an installed package, perhaps before a command's.

    `folders`: where packages are installed.
    """
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.endswith((".egg", ".egg-link")):
                return True
            if name.endswith((".dist-info", ".egg-info")) and not name.startswith(_NO_PLUGINS):
                try:
                    with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
                        text = file.read()
                except OSError:
                    continue
                if any(group in text for group in _PLUGIN):
                    return True
    return False
