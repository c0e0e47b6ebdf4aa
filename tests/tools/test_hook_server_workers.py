"""The processes that a hook server forks hooks from: it replaces them, and nobody hears of it."""

from __future__ import annotations

import os
import shutil
import signal
import venv
from pathlib import Path

import pytest

from hook_server_harness import (
    MODES,
    Wire,
    begin_waiting,
    count,
    is_alive,
    open_wire,
    settle,
    state_of,
    until,
)

pytest_plugins = ["hook_server_fixtures", "warm_server_fixtures"]


@pytest.fixture
def environment(warm_environment: dict[str, str]) -> dict[str, str]:
    return warm_environment


@pytest.fixture
def wire(warm: Wire) -> Wire:
    return warm


def test_requests_that_wait_get_the_process_that_suits_them(
    wire: Wire, project: Path, site: Path, environment: dict[str, str]
) -> None:
    before = settle(wire, project)
    begin_waiting(wire, project)
    given = {**environment, "PYTHONHASHSEED": "7"}
    for number in (1, 2, 3):
        more = {"environment": given} if number == 2 else {}
        wire.send({**wire.request("look", source=project, **more), "id": number})
    (site / "extra.py").touch()
    wire.send({"cancel": "waits"})
    answers = [wire.receive() for _ in range(4)]
    assert [answer["id"] for answer in answers] == ["waits", 1, 2, 3]
    parents = {before, *(answer["value"]["parent"] for answer in answers[1:])}
    assert len(parents) == 4
    seeds = [answer["value"]["environment"].get("PYTHONHASHSEED") for answer in answers[1:]]
    assert seeds == [None, "7", None]
    replaced = parents - {answers[3]["value"]["parent"]}
    until(lambda: not any(map(is_alive, replaced)))


def test_options_of_the_interpreter_are_carried_over(
    project: Path, environment: dict[str, str]
) -> None:
    options = ("-O", "-X", "utf8", "-P")
    with open_wire(environment=environment, interpreter_options=options) as wire:
        given = {**environment, "PYTHONHASHSEED": "7"}
        for more in ({"environment": given}, {}):
            flags = wire.value("look", source=project, **more)["flags"]
            assert (flags["optimize"], flags["utf8_mode"]) == (1, 1)


def test_signals_are_heeded_after_it_as_before(
    wire: Wire, project: Path, environment: dict[str, str]
) -> None:
    given = {**environment, "PYTHONHASHSEED": "7"}
    assert wire.value("signals", source=project, environment=given) == wire.value(
        "signals", source=project
    )
    wire.process.send_signal(signal.SIGINT)
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
    wire.process.terminate()
    assert wire.line() == b""
    assert wire.process.wait() == -signal.SIGTERM


def test_an_interpreter_that_is_gone_refuses_hooks(
    project: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    with open_wire(environment=environment, python=folder / "bin" / "python") as wire:
        settle(wire, project)
        shutil.rmtree(folder)
        answer = wire.ask("give_back", source=project, arguments={"value": 1})
        assert answer["outcome"] == "refused"
        assert "No such file or directory" in answer["message"]


def test_a_source_that_is_gone_refuses_the_hook_alone(
    wire: Wire, project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Where the interpreter would have to start in it."""
    given = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}{os.pathsep}inside"}
    answer = wire.ask("look", source=tmp_path / "gone", environment=given)
    assert answer["outcome"] == "refused"
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


def test_a_worker_ends_with_its_server(wire: Wire, project: Path) -> None:
    worker = settle(wire, project)
    wire.process.terminate()
    until(lambda: not is_alive(worker))


def test_a_worker_that_is_killed_is_replaced(wire: Wire, project: Path) -> None:
    worker = settle(wire, project)
    os.kill(worker, signal.SIGKILL)
    until(lambda: not is_alive(worker))
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


def test_a_hook_whose_worker_is_killed_ends_with_it(wire: Wire, project: Path) -> None:
    worker = settle(wire, project)
    hook = begin_waiting(wire, project)
    os.kill(worker, signal.SIGKILL)
    assert wire.receive() == {"id": "waits", "outcome": "killed", "signal": "SIGKILL"}
    until(lambda: not is_alive(hook))
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


HANGS = """
if "HANGS" in os.environ:
    import time
    time.sleep(600)
"""


@pytest.mark.parametrize("end", ["cancelled", "timed-out"])
def test_a_hook_whose_interpreter_does_not_start_is_ended(
    project: Path, site: Path, environment: dict[str, str], end: str
) -> None:
    with (site / "sitecustomize.py").open("a") as file:
        file.write(HANGS)
    with open_wire("--patience", "0.2", environment=environment) as wire:
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
        starts = count(environment, "STARTS")
        more = {"timeout": 0.1} if end == "timed-out" else {}
        request = wire.request("look", source=project, **more)
        wire.send({**request, "environment": {**environment, "HANGS": ""}})
        if end == "cancelled":
            until(lambda: count(environment, "STARTS") > starts)
            wire.send({"cancel": request["id"]})
        expected = {"id": request["id"], "outcome": "killed", "signal": "SIGKILL", end: True}
        assert wire.receive() == expected
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


ANSWERS = """
import atexit, os, pathlib, time
def answer(folder):
    folder = pathlib.Path(folder)
    atexit.register((folder / "answers").touch)
    (folder / "begun").write_text(str(os.getpid()))
    while not (folder / "go").exists():
        time.sleep(0.001)
    return "}" * (1 << 20)
"""


def test_a_hook_that_is_killed_while_it_answers_has_not_answered(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    (project / "own.py").write_text(ANSWERS)
    more = {"backend": "own", "backend_path": ["."], "arguments": {"folder": str(project)}}
    with open_wire(*MODES[mode], environment=environment) as wire:
        request = wire.request("answer", source=project, **more)
        wire.send(request)
        hook = int(until(lambda: (project / "begun").exists() and (project / "begun").read_text()))
        wire.process.send_signal(signal.SIGSTOP)  # so that it reads no more than the pipe holds
        until(lambda: state_of(wire.process.pid) == "T")
        (project / "go").touch()
        until((project / "answers").exists)
        until(lambda: state_of(hook) == "S")
        os.kill(hook, signal.SIGKILL)
        wire.process.send_signal(signal.SIGCONT)
        expected = {"id": request["id"], "outcome": "killed", "signal": "SIGKILL"}
        assert wire.receive() == expected
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


def test_how_a_hook_ends_is_told_where_the_server_was_started_to_ignore_it(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    def prepare() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    with open_wire(*MODES[mode], environment=environment, preexec_fn=prepare) as wire:
        answer = wire.ask("end", source=project, arguments={"how": "exit"})
        assert answer == {"outcome": "exited", "status": 3}
        answer = wire.ask("end", source=project, arguments={"how": "abort"})
        assert answer == {"outcome": "killed", "signal": "SIGABRT"}
