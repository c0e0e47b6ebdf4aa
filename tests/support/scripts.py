"""Scripts in fresh interpreters that can import the backend, for what a test's own process must not
do or suffer: signals, threads, closed descriptors, and the exit of an interpreter."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness import SOURCE

__all__ = ["run_script", "started_script"]

_PATIENCE = 120  # seconds; a script that hangs fails its test, not the whole run


def run_script(
    script: str, *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `script` in `cwd`, with `arguments` in ``sys.argv[1:]`` and `env` over what is set."""
    return subprocess.run(
        _command(script, *arguments),
        cwd=cwd,
        env=_environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )


@contextlib.contextmanager
def started_script(
    script: str, *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The same, running: a leader of its own session, both streams in one pipe.

    The pipe ends when the script and all that it has started are gone: `communicate` waits for it.
    """
    with subprocess.Popen(
        _command(script, *arguments),
        cwd=cwd,
        env=_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _command(script: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", script, *map(str, arguments)]


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), **(env or {})}
