"""The hooks that the standards name, their arguments, and what they write for a sample project."""

from __future__ import annotations

import inspect
from typing import Any

from harness import HookRun

__all__ = ["BACKENDS", "HOOKS", "SIGNATURES", "WRITES", "succeeded"]

BACKENDS = ["parallel_backend", "parallel_backend:legacy"]
EMPTY = inspect.Parameter.empty

# https://peps.python.org/pep-0517 and pep-0660: each hook's arguments and their defaults.
SIGNATURES: dict[str, dict[str, object]] = {
    "get_requires_for_build_wheel": {"config_settings": None},
    "get_requires_for_build_sdist": {"config_settings": None},
    "get_requires_for_build_editable": {"config_settings": None},
    "prepare_metadata_for_build_wheel": {"metadata_directory": EMPTY, "config_settings": None},
    "prepare_metadata_for_build_editable": {"metadata_directory": EMPTY, "config_settings": None},
    "build_wheel": {
        "wheel_directory": EMPTY,
        "config_settings": None,
        "metadata_directory": None,
    },
    "build_sdist": {"sdist_directory": EMPTY, "config_settings": None},
    "build_editable": {
        "wheel_directory": EMPTY,
        "config_settings": None,
        "metadata_directory": None,
    },
}
HOOKS = list(SIGNATURES)
WRITES = {
    "prepare_metadata_for_build_wheel": "sample-1.0.dist-info",
    "prepare_metadata_for_build_editable": "sample-1.0.dist-info",
    "build_wheel": "sample-1.0-py3-none-any.whl",
    "build_sdist": "sample-1.0.tar.gz",
    "build_editable": "sample-1.0-0.editable-py3-none-any.whl",
}


def succeeded(run: HookRun) -> Any:
    """The result of a hook that had to succeed."""
    assert run.returncode == 0, run.output
    return run.result
