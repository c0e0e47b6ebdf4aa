"""Builds that have to fail, and what their compilers were started for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import HookRun
from watched_builds import running_build

__all__ = ["compiled", "fail"]


def fail(folder: Path, env: dict[str, str], **settings: Any) -> HookRun:
    """A build that has to fail, and to leave nothing."""
    with running_build(folder, env=env, **settings) as build:
        done = build.finish()
        assert done.returncode == 1, done.output
        assert not list(build.out.glob("*.whl"))
        build.assert_nothing_is_left()
    assert "Traceback" not in done.stderr, done.output
    return done


def compiled(log: Path) -> list[str]:
    """The sources that a compiler was started for."""
    lines = log.read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith("compile ")]
