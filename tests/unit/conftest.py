"""No test here starts a process, so that all of them take seconds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before pytest looks for marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them are a part of the first look."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.smoke)


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a process is started: such a test belongs into another directory."""

    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        pytest.fail("a test in tests/unit starts a process")

    for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system"):
        monkeypatch.setattr(os, name, refuse, raising=False)
    monkeypatch.setattr(subprocess, "_fork_exec", refuse, raising=False)
    monkeypatch.setattr("_posixsubprocess.fork_exec", refuse, raising=False)
