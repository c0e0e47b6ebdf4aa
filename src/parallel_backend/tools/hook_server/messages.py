"""Messages of the hook server: JSON objects, one a line, looked through before they are used."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Identity = str | int

__all__ = ["RefusedError", "Request", "answer_line", "read_lines", "read_message"]


class RefusedError(Exception):
    """A message that cannot be taken, and the identity of its request where one can be told."""

    def __init__(self, message: str, identity: Identity | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.identity = identity


class Request:
    """One hook to call, or one script to run; `line` is the message that asked for it.

    A script has a `backend` only as a hint, and perhaps none. No `environment`: that of the server.
    """

    def __init__(self, message: dict[str, Any], line: bytes) -> None:
        self.line = line
        self.identity: Identity = message["id"]
        self.hook: str | None = message.get("hook")
        self.script: str | None = message.get("script")
        self.backend: str = message.get("backend", "")
        self.source: str = message["source"]
        self.backend_path: list[str] = [
            os.path.normpath(os.path.join(self.source, entry))
            for entry in message.get("backend-path") or ()
        ]
        self.arguments: Any = message.get("arguments", {} if self.script is None else [])
        self.environment: dict[str, str] | None = message.get("environment")
        self.stdout: str | None = message.get("stdout")
        self.stderr: str | None = message.get("stderr")
        self.timeout: float | None = message.get("timeout")


def read_lines(descriptor: int, longest: float = float("inf")) -> Iterator[bytes]:
    """Yield each line that comes, without its end, until the end of input; the last may lack one.

    A line that is longer than `longest` bytes comes as one that is no message.
    """
    rest = bytearray()
    while True:
        try:
            data = os.read(descriptor, 1 << 16)
        except OSError:  # a terminal that was closed, a connection that was broken
            data = b""
        if not data:
            yield bytes(rest)
            return
        first, *more = data.split(b"\n")
        rest += first
        for piece in more:
            yield bytes(rest)
            rest[:] = piece
        if len(rest) > longest:
            rest[:] = b"(too long)"


def answer_line(answer: dict[str, Any]) -> bytes:
    """Write an answer as it is sent. ValueError or TypeError: it holds what JSON cannot carry."""
    return json.dumps(answer, allow_nan=False).encode("ascii") + b"\n"


def read_message(line: bytes) -> dict[str, Any]:
    """Read a message: what `Request` takes, or a wish to cancel. Raises `RefusedError`."""
    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise RefusedError("not a JSON object")
    identity = message.get("id")
    kinds = [kind for kind in _KINDS if kind in message]
    try:
        if "cancel" in kinds:
            _check(message, "cancel")
        elif len(kinds) == 1:
            _check(message, *kinds)
            _check_backend_path(Request(message, line))
        else:
            raise RefusedError('exactly one of "hook", "script" and "cancel" must be there')
    except RefusedError as error:
        if "cancel" not in kinds and _is_identity(identity):
            error.identity = identity
        raise
    return message


def _check(message: dict[str, Any], kind: str) -> None:
    needed = _KINDS[kind]
    known = {*needed, *(() if kind == "cancel" else _OPTIONAL)}
    for key in message:
        if key not in known:
            raise RefusedError(f'unknown key "{key}" in a "{kind}" message{_nearest(key, known)}')
    for key in needed:
        if key not in message:
            raise RefusedError(f'"{key}" is missing in a "{kind}" message')
    for key, value in message.items():
        accepts, allowed = _VALUES[f"{kind} {key}" if key == "arguments" else key]
        if not accepts(value):
            shown = repr(value)
            shown = shown if len(shown) < 100 else f"{shown[:100]}..."
            raise RefusedError(f'"{key}": {shown} is not allowed; allowed is {allowed}')


def _nearest(key: str, known: set[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key.replace("_", "-"), sorted(known), 1)
    return f'; did you mean "{near[0]}"?' if near else f"; known are {', '.join(sorted(known))}"


def _check_backend_path(request: Request) -> None:
    # https://peps.python.org/pep-0517/#in-tree-build-backends
    source = os.path.normcase(os.path.normpath(request.source))
    for entry in request.backend_path:
        inside = os.path.normcase(entry)
        if inside != source and not inside.startswith(source.rstrip(os.sep) + os.sep):
            raise RefusedError(f'"backend-path": {entry} is not inside of {request.source}')


def _is_identity(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _is_string(value: Any) -> bool:
    """Whether the system can take it, as bytes of which none is 0."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_text(value: Any) -> bool:
    return _is_string(value) and value != ""


def _is_path(value: Any) -> bool:
    return _is_text(value) and os.path.isabs(value)


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_list_of_strings(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_string, value))


def _is_environment(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_text(name) and "=" not in name and _is_string(each) for name, each in value.items()
    )


def _is_seconds(value: Any) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")
    )


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (_is_identity, "a string or a whole number"),
    "cancel": (_is_identity, "the id of a request"),
    "hook": (_is_text, "the name of a hook"),
    "script": (_is_path, "an absolute path"),
    "backend": (_is_text, 'a string such as "module:object"'),
    "backend-path": (_is_list_of_text, "a list of paths"),
    "source": (_is_path, "an absolute path"),
    "hook arguments": (lambda value: isinstance(value, dict), "an object of keyword arguments"),
    "script arguments": (_is_list_of_strings, "a list of strings"),
    "environment": (_is_environment, "an object of strings"),
    "stdout": (_is_path, "an absolute path"),
    "stderr": (_is_path, "an absolute path"),
    "timeout": (_is_seconds, "a number of seconds, more than 0"),
}
# What each message is told by, with the keys that it needs.
_KINDS = {
    "hook": ("hook", "id", "source", "backend"),
    "script": ("script", "id", "source"),
    "cancel": ("cancel",),
}
_OPTIONAL = ("backend", "backend-path", "arguments", "environment", "stdout", "stderr", "timeout")
