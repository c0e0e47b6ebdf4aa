"""A pytest plugin for the tests of the token pool: pools, and what make gives to recipes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobserver_harness import Opener

__all__ = ["fifo", "opened", "pipe"]


@pytest.fixture
def _no_jobserver_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAKEFLAGS", "CARGO_MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def opened(tmp_path: Path, _no_jobserver_around: None) -> Opener:
    return Opener(tmp_path)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A FIFO as make 4.4 makes it, with the descriptor that keeps its tokens alive."""
    path = tmp_path / "GMfifo1"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    yield path, fd
    os.close(fd)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe as make passes it on: blocking, and open across an exec."""
    ends = os.pipe()
    for end in ends:
        os.set_inheritable(end, True)
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)
