"""One hook server's process and the channel to it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from parallel_backend.tools.hook_server.errors import ServerEndedError

__all__ = ["SERVER", "Connection"]

#: The server's script.
SERVER = Path(__file__).with_name("server.py")
_PATIENCE = 12.0
# Seconds that a server with nothing to do gets to end after its channel was closed.
_END = 5.0


class Connection:
    """Starts a server in the interpreter `python`, with the environment `environment`.

    `fork` false: it runs each hook in a fresh process. `patience`: seconds that a hook has to end
    after each signal. What hooks write goes to this process' descriptors 1 and 2.

    Raises ServerEndedError if it cannot be started.
    """

    def __init__(
        self, python: str, *, environment: Mapping[str, str], fork: bool, patience: float | None
    ) -> None:
        self._python = python
        self._patience = _PATIENCE if patience is None else patience
        self._received = bytearray()
        self._writing = threading.Lock()
        self._count = 0
        #: The request that is not answered yet.
        self._asked: int | None = None
        options = [] if fork else ["--no-fork"]
        options += ["--patience", str(self._patience)]
        try:
            self._process, self._answers, self._requests = _start(python, options, environment)
        except OSError as error:
            text = f"the hook server cannot be started with {python}: {error.strerror}"
            raise ServerEndedError(text) from error

    def ask(
        self, request: Mapping[str, Any], *, begun: Callable[[], object] = lambda: None
    ) -> dict[str, Any]:
        """Send a request, and wait for its answer; `begun` is called in between.

        Where that is broken off, as by Ctrl-C, the hook and the server are ended first. Raises
        ServerEndedError if the server ends.
        """
        self._count += 1
        try:
            self._write({"id": self._count, **request})
            self._asked = self._count
            begun()
            while True:
                answer = json.loads(self._line())
                if answer.get("id") == self._count:
                    return dict(answer)
        except ServerEndedError:
            self._release()
            raise
        except BaseException:
            self._break_off()
            raise
        finally:
            self._asked = None

    def cancel(self) -> bool:
        """Cancel what is asked for, if anything is; again: more harshly. For other threads."""
        asked = self._asked
        if asked is None:
            return False
        with contextlib.suppress(ServerEndedError):
            self._write({"cancel": asked})
        return True

    @property
    def closed(self) -> bool:
        return self._answers < 0

    def close(self) -> None:
        """End the server, and wait for its end."""
        self._release()
        self._wait()

    def _break_off(self) -> None:
        """End the hook that runs, and the server with it."""
        try:
            self.cancel()
            os.close(self._requests)
            self._requests = -1
            while os.read(self._answers, 1 << 16):
                pass  # it ends when the hook has
        except OSError:
            pass
        finally:  # also at another Ctrl-C
            self._release()
        self._wait()

    def _release(self) -> None:
        with self._writing:
            for descriptor in (self._requests, self._answers):
                if descriptor >= 0:
                    os.close(descriptor)
            self._requests = self._answers = -1

    def _wait(self) -> int:
        try:
            return self._process.wait(timeout=_END)
        except subprocess.TimeoutExpired:
            # A fork of this process may hold the channel open.
            self._process.terminate()
            return self._process.wait()

    def _write(self, message: Mapping[str, Any]) -> None:
        data = json.dumps(message).encode("ascii") + b"\n"
        with self._writing:
            try:
                while data:
                    data = data[os.write(self._requests, data) :]
            except OSError as error:
                raise self._ended() from error

    def _line(self) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            data = os.read(self._answers, 1 << 16)
            if not data:
                raise self._ended()
            self._received += data
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line or b"{}"

    def _ended(self) -> ServerEndedError:
        status = self._wait()
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return ServerEndedError(
            f"the hook server of {self._python} ended by {how}, without an answer; "
            "what it printed tells more"
        )


def _start(
    python: str, options: list[str], environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], int, int]:
    """The process, the descriptor that answers come by, and the one that requests go by."""
    command = [python, str(SERVER), *options]
    if os.name != "posix":  # pragma: no cover - no other descriptors can be handed on
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert process.stdin
        assert process.stdout
        return process, os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno())
    descriptors: list[int] = []
    try:
        descriptors += os.pipe()
        descriptors += os.pipe()
        requests_in, requests_out, answers_in, answers_out = descriptors
        process = subprocess.Popen(
            [*command, "--channel", str(requests_in), str(answers_out)],
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=(requests_in, answers_out),
            # Ctrl-C is for this process, which then cancels the hook.
            process_group=0,
        )
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    os.close(requests_in)
    os.close(answers_out)
    return process, answers_in, requests_out
