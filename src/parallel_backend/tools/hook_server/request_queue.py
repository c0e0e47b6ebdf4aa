"""The requests of a hook server: each waits for its turn, is answered once, and may be ended."""

from __future__ import annotations

import json
import signal
import time

from parallel_backend.tools.hook_server.messages import (
    RefusedError,
    Request,
    answer_line,
    read_message,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from parallel_backend.tools.hook_server.messages import Identity
    from parallel_backend.tools.hook_server.processes import Worker

__all__ = ["RequestQueue"]

# Seconds; the system knows none that are much longer than a month.
_LONGEST_WAIT = 3600.0
_INTERRUPT, _TERMINATE, _KILL = range(3)
_CANCELLED, _TIMED_OUT, _ABANDONED = "cancelled", "timed-out", "server-ended"


class RequestQueue:
    """Requests are taken in order, one at a time. `start` begins one, `send` takes a line.

    `patience`: seconds that a hook gets to end after each signal. ``start`` raises `OSError` where
    no process can be made.
    """

    def __init__(
        self,
        *,
        start: Callable[[Request], Worker],
        send: Callable[[bytes], None],
        patience: float,
    ) -> None:
        self._start = start
        self._send = send
        self._patience = patience
        self._open = True
        self._running: _Running | None = None
        self._waiting: list[Request] = []

    @property
    def finished(self) -> bool:
        """Whether no request is left, and none will come."""
        return not self._open and not self._waiting and self._running is None

    def take(self, line: bytes) -> None:
        """Take one line. Blank ones mean nothing."""
        if not line.strip():
            return
        try:
            message = read_message(line)
            if "cancel" in message:
                self._cancel(message["cancel"])
                return
            request = Request(message, line)
            if request.identity in self._identities():
                text = f'"id": {request.identity!r} is that of a request which is not answered yet'
                raise RefusedError(text, request.identity)
        except RefusedError as error:
            self._refuse(error.identity, error.message)
        else:
            self._waiting.append(request)

    def close(self) -> None:
        """Take no more requests. Those that are here are still served."""
        self._open = False

    def abandon(self) -> None:
        """End the hook that runs, for nobody waits for answers any more."""
        self._open = False
        self._waiting.clear()
        if self._running and self._running.reason != _ABANDONED:
            self._running.reason = _ABANDONED
            self._urge(max(self._running.step + 1, _TERMINATE))

    def proceed(self) -> None:
        """Begin the next request if no hook runs."""
        while self._running is None and self._waiting:
            request = self._waiting.pop(0)
            try:
                process = self._start(request)
            except OSError as error:
                self._refuse(request.identity, f"the hook's process cannot be made: {error}")
            else:
                self._running = _Running(request, process)

    def begin_again(self) -> None:
        """Give the request another process: that which it has cannot begin the hook."""
        running, self._running = self._running, None
        assert running is not None
        if running.reason:
            flags = {running.reason: True}
            self._refuse(running.request.identity, "ended before it began", **flags)
        else:
            self._waiting.insert(0, running.request)

    def answered(self, line: bytes) -> bool:
        """Send the hook's answer, without waiting for its process' end; false: that is needed."""
        running = self._running
        if running is None or running.reason:
            return False
        self._running = None
        self._send(line)
        return True

    def ended(self, line: bytes, status: int) -> None:
        """Send what came of a hook whose process has ended; `line` is its answer, or empty.

        `status` is as `os.waitstatus_to_exitcode` has it: negative for a signal.
        """
        running, self._running = self._running, None
        assert running is not None
        if running.reason:
            running.process.sweep()
        answer: dict[str, Any] = {"id": running.request.identity}
        if line:
            answer = json.loads(line)
        elif status < 0:
            answer.update(outcome="killed", signal=_signal_name(-status))
        else:
            answer.update(outcome="exited", status=status)
        done = answer["outcome"] == "returned" or answer.get("status") == 0
        if running.reason and not done:
            answer[running.reason] = True
        self._send(answer_line(answer))

    def wait(self) -> float | None:
        """Return the seconds until `look_at_clock` has something to do, or None."""
        due = self._running.due if self._running else None
        return None if due is None else min(max(0.0, due - time.monotonic()), _LONGEST_WAIT)

    def look_at_clock(self) -> None:
        """End the hook whose time is over, or which did not heed the signal before."""
        running = self._running
        if running and running.due is not None and time.monotonic() >= running.due:
            running.reason = running.reason or _TIMED_OUT
            self._urge(running.step + 1)

    def _identities(self) -> list[Identity]:
        running = [self._running.request] if self._running else []
        return [request.identity for request in (*running, *self._waiting)]

    def _cancel(self, identity: Identity) -> None:
        for request in self._waiting:
            if request.identity == identity:
                self._waiting.remove(request)
                self._refuse(identity, "cancelled before it began", cancelled=True)
                return
        running = self._running
        if running and running.request.identity == identity:
            running.reason = running.reason or _CANCELLED
            self._urge(running.step + 1)

    def _urge(self, step: int) -> None:
        running = self._running
        if running and running.step < _KILL:
            running.step = min(step, _KILL)
            running.due = time.monotonic() + self._patience if step < _KILL else None
            running.process.tell(running.step)

    def _refuse(self, identity: Identity | None, message: str, **flags: bool) -> None:
        answer = {"id": identity, "outcome": "refused", "message": message, **flags}
        self._send(answer_line(answer))


class _Running:
    """A request whose hook runs. `reason`: why it was told to end; `step`: the last signal."""

    __slots__ = ("due", "process", "reason", "request", "step")

    def __init__(self, request: Request, process: Worker) -> None:
        self.request = request
        self.process = process
        self.reason = ""
        self.step = -1
        self.due = None if request.timeout is None else time.monotonic() + request.timeout


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal other than the first and the last
        return f"SIG{number}"
