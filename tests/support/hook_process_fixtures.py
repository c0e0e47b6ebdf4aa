"""What the tests of hooks' processes share: fixtures, hooks and streams."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from parallel_backend.hook_process import fork_is_safe

__all__ = [
    "MORE_THAN_A_PIPE",
    "OwnError",
    "Written",
    "descriptors",
    "nothing_left",
    "raising",
    "talk",
    "temporary",
    "wait_for_ever",
]

MORE_THAN_A_PIPE = 1 << 20


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where private folders are made; none may be there after a test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    # A thread that an earlier test has joined may be there for a moment yet, as the system sees it.
    until = time.monotonic() + 30
    while not fork_is_safe():
        assert time.monotonic() < until, threading.enumerate()
        time.sleep(0.001)
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture
def nothing_left(temporary: Path) -> Iterator[None]:
    """No test may leave a descriptor or a child process."""
    before = descriptors()
    yield
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def descriptors() -> dict[str, str]:
    """This process' descriptors, and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


class OwnError(Exception):
    """An exception as a project defines it."""


class Written:
    """A stream of a kind of its own, as a frontend may have."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def talk(_private: Path) -> str:
    print("to stdout: Grüße")
    print("to stderr: Grüße", file=sys.stderr)
    print("no line end", end="")
    return "result"


def raising(error: BaseException) -> Callable[[Path], NoReturn]:
    def hook(_private: Path) -> NoReturn:
        raise error

    return hook


def wait_for_ever() -> NoReturn:
    while True:
        time.sleep(0.01)
