"""What the hook server does with requests, whatever it runs hooks in and listens with."""

from __future__ import annotations

import time

from parallel_backend.tools.hook_server.messages import (
    Cancel,
    RefusedError,
    Request,
    answer_line,
    read_message,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from parallel_backend.tools.hook_server.messages import Identity

    class Process(Protocol):
        """A hook's process."""

        def tell(self, step: int) -> None:
            """Tell it and its process group to end: 0 interrupts, 1 terminates, 2 kills."""

        def sweep(self) -> None:
            """It has ended: kill what is left of its group."""


__all__ = ["Service"]

# Seconds; the system knows none that are much longer than a month.
_LONGEST_WAIT = 3600.0
_INTERRUPT, _TERMINATE, _KILL = range(3)
_CANCELLED, _TIMED_OUT, _ABANDONED = "cancelled", "timed-out", "server-ended"


class Service:
    """Requests are taken in order, one at a time. `start` begins one, `send` takes a line.

    `patience`: seconds that a hook gets to end after each signal. ``start`` raises `OSError` where
    no process can be made.
    """

    def __init__(
        self,
        *,
        start: Callable[[Request], Process],
        send: Callable[[bytes], None],
        patience: float,
    ) -> None:
        self._start = start
        self._send = send
        self._patience = patience
        self._open = True
        self._running: _Running | None = None
        self.queue: list[Request] = []

    @property
    def finished(self) -> bool:
        """No request is left, and none will come."""
        return not self._open and not self.queue and self._running is None

    def take(self, line: bytes) -> None:
        """Take one line. Blank ones mean nothing."""
        if not line.strip():
            return
        try:
            message = read_message(line)
            if isinstance(message, Cancel):
                self._cancel(message.identity)
                return
            if message.identity in self._identities():
                text = f'"id": {message.identity!r} is that of a request which is not answered yet'
                raise RefusedError(text, message.identity)
        except RefusedError as error:
            self._refuse(error.identity, error.message)
        else:
            self.queue.append(message)

    def close(self) -> None:
        """No more requests will come; those that are here are still served."""
        self._open = False

    def abandon(self) -> None:
        """Nobody waits for answers any more: end the hook that runs."""
        self._open = False
        self.queue.clear()
        if self._running and self._running.reason != _ABANDONED:
            self._running.reason = _ABANDONED
            self._urge(max(self._running.step + 1, _TERMINATE))

    def proceed(self) -> None:
        """Begin the next request if no hook runs."""
        while self._running is None and self.queue:
            request = self.queue.pop(0)
            try:
                process = self._start(request)
            except OSError as error:
                self._refuse(request.identity, f"the hook's process cannot be made: {error}")
            else:
                self._running = _Running(request, process)

    def answered(self, line: bytes) -> bool:
        """The hook has given its whole answer; true: its process' end need not be waited for."""
        running = self._running
        if running is None or running.reason:
            return False
        self._running = None
        self._send(line)
        return True

    def ended(self, line: bytes, status: int) -> None:
        """The hook's process has ended; `line` is its answer, or empty.

        `status` is as `os.waitstatus_to_exitcode` has it: negative for a signal.
        """
        running, self._running = self._running, None
        assert running is not None
        if running.reason:
            running.process.sweep()
        answer: dict[str, Any] = {"id": running.request.identity}
        if line:
            import json

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
        """Seconds until `look_at_clock` has something to do; None: no such time."""
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
        return [request.identity for request in (*running, *self.queue)]

    def _cancel(self, identity: Identity) -> None:
        for request in self.queue:
            if request.identity == identity:
                self.queue.remove(request)
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

    def __init__(self, request: Request, process: Process) -> None:
        self.request = request
        self.process = process
        self.reason = ""
        self.step = -1
        self.due = None if request.timeout is None else time.monotonic() + request.timeout


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal other than the first and the last
        return f"SIG{number}"
