"""What a call of a hook through the hook server can fail with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parallel_backend.errors import ParallelBackendError

__all__ = [
    "BackendMissingError",
    "HookCancelledError",
    "HookExitedError",
    "HookFailedError",
    "HookKilledError",
    "HookMissingError",
    "HookServerError",
    "HookTimedOutError",
    "RequestRefusedError",
    "ServerEndedError",
    "error_of",
]


class HookServerError(ParallelBackendError):
    """The base of these errors. `answer`: what the server said, as its protocol has it."""

    def __init__(self, message: str, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.answer = dict(answer or {})


class HookFailedError(HookServerError):
    """The hook raised an exception: its `type` by name, its `message`, its `traceback` as text.

    `notes` are those that were added to it. `code` is that of a `SystemExit`, else None.
    """

    def __init__(self, message: str, answer: Mapping[str, Any]) -> None:
        super().__init__(message, answer)
        self.type: str = answer["type"]
        self.message: str = answer["message"]
        self.traceback: str = answer["traceback"]
        self.notes: list[str] = answer["notes"]
        self.code: int | str | None = answer.get("code")
        if self.traceback:
            self.add_note(f"In the hook's process:\n{self.traceback}")


class HookKilledError(HookServerError):
    """A signal ended the hook's process: `signal` is its name."""

    def __init__(self, message: str, answer: Mapping[str, Any]) -> None:
        super().__init__(message, answer)
        self.signal: str = answer["signal"]


class HookExitedError(HookServerError):
    """The hook's process ended without an answer, with the exit status `status`."""

    def __init__(self, message: str, answer: Mapping[str, Any]) -> None:
        super().__init__(message, answer)
        self.status: int = answer["status"]


class HookCancelledError(HookServerError):
    """The hook was cancelled."""


class HookTimedOutError(HookServerError):
    """The hook took longer than its timeout."""


class BackendMissingError(HookServerError):
    """The backend cannot be imported; `traceback` tells why."""

    def __init__(self, message: str, answer: Mapping[str, Any]) -> None:
        super().__init__(message, answer)
        self.traceback: str = answer["traceback"]


class HookMissingError(HookServerError):
    """The backend has no such hook."""


class RequestRefusedError(HookServerError):
    """The server did not take the request: it has a mistake, or the machine lacks something."""


class ServerEndedError(HookServerError):
    """The server cannot be started, or ended without an answer."""


def error_of(what: str, answer: Mapping[str, Any]) -> HookServerError:
    """The error that an answer other than ``returned`` is. `what`: what was called."""
    outcome = answer["outcome"]
    if answer.get("cancelled"):
        return HookCancelledError(f"{what} was cancelled", answer)
    if answer.get("timed-out"):
        return HookTimedOutError(f"{what} took longer than its timeout, and was ended", answer)
    if outcome == "raised":
        message = answer["message"].partition("\n")[0]
        return HookFailedError(f"{what} raised {answer['type']}: {message}", answer)
    if outcome == "killed":
        return HookKilledError(f"the process of {what} was killed by {answer['signal']}", answer)
    if outcome == "exited":
        text = f"the process of {what} ended with exit status {answer['status']}, with no answer"
        return HookExitedError(text, answer)
    kinds: dict[str, type[HookServerError]]
    kinds = {"no-backend": BackendMissingError, "no-hook": HookMissingError}
    kind = kinds.get(outcome, RequestRefusedError)
    return kind(f"{what}: {answer['message']}", answer)
