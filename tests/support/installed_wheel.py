"""A wheel of what is installed here, so that what needs it can be installed without an index."""

from __future__ import annotations

import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

__all__ = ["installed_wheel"]

# What an installer has added (https://packaging.python.org/en/latest/specifications/).
_ADDED = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}


def installed_wheel(name: str, folder: Path) -> Path:
    """Put a pure wheel together again, from what its installation has on record, in `folder`."""
    found = distribution(name)
    if not found.files or "Tag: py3-none-any" not in (found.read_text("WHEEL") or ""):
        pytest.skip(f"{name} was not installed from a wheel that fits every Python")
    # Not those of packages that it carries with it.
    [information] = {str(file.parent) for file in found.files if file.parts[1:] == ("WHEEL",)}
    added = {f"{information}/{name}" for name in _ADDED}
    kept = [
        file
        for file in found.files
        # Scripts lie outside, and an installer makes them anew.
        if ".." not in file.parts and file.suffix != ".pyc" and str(file) not in added
    ]
    wheel = folder / f"{information.removesuffix('.dist-info')}-py3-none-any.whl"
    record = f"{information}/RECORD"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in kept:
            archive.write(str(found.locate_file(file)), str(file))
        archive.writestr(record, "".join(f"{name},,\n" for name in [*map(str, kept), record]))
    return wheel
