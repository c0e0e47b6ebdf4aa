"""A hook server that becomes another interpreter goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import venv
from pathlib import Path

import pytest

from hook_server_harness import Wire, open_wire, settle, until

pytest_plugins = ["hook_server_fixtures", "warm_server_fixtures"]


@pytest.fixture
def environment(warm_environment: dict[str, str]) -> dict[str, str]:
    return warm_environment


@pytest.fixture
def wire(warm: Wire) -> Wire:
    return warm


def test_what_was_asked_for_is_carried_over(
    wire: Wire, project: Path, site: Path, environment: dict[str, str]
) -> None:
    """All that waits, and the beginning of a message; and nobody hears of it."""
    settle(wire, project)
    waits = project / "waits"
    wire.send({**wire.request("wait", source=project, arguments={"file": str(waits)}), "id": 0})
    until(waits.exists)
    given = {**environment, "PYTHONHASHSEED": "7"}
    for number in (1, 2, 3):
        request = wire.request("look", source=project, environment=given if number == 2 else None)
        if number != 2:
            del request["environment"]
        wire.send({**request, "id": number})
    (site / "extra.py").touch()
    wire.send(b'{"cancel": "no')
    wire.send({"cancel": 0})
    os.write(wire.write, b"")
    # The line so far is no JSON, and must not be lost either.
    assert wire.receive()["outcome"] == "refused"
    wire.send({"cancel": 0})
    answers = [wire.receive() for _ in range(4)]
    assert [answer["id"] for answer in answers] == [0, 1, 2, 3]
    pids = {answer["value"]["parent"] for answer in answers[1:]}
    assert pids == {wire.process.pid}
    seeds = [answer["value"]["environment"].get("PYTHONHASHSEED") for answer in answers[1:]]
    assert seeds == [None, "7", None]


def test_the_end_of_input_is_carried_over(
    wire: Wire, project: Path, site: Path, environment: dict[str, str]
) -> None:
    given = {**environment, "PYTHONHASHSEED": "7"}
    for more in ({"environment": given}, {}, {"environment": given}):
        wire.send(wire.request("give_back", source=project, arguments={"value": 1}, **more))
    wire.close_input()
    assert [wire.receive()["value"] for _ in range(3)] == [1, 1, 1]
    assert wire.line() == b""


def test_half_a_message_is_carried_over(
    wire: Wire, project: Path, environment: dict[str, str]
) -> None:
    given = {**environment, "PYTHONHASHSEED": "7"}
    first = wire.request("give_back", source=project, arguments={"value": 1}, environment=given)
    second = wire.request("give_back", source=project, arguments={"value": "é\ud800"})
    text = json.dumps(second, ensure_ascii=False).encode("utf-8", "surrogatepass")
    text = text.replace(b"\xed\xa0\x80", b"\\ud800") + b"\n"
    wire.send(json.dumps(first).encode() + b"\n" + text[:-8])
    assert wire.receive()["value"] == 1
    wire.send(text[-8:])
    assert wire.receive()["value"] == "é\ud800"


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
