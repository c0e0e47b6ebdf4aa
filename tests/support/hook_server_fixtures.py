"""A pytest plugin for the tests of the hook server: a project, and a server that forks or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hook_server_harness import MODES, Wire, made_up_environment, open_wire

__all__ = ["environment", "fork", "mode", "patient", "project", "wire"]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["fork", "no-fork"])
def fork(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return made_up_environment(tmp_path / "site")


@pytest.fixture
def wire(mode: str, environment: dict[str, str]) -> Iterator[Wire]:
    with open_wire(*MODES[mode], environment=environment) as wire:
        yield wire


@pytest.fixture
def patient(mode: str, environment: dict[str, str]) -> Iterator[Wire]:
    """A server whose hooks have a long time to end after a signal."""
    with open_wire(*MODES[mode], "--patience", "100", environment=environment) as wire:
        yield wire
