"""pyproject-api's frontend over one process for all hooks: the way tox uses it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pyproject_api import CmdStatus, Frontend

from harness import SOURCE

__all__ = ["KeptBackend"]

_PATIENCE = 120  # seconds; a hook that hangs fails its test, not the whole run
# By this line on its standard output the process tells that it has answered; tox looks for it, too.
_DONE = b"Backend: Wrote response "
_EXIT = b'{"cmd": "_exit", "kwargs": {}, "result": "/dev/null"}\n'


class _Status(CmdStatus):
    """One command: what the process prints while it runs."""

    def __init__(self, process: subprocess.Popen[bytes], streams: tuple[Path, Path]) -> None:
        self._process = process
        self._streams = streams
        self._starts = [path.stat().st_size for path in streams]
        self._until = time.monotonic() + _PATIENCE

    @property
    def done(self) -> bool:
        """Whether it has been answered, or never will be. The frontend asks again and again."""
        if time.monotonic() > self._until:
            self._process.kill()
        return self._process.poll() is not None or _DONE in self._text(0).rpartition(b"\n")[0]

    def out_err(self) -> tuple[str, str]:
        """What it printed."""
        return self._text(0).decode(), self._text(1).decode()

    def _text(self, number: int) -> bytes:
        with self._streams[number].open("rb") as stream:
            stream.seek(self._starts[number])
            return stream.read()


class KeptBackend(Frontend):
    """One process that has imported the backend and runs hooks of one project, until the exit."""

    def __init__(self, root: Path, *, private: Path, env: Mapping[str, str]) -> None:
        super().__init__(root, (SOURCE,), "parallel_backend", None, ())
        self._env = env
        self._out, self._err = private / "out", private / "err"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, *self.backend_args],
                cwd=self._root,
                env={**os.environ, **self._env, "PYTHONPATH": str(SOURCE)},
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
            )
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self.process is not None
        with self.process:
            try:
                self.process.communicate(_EXIT, timeout=_PATIENCE)
            finally:
                self.process.kill()

    @contextmanager
    def _send_msg(self, cmd: str, result_file: Path, msg: str) -> Iterator[CmdStatus]:
        process = self.process
        assert process is not None
        assert process.stdin is not None
        status = _Status(process, (self._out, self._err))
        process.stdin.write(f"{msg}\n".encode())
        process.stdin.flush()
        yield status
