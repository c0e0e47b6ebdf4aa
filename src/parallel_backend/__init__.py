"""A build backend that builds setuptools projects on every core they may use.

The functions here are the hooks of PEP 517 and PEP 660. They take exactly the standard's
arguments, and `setuptools.build_meta` decides what is built. `legacy` is a second backend object,
named `parallel_backend:legacy` in ``pyproject.toml``, over `setuptools.build_meta:__legacy__`.

This file alone also runs on older Pythons: a copy in a project's tree is imported by whichever
Python builds the project.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 # pragma: no cover - only an older Python gets there
    # SystemExit: a frontend shows a traceback of an ImportError.
    raise SystemExit(
        "parallel-backend: error: building with parallel_backend needs Python 3.11 or newer, and "
        f"this is Python {sys.version.split()[0]}; build with a newer one, or install a wheel"
    )

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from parallel_backend.hooks import Backend

    _backend = Backend()
    legacy = Backend(legacy=True)

    get_requires_for_build_wheel = _backend.get_requires_for_build_wheel
    get_requires_for_build_sdist = _backend.get_requires_for_build_sdist
    get_requires_for_build_editable = _backend.get_requires_for_build_editable
    prepare_metadata_for_build_wheel = _backend.prepare_metadata_for_build_wheel
    prepare_metadata_for_build_editable = _backend.prepare_metadata_for_build_editable
    build_wheel = _backend.build_wheel
    build_sdist = _backend.build_sdist
    build_editable = _backend.build_editable

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "legacy",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]


def __getattr__(name: str) -> Any:
    """Import setuptools with the first hook: the command line does not wait for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from parallel_backend.hooks import Backend

    backend = Backend()
    hooks = {hook: getattr(backend, hook) for hook in __all__ if hook != "legacy"}
    globals().update(hooks, legacy=Backend(legacy=True))
    return globals()[name]
