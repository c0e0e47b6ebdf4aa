"""A build backend that builds setuptools projects on every core they may use.

The functions here are the hooks of PEP 517 and PEP 660. They take exactly the standard's
arguments, and `setuptools.build_meta` decides what is built. `legacy` is a second backend object,
named `parallel_backend:legacy` in ``pyproject.toml``, over `setuptools.build_meta:__legacy__`.
"""

from __future__ import annotations

from parallel_backend.hooks import Backend

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
