"""Messages of the hook server: JSON objects, one a line, looked through before they are used."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Identity = str | int

__all__ = ["Cancel", "Lines", "RefusedError", "Request", "answer_line", "read_message"]

# A request carries an environment, which the system limits to some megabytes.
_LONGEST_LINE = 1 << 25
_TOO_LONG = b"(a line of more than 32 MiB)"


class RefusedError(Exception):
    """A message that cannot be taken, and the identity of its request where one can be told."""

    def __init__(self, message: str, identity: Identity | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.identity = identity


class Cancel:
    """The wish that a request be given up."""

    __slots__ = ("identity",)

    def __init__(self, identity: Identity) -> None:
        self.identity = identity


class Request:
    """One hook to call, or one script to run; `line` is the message that asked for it.

    A script has a `backend` only as a hint, and perhaps none. No `environment`: that of the server.
    """

    __slots__ = (
        "arguments",
        "backend",
        "backend_path",
        "environment",
        "hook",
        "identity",
        "line",
        "script",
        "source",
        "stderr",
        "stdout",
        "timeout",
    )

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


class Lines:
    """Bytes as they come, cut into lines. `rest`: what has no line end yet."""

    def __init__(self, rest: bytes = b"") -> None:
        self._rest = bytearray(rest)
        self._too_long = False

    @property
    def rest(self) -> bytes:
        return _TOO_LONG if self._too_long else bytes(self._rest)

    def take(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. One that is far too long comes as something else."""
        self._rest += data
        lines = []
        if b"\n" in data:
            *lines, self._rest = self._rest.split(b"\n")
            if self._too_long:
                lines[0] = bytearray(_TOO_LONG)
                self._too_long = False
        if len(self._rest) > _LONGEST_LINE or self._too_long:
            self._rest.clear()
            self._too_long = True
        return [bytes(line) for line in lines]


def answer_line(answer: dict[str, Any]) -> bytes:
    """An answer as it is sent. ValueError or TypeError: it holds what JSON cannot carry."""
    import json

    return json.dumps(answer, allow_nan=False).encode("ascii") + b"\n"


def read_message(line: bytes) -> Request | Cancel:
    """What a line asks for. Raises `RefusedError`."""
    import json

    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise RefusedError("not a JSON object")
    if "cancel" in message:
        _check(message, "cancel", ("cancel",), ())
        return Cancel(message["cancel"])
    identity = message.get("id")
    if not _is_identity(identity):
        identity = None
    try:
        if ("hook" in message) == ("script" in message):
            raise RefusedError('exactly one of "hook", "script" and "cancel" must be there')
        kind = "hook" if "hook" in message else "script"
        needed = ("id", "source", "hook", "backend") if kind == "hook" else ("id", "source")
        _check(message, kind, needed, _OPTIONAL)
        request = Request(message, line)
        _check_backend_path(request)
    except RefusedError as error:
        error.identity = identity
        raise
    return request


def _check(
    message: dict[str, Any], kind: str, needed: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    known = {kind, *needed, *optional}
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


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


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
    "hook arguments": (_is_object, "an object of keyword arguments"),
    "script arguments": (_is_list_of_strings, "a list of strings"),
    "environment": (_is_environment, "an object of strings"),
    "stdout": (_is_path, "an absolute path"),
    "stderr": (_is_path, "an absolute path"),
    "timeout": (_is_seconds, "a number of seconds, more than 0"),
}
_OPTIONAL = (
    "backend",
    "backend-path",
    "arguments",
    "environment",
    "stdout",
    "stderr",
    "timeout",
)
