"""Projects that tell in their metadata what they found, then change it."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent

from hook_sequences import Sample, call, project

__all__ = ["METADATA", "WHEEL", "telling", "told_by"]

METADATA = "prepare_metadata_for_build_wheel"
WHEEL = "build_wheel"

_SETUP = """\
import os, sys
{imports}
from setuptools import setup

TOLD = repr(({tells}))
{changes}
setup(name={name!r}, version="1.0", py_modules=[{name!r}], description=TOLD)
{after}
"""


def told_by(name: str, *, tells: str, changes: str = "", imports: str = "", after: str = "") -> str:
    """A ``setup.py`` that tells the value of an expression, and then changes something."""
    return _SETUP.format(
        name=name, tells=tells, changes=dedent(changes), imports=imports, after=dedent(after)
    )


def telling(
    tells: str,
    changes: str = "",
    *,
    imports: str = "",
    after: str = "",
    hook: str = METADATA,
    env: Mapping[str, str | None] | None = None,
) -> Sample:
    """Two projects of that kind: the second one must not see what the first one changed.

    `after` is done when ``setup()`` has returned.
    """
    files: dict[str, str] = {}
    for name in ("one", "two"):
        setup = told_by(name, tells=tells, changes=changes, imports=imports, after=after)
        files |= project(name, setup=setup)
    steps = [call(hook, "one"), call(hook, "two")]
    return Sample(files=files, steps=steps, env=env or {})
