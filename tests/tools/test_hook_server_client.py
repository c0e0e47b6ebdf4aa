"""`HookServer`, a client for frontends in Python, and its runners for pyproject_hooks and build."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import SOURCE
from hook_server_harness import (
    PATIENCE,
    before_end_is_no_child,
    is_alive,
    parent_of,
    until,
)
from parallel_backend.errors import ParallelBackendError
from parallel_backend.tools.hook_server import (
    BackendMissingError,
    HookCancelledError,
    HookExitedError,
    HookFailedError,
    HookKilledError,
    HookMissingError,
    HookServer,
    HookServerError,
    HookTimedOutError,
    RequestRefusedError,
    ServerEndedError,
    client,
)
from parallel_backend.tools.hook_server.connection import Connection

pytest_plugins = ["hook_server_fixtures"]


class Caller:
    """Calls hooks of the made-up backend."""

    def __init__(self, server: HookServer, source: Path, environment: Mapping[str, str]) -> None:
        self.server = server
        self.source = source
        self.environment = environment

    def process(self) -> int:
        """The server's process. Hooks are forked from another one."""
        parent: int = self("look")["parent"]
        return parent_of(parent) if parent_of(parent) != os.getpid() else parent

    def __call__(self, hook: str, /, **more: Any) -> Any:
        names = {"backend", "backend_path", "source", "environment", "stdout", "stderr", "timeout"}
        given = {name: more.pop(name) for name in names & {*more}}
        whole: dict[str, Any] = {
            "backend": "made_up",
            "source": self.source,
            "environment": self.environment,
            "arguments": more,
            **given,
        }
        return self.server.call(hook, **whole)


@pytest.fixture
def call(fork: bool, project: Path, environment: dict[str, str]) -> Iterator[Caller]:
    with HookServer(fork=fork, patience=100) as server:
        yield Caller(server, project, environment)
    before_end_is_no_child()


# --- calls


def test_a_hook_is_called_with_what_it_is_given(
    call: Caller, project: Path, environment: dict[str, str]
) -> None:
    seen = call("look", wheel_directory="x")
    assert seen["arguments"] == {"wheel_directory": "x"}
    assert seen["folder"] == str(project)
    assert seen["environment"].items() >= environment.items()
    assert call("who", backend="made_up:nested.inner") == "inner"
    (project / "own.py").write_text("def who(): return 'in the tree'\n")
    assert call("who", backend="own", backend_path=["."]) == "in the tree"


def test_the_environment_is_that_of_the_moment(
    call: Caller, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    for value in ("one", "two"):
        monkeypatch.setenv("OF_THE_MOMENT", value)
        seen = call("look", environment=None)["environment"]
        assert seen["OF_THE_MOMENT"] == value


def test_paths_may_be_relative_and_of_any_kind(
    call: Caller, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)
    call("talk", source="project", stdout="out", stderr=Path("err"))
    assert (project.parent / "out").read_text("utf-8") == "to stdout: Grüße\nno line end"
    assert (project.parent / "err").read_text("utf-8") == "to stderr: Grüße\n"


def test_output_goes_to_the_descriptors_of_the_client(
    fork: bool, project: Path, environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    with HookServer(fork=fork) as server:
        Caller(server, project, environment)("talk")
    captured = capfd.readouterr()
    assert captured.out == "to stdout: Grüße\nno line end"
    assert captured.err == "to stderr: Grüße\n"


def test_one_server_serves_all_calls(call: Caller) -> None:
    assert call.process() == call.process()
    assert call("look")["process"] != call("look")["process"]


# --- errors


def test_every_error_has_one_base(call: Caller) -> None:
    assert issubclass(HookServerError, ParallelBackendError)
    with pytest.raises(HookServerError) as caught:
        call("look", source="/no/such/folder")
    assert caught.type is RequestRefusedError
    assert caught.value.answer["outcome"] == "refused"
    assert "No such file or directory" in str(caught.value)


def test_an_exception_of_the_hook_is_told(call: Caller, project: Path) -> None:
    with pytest.raises(HookFailedError) as caught:
        call("raise_error", of="notes")
    error = caught.value
    what = f"raise_error of made_up in {project}"
    assert str(error) == f"{what} raised made_up.OwnError: first line"
    assert (error.type, error.message) == ("made_up.OwnError", "first line\nsecond line")
    assert error.notes == ["a note"]
    assert error.code is None
    assert error.traceback.endswith("made_up.OwnError: first line\nsecond line\na note\n")
    # It is shown where nobody handles the error.
    assert error.__notes__ == [f"In the hook's process:\n{error.traceback}"]
    with pytest.raises(HookFailedError) as caught:
        call("raise_error", of="exit")
    assert caught.value.code == "a reason"


def test_a_value_that_cannot_come_back_is_an_error(call: Caller) -> None:
    with pytest.raises(HookFailedError, match="JSON cannot carry"):
        call("return_value", of="set")


def test_the_death_of_a_hook_is_told(call: Caller) -> None:
    with pytest.raises(HookKilledError, match=r"was killed by SIGABRT$") as killed:
        call("end", how="abort")
    assert killed.value.signal == "SIGABRT"
    with pytest.raises(HookExitedError, match=r"exit status 3, with no answer$") as exited:
        call("end", how="exit")
    assert exited.value.status == 3
    assert call("give_back", value=1) == 1


def test_what_is_missing_is_told(call: Caller) -> None:
    with pytest.raises(BackendMissingError, match=r"No module named 'nowhere'$") as caught:
        call("look", backend="nowhere")
    assert "ModuleNotFoundError" in caught.value.traceback
    with pytest.raises(HookMissingError, match=r"made_up has no build_wheel$"):
        call("build_wheel")


def test_a_hook_may_time_out(call: Caller, project: Path) -> None:
    with pytest.raises(HookTimedOutError, match="took longer than its timeout"):
        call("wait", file=str(project / "waits"), timeout=1.0)
    assert call("give_back", value=1, timeout=1000) == 1


def test_another_thread_may_cancel(call: Caller, project: Path) -> None:
    file = project / "waits"

    def cancel() -> None:
        until(file.exists)
        call.server.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(HookCancelledError, match=r"was cancelled$"):
        call("clean_up", file=str(file))
    thread.join()
    assert (project / "waits.clean").exists()
    call.server.cancel()  # there is nothing to cancel
    assert call("give_back", value=1) == 1


def test_a_call_whose_server_is_being_started_is_cancelled(
    call: Caller, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*args: Any, **options: Any) -> Connection:
        call.server.cancel()  # as another thread does
        return Connection(*args, **options)

    monkeypatch.setattr(client, "Connection", start)
    with pytest.raises(HookCancelledError, match=r"was cancelled$"):
        call("clean_up", file=str(project / "waits"), timeout=PATIENCE)
    assert call("give_back", value=1) == 1


def test_calls_of_several_threads_take_turns(call: Caller) -> None:
    found: dict[int, Any] = {}

    def work(number: int) -> None:
        found[number] = [call("give_back", value=[number, turn]) for turn in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [[number, turn] for turn in range(5)] for number in range(4)}


# A frontend that calls a hook and is interrupted. It says what it saw.
INTERRUPTED = """
import os, signal, sys
from parallel_backend.tools.hook_server import HookServer
file, environment = sys.argv[1], dict(os.environ)
times = int(sys.argv[2])
with HookServer(patience=100, fork=sys.argv[3] == "fork") as server:
    call = lambda hook, **arguments: server.call(
        hook, backend="made_up", source=os.path.dirname(file), arguments=arguments
    )
    try:
        call("wait", file=file, heeding="SIGINT SIGTERM" if times > 1 else "")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(call("give_back", value="again"), flush=True)
"""


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_the_hook_first(
    fork: bool, project: Path, environment: dict[str, str], times: int
) -> None:
    """A second one does not wait for it any longer."""
    path = os.pathsep.join([environment["PYTHONPATH"], str(SOURCE)])
    file = project / "waits"
    words = [str(file), str(times), "fork" if fork else "no-fork"]
    client = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *words],
        env={**environment, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(file.exists)
    hook = int(file.read_text())
    os.killpg(client.pid, signal.SIGINT)
    if times == 2:
        until((project / "waits.heard").exists)
        os.killpg(client.pid, signal.SIGINT)
    assert client.stdout
    assert client.stdout.readline() == "interrupted\n"
    assert is_alive(hook) == (times == 2)
    if times == 2:  # it is left to its server, which has all its patience
        os.kill(hook, signal.SIGKILL)
    assert client.communicate(timeout=PATIENCE)[0] == "again\n"
    assert client.returncode == 0


def test_the_end_of_the_server_is_told_and_the_next_call_has_another(call: Caller) -> None:
    server = call.process()
    os.kill(server, signal.SIGKILL)
    with pytest.raises(ServerEndedError, match="ended by signal 9, without an answer"):
        call("look")
    assert call.process() != server


def test_an_interpreter_that_does_not_start_is_told(project: Path, tmp_path: Path) -> None:
    with HookServer(tmp_path / "none") as server, pytest.raises(ServerEndedError) as caught:
        server.call("x", backend="x", source=project)
    assert "cannot be started with" in str(caught.value)
    assert "No such file or directory" in str(caught.value)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 7\n")
    broken.chmod(0o755)
    with HookServer(broken) as server:
        for _ in range(2):
            with pytest.raises(ServerEndedError, match="ended by exit status 7"):
                server.call("x", backend="x", source=project)
    before_end_is_no_child()


def test_a_context_leaves_no_descriptor(
    fork: bool, project: Path, environment: dict[str, str]
) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(2):
        with HookServer(fork=fork) as server:
            call = Caller(server, project, environment)
            assert call("give_back", value=1) == 1
            os.kill(call.process(), signal.SIGKILL)
            with pytest.raises(ServerEndedError):
                call("look")
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_fork_of_the_client_does_not_keep_a_server(
    fork: bool, project: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the channel open, too."""
    from parallel_backend.tools.hook_server import connection

    monkeypatch.setattr(connection, "_END", 0.1)
    with HookServer(fork=fork) as server:
        process = Caller(server, project, environment).process()
        pid = os.fork()
        if pid == 0:
            signal.pause()
    try:
        assert not is_alive(process)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
