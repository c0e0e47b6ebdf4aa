"""Interpreters of other versions, as far as this machine has them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["other_python"]

_SCRIPT = "import sys; print(sys.version_info[:2] == (3, int(sys.argv[1])), sys.executable)"


def other_python(minor: int) -> str:
    """The path of a Python 3.`minor`; skips without."""
    root = Path(sys.base_prefix).parent  # where tools such as pyenv keep them side by side
    near = sorted(root.glob(f"*3.{minor}.*/bin/python3.{minor}"))
    for program in (f"python3.{minor}", *map(str, near)):
        if shutil.which(program):
            command = [program, "-I", "-c", _SCRIPT, str(minor)]
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            if found.stdout.startswith("True "):
                return found.stdout.removeprefix("True ").strip()
    pytest.skip(f"there is no Python 3.{minor}")
