"""What the tests of the token pool share: pools, pipes and FIFOs, and processes that use them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from parallel_backend.jobserver import Pool, open_pool, pool

__all__ = ["SECONDS", "SOURCES", "Opener", "run_python", "start_python", "take_all", "tokens_in"]

SECONDS = 120  # a test that hangs fails
SOURCES = str(Path(pool.__file__).parents[2])


class Opener:
    """Opens pools for a test, and keeps what they report."""

    def __init__(self, private: Path) -> None:
        self.private = private
        self.reports: list[str] = []

    def __call__(
        self, flags: str, *, jobs: int | None = None, slots: int = 3
    ) -> contextlib.AbstractContextManager[Pool]:
        return open_pool(
            makeflags=flags,
            jobs=jobs,
            slots=lambda: slots,
            private=self.private,
            report=self.reports.append,
        )


def tokens_in(fd: int) -> bytes:
    """Take all tokens out of a non-blocking descriptor."""
    try:
        return os.read(fd, 100_000)
    except BlockingIOError:
        return b""


def take_all(of: Pool) -> list[bytes]:
    return list(iter(of.acquire, None))


def start_python(script: str, *arguments: str) -> subprocess.Popen[str]:
    names = [name for name in os.environ if not name.startswith("COVERAGE_")]
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**{name: os.environ[name] for name in names}, "PYTHONPATH": SOURCES},
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(script: str, *arguments: str) -> None:
    child = start_python(script, *arguments)
    printed = child.communicate(timeout=SECONDS)[1]
    assert (child.returncode, printed) == (0, ""), printed
