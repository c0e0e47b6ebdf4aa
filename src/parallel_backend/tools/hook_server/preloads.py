"""What a backend's hooks import in any case, by what is known of the backend.

Only backends whose import was looked at stand here. Theirs starts no thread, makes no file and
keeps nothing that depends on the moment. setuptools' commands are made of what they find in
`distutils` when they are imported, and a ``setup.py`` may replace that first. So they are left to
hooks, above all ``setuptools.command.build_ext``, which looks for Cython once.
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from parallel_backend.tools.hook_server.messages import Request

__all__ = ["preload", "preloads"]

_SETUPTOOLS = (
    "setuptools.build_meta",
    "distutils.ccompiler",
    "distutils.sysconfig",
    "email.generator",
    "setuptools._scripts",
    "setuptools._shutil",
    "setuptools.archive_util",
    "setuptools.command._requirestxt",
    "setuptools.config._validate_pyproject",
    "setuptools.glob",
    "setuptools.modified",
    "setuptools.namespaces",
    "setuptools.unicode_utils",
    "tomllib",
    "unicodedata",
    *(
        f"distutils.command.{name}"
        for name in """
        bdist_rpm build build_clib build_ext build_py build_scripts check install install_lib
        install_scripts sdist
        """.split()
    ),
)
_BACKENDS = {
    "flit_core": ("flit_core.buildapi",),
    "hatchling": ("hatchling.build", "hatchling.builders.wheel", "hatchling.builders.sdist"),
    "parallel_backend": (
        "parallel_backend.hooks",
        "parallel_backend.build.session",
        "parallel_backend.jobserver",
        "parallel_backend.machine",
        "parallel_backend.hook_process.parent",
        "parallel_backend.timings",
        *_SETUPTOOLS,
    ),
    "setuptools": _SETUPTOOLS,
}


def preloads(request: Request) -> tuple[str, ...]:
    """Name the modules for a request's hook, that of its backend first."""
    # What an in-tree backend is, and what it imports when, is known only in its own process.
    # Where warnings are shown, those of an import belong to the hook.
    if request.backend_path or sys.warnoptions:
        return ()
    return _BACKENDS.get(request.backend.partition(":")[0].partition(".")[0], ())


def preload(names: tuple[str, ...]) -> None:
    """Import modules, those that there are. Where one fails it is as if none had been imported.

    It will fail in the hook's own process again, and be reported.
    """
    before, path, collects = {*sys.modules}, [*sys.path], gc.isenabled()
    gc.disable()  # hardly anything of a module is garbage
    try:
        for name in names:
            try:
                __import__(name)
            except ModuleNotFoundError:
                if name == names[0]:
                    raise
        _fill_caches()
    except BaseException:
        sys.path[:] = path
        for name in {*sys.modules} - before:
            del sys.modules[name]
    if collects:
        gc.enable()


def _fill_caches() -> None:
    """Have the patterns compiled that setuptools looks for packages with.

    They are the same for every project, and are kept by what compiles them.
    """
    from fnmatch import fnmatchcase

    discovery = sys.modules.get("setuptools.discovery")
    for finder in ("FlatLayoutModuleFinder", "FlatLayoutPackageFinder"):
        for pattern in getattr(getattr(discovery, finder, None), "DEFAULT_EXCLUDE", ()):
            fnmatchcase("", pattern)
