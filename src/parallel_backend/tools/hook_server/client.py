"""A client of hook servers for frontends in Python."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from parallel_backend.tools.hook_server.connection import Connection
from parallel_backend.tools.hook_server.errors import error_of

__all__ = ["HookServer"]

StrPath: TypeAlias = "str | os.PathLike[str]"

# How pyproject_hooks, and pep517 before it, name the backend to the script that they run.
_BACKEND = ("_PYPROJECT_HOOKS_BUILD_BACKEND", "PEP517_BUILD_BACKEND")
_BACKEND_PATH = ("_PYPROJECT_HOOKS_BACKEND_PATH_JSON", "PEP517_BACKEND_PATH")


class HookServer:
    """A context manager that calls hooks of build backends through hook servers.

    There is one server for each interpreter. It is started when a hook is to be called with it, and
    ends with the context. Calls from several threads take turns. What hooks write goes to this
    process' descriptors 1 and 2, as with `subprocess`.

    :param python: the interpreter of `call`, by default `sys.executable`.
    :param fork: false: each hook gets a fresh process, as where there is no fork to be had.
    :param patience: seconds that a cancelled hook has to end after each signal (SIGINT, SIGTERM,
        SIGKILL), by default 12.
    """

    def __init__(
        self, python: StrPath | None = None, *, fork: bool = True, patience: float | None = None
    ) -> None:
        self._python = os.fspath(python or sys.executable)
        self._fork = fork
        self._patience = patience
        self._turn = threading.Lock()
        self._cancelling = threading.RLock()  # a signal's handler may cancel, too
        #: A call is to be cancelled that has not reached its server yet.
        self._cancelled = False
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the servers. A call that runs in another thread is waited for: `cancel` it first."""
        with self._turn:
            while self._connections:
                self._connections.popitem()[1].close()

    def call(  # noqa: PLR0913 - the protocol's, each by its name
        self,
        hook: str,
        *,
        backend: str,
        source: StrPath,
        backend_path: Sequence[str] = (),
        arguments: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        stdout: StrPath | None = None,
        stderr: StrPath | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Call a hook, and return what it returns.

        :param hook: its name; any attribute of the backend may be called.
        :param backend: as ``build-backend`` in ``pyproject.toml``: ``module`` or ``module:object``.
        :param source: the project's folder.
        :param backend_path: folders inside of `source` which the backend must come from (PEP 517).
        :param arguments: keyword arguments, of what JSON can carry.
        :param environment: the hook's whole environment, by default `os.environ`.
        :param stdout: the file that its output is added to.
        :param stderr: the same for its errors; it may be the same file.
        :param timeout: seconds after which it is ended.

        Raises a subclass of `HookServerError`. At `KeyboardInterrupt` the hook is ended first.
        """
        request = {
            "hook": hook,
            "backend": backend,
            "backend-path": [*backend_path],
            "source": os.path.abspath(source),
            "arguments": {**(arguments or {})},
            **_streams(stdout, stderr),
            **({} if timeout is None else {"timeout": timeout}),
        }
        answer = self._ask(self._python, request, environment)
        if answer["outcome"] == "returned":
            return answer["value"]
        raise error_of(f"{hook} of {backend} in {request['source']}", answer)

    def cancel(self) -> None:
        """Cancel the call that runs in another thread, if any; again: more harshly."""
        with self._cancelling:
            reached = [each.cancel() for each in [*self._connections.values()]]
            self._cancelled = not any(reached)

    def runner(
        self,
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        """Run a script as ``subprocess.run(cmd, check=True)`` does, in a fork of a server.

        A `runner` for `pyproject_hooks.BuildBackendHookCaller` and `build.ProjectBuilder`.

        Raises `subprocess.CalledProcessError`, or a `HookServerError` if the script cannot be run.
        """
        self._run(cmd, cwd, extra_environ)

    def quiet_runner(
        self,
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        """The same, with all output kept for the ``output`` of a `CalledProcessError`."""
        with tempfile.NamedTemporaryFile(prefix="hook-output-") as file:
            try:
                self._run(cmd, cwd, extra_environ, output=file.name)
            except subprocess.CalledProcessError as error:
                error.output = file.read()
                raise

    def _run(
        self,
        cmd: Sequence[str],
        cwd: str | None,
        extra_environ: Mapping[str, str] | None,
        *,
        output: str | None = None,
    ) -> None:
        environment = {**os.environ, **(extra_environ or {})}
        folder = os.path.abspath(cwd or os.curdir)
        python, script, *arguments = cmd
        if script.startswith("-"):  # an option of the interpreter
            _run_command(cmd, cwd, environment, output)
            return
        request = {
            "script": os.path.join(folder, script),
            "source": folder,
            "arguments": arguments,
            **_hints(environment),
            **_streams(output, output),
        }
        answer = self._ask(python, request, environment)
        if answer["outcome"] == "killed":
            import signal

            raise subprocess.CalledProcessError(-signal.Signals[answer["signal"]], [*cmd])
        if answer["outcome"] != "exited":
            raise error_of(f"{script} in {folder}", answer)
        if answer["status"]:
            raise subprocess.CalledProcessError(answer["status"], [*cmd])

    def _ask(
        self, python: str, request: dict[str, Any], environment: Mapping[str, str] | None
    ) -> dict[str, Any]:
        whole = {**os.environ} if environment is None else {**environment}
        with self._turn:
            self._cancelled = False
            connection = self._connections.get(python)
            if connection is None or connection.closed:
                connection = Connection(
                    python, environment=whole, fork=self._fork, patience=self._patience
                )
                self._connections[python] = connection
            asked = connection

            def begun() -> None:
                with self._cancelling:
                    if self._cancelled:
                        asked.cancel()

            return asked.ask({**request, "environment": whole}, begun=begun)


def _run_command(
    cmd: Sequence[str], cwd: str | None, environment: Mapping[str, str], output: str | None
) -> None:
    if output is None:
        subprocess.run(cmd, cwd=cwd, env=environment, check=True)
    else:
        with open(output, "ab") as file:
            subprocess.run(cmd, cwd=cwd, env=environment, check=True, stdout=file, stderr=file)


def _streams(stdout: StrPath | None, stderr: StrPath | None) -> dict[str, str]:
    given = {"stdout": stdout, "stderr": stderr}
    return {name: os.path.abspath(path) for name, path in given.items() if path is not None}


def _hints(environment: Mapping[str, str]) -> dict[str, Any]:
    """Which backend the script will import, so that it may be there already."""
    backends = [environment[name] for name in _BACKEND if environment.get(name)]
    in_tree = any(environment.get(name) for name in _BACKEND_PATH)
    return {"backend": backends[0]} if backends and not in_tree else {}
