"""Call build hooks, one after another: all of them in this one process, or through one hook server.

    python caller.py direct|server ANSWERS

What frontends do that keep a process for many hooks. It runs with the interpreter of the
environment to build in, so it imports the standard library and this project alone. Requests are
JSON, one a line, on standard input; an answer to each goes, as one line, to the descriptor ANSWERS:
setup scripts own stdout. A request holds ``hook``, ``backend``, ``backend_path``, ``folder`` and
``arguments``; an answer ``result``, or ``error``: the exception's type and its message.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

Request = Mapping[str, Any]


class RaisedError(Exception):
    """A hook in another process raised an exception of a class of this name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def direct(request: Request) -> Any:
    """Call the hook here, as gpep517 does, and other frontends in the process they keep."""
    os.chdir(request["folder"])
    first = request["backend_path"]
    sys.path[:0] = first
    try:
        module, _, attribute = request["backend"].partition(":")
        backend: Any = import_module(module)
        if attribute:
            backend = getattr(backend, attribute)
        return getattr(backend, request["hook"])(**request["arguments"])
    finally:
        # No more than what was put there: what the hook has left on the path stays to be seen.
        del sys.path[: len(first)]


@contextlib.contextmanager
def one_process() -> Iterator[Callable[[Request], Any]]:
    """This one."""
    yield direct


@contextlib.contextmanager
def served() -> Iterator[Callable[[Request], Any]]:
    """A hook server of this interpreter."""
    from parallel_backend.tools.hook_server import HookFailedError, HookServer

    with HookServer() as server:

        def call(request: Request) -> Any:
            # Not the server's backend path: no backend is taken from a source tree here.
            path = [*request["backend_path"], *filter(None, [os.environ.get("PYTHONPATH")])]
            try:
                return server.call(
                    request["hook"],
                    backend=request["backend"],
                    source=request["folder"],
                    arguments=request["arguments"],
                    environment={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
                )
            except HookFailedError as error:
                raise RaisedError(error.type, error.message) from error

        yield call


def answer(line: str, call: Callable[[Request], Any]) -> str:
    """The answer to one request."""
    try:
        return json.dumps({"result": call(json.loads(line))})
    except RaisedError as error:
        return json.dumps({"error": [error.name, str(error)]})
    except BaseException as error:  # setuptools reports ordinary errors as SystemExit
        return json.dumps({"error": [type(error).__qualname__, str(error)]})


def main() -> None:
    """Answer requests until there are no more."""
    ways = {"direct": one_process, "server": served}
    way, number = ways[sys.argv[1]], int(sys.argv[2])
    # The folder of this script is no part of what a frontend offers.
    del sys.path[0]
    sys.argv[1:] = []
    os.set_inheritable(number, False)
    # Nothing that a hook starts may read requests.
    with open(os.dup(0), encoding="utf-8") as requests, open(number, "w") as answers:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        with way() as call:
            for line in requests:
                answers.write(answer(line, call) + "\n")
                answers.flush()


if __name__ == "__main__":
    main()
