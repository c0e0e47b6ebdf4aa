"""Numbers of jobs for programs that cannot take job tokens.

GNU make takes tokens itself, and ninja does from 1.13 on if nobody gives it a number: so a number
is given only where tokens do not reach.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from parallel_backend.jobserver.makeflags import find_auth

__all__ = ["limits", "with_limit"]

# What CMake, and what PyTorch and many a setup.py read.
_VARIABLES = ("CMAKE_BUILD_PARALLEL_LEVEL", "MAX_JOBS")
# Backends that read no variable, and the config setting that hands words to ninja.
_SETTINGS = {"mesonpy": "compile-args"}
_TAKES_TOKENS = (1, 13)
_ANSWER_SECONDS = 10.0


def limits(variables: Mapping[str, str], *, jobs: int) -> dict[str, str]:
    """What to add to the environment `variables` of a hook; never what the user has set."""
    if find_auth(variables.get("MAKEFLAGS", "")) is not None and _ninja_takes_tokens(variables):
        return {}
    return {name: str(jobs) for name in _VARIABLES if not variables.get(name)}


def with_limit(
    config_settings: Mapping[str, Any] | None, *, backend: str, limits: Mapping[str, str]
) -> Mapping[str, Any] | None:
    """Config settings with the number of `limits`, for a backend that has to be told it so.

    Nothing is added where the user has handed words of his own to ninja.
    """
    key = _SETTINGS.get(backend)
    number = next((limits[name] for name in _VARIABLES if name in limits), None)
    if key is None or number is None or key in (config_settings or {}):
        return config_settings
    return {**(config_settings or {}), key: f"-j{number}"}


def _ninja_takes_tokens(variables: Mapping[str, str]) -> bool:
    """Also where there is none."""
    path = variables.get("PATH")
    found = shutil.which("ninja", path=path) or shutil.which("ninja-build", path=path)
    if found is None:
        return True
    try:
        answer = subprocess.run(
            [found, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            env={**variables},
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    version = re.match(r"(\d+)\.(\d+)", answer.stdout)
    return version is not None and (int(version[1]), int(version[2])) >= _TAKES_TOKENS
