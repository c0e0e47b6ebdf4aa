"""How requests wait for their turn, are cancelled and timed out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from hook_server_harness import (
    MODES,
    Wire,
    begin_waiting,
    is_alive,
    open_wire,
    until,
)

pytest_plugins = ["hook_server_fixtures"]


# Seconds; long enough that only a hook that does not heed a signal meets its end.
SHORT = ["--patience", "0.3"]
LONG = ["--patience", "100"]


@pytest.fixture
def wire(patient: Wire) -> Wire:
    return patient


def test_requests_wait_for_their_turn(wire: Wire, project: Path) -> None:
    begin_waiting(wire, project)
    wire.send({**wire.request("give_back", source=project, arguments={"value": 7}), "id": "next"})
    wire.send({"cancel": "waits"})
    assert wire.receive()["id"] == "waits"
    assert wire.receive() == {"id": "next", "outcome": "returned", "value": 7}


def test_an_id_that_is_not_answered_yet_is_refused(wire: Wire, project: Path) -> None:
    begin_waiting(wire, project)
    request = wire.request("give_back", source=project, arguments={"value": 7})
    for identity in ("waits", "next", "next", 1):
        wire.send({**request, "id": identity})
    for identity in ("waits", "next"):
        answer = wire.receive()
        assert (answer["id"], answer["outcome"]) == (identity, "refused")
        text = f"\"id\": '{identity}' is that of a request which is not answered yet"
        assert answer["message"] == text
    wire.send({"cancel": "waits"})
    answers = [wire.receive() for _ in range(3)]
    assert [answer["id"] for answer in answers] == ["waits", "next", 1]
    wire.send({**request, "id": "next"})
    assert wire.receive()["value"] == 7


def test_a_hook_is_cancelled_as_by_ctrl_c(wire: Wire, project: Path) -> None:
    begin_waiting(wire, project, "clean_up")
    wire.send({"cancel": "waits"})
    answer = wire.receive()
    assert (answer["outcome"], answer["type"]) == ("raised", "KeyboardInterrupt")
    assert answer["cancelled"] is True
    assert (project / "waits.clean").exists()


def test_a_request_that_waits_is_cancelled_at_once(wire: Wire, project: Path) -> None:
    pid = begin_waiting(wire, project)
    wire.send({**wire.request("talk", source=project), "id": 2})
    wire.send({"cancel": 2})
    assert wire.receive() == {
        "id": 2,
        "outcome": "refused",
        "message": "cancelled before it began",
        "cancelled": True,
    }
    assert is_alive(pid)
    wire.send({"cancel": "waits"})
    assert wire.receive()["id"] == "waits"


def test_cancelling_what_is_not_there_means_nothing(wire: Wire, project: Path) -> None:
    """The answer may be on its way already."""
    wire.send({"cancel": 1})
    assert wire.value("give_back", source=project, arguments={"value": 7}) == 7
    wire.send({"cancel": 1})
    assert wire.value("give_back", source=project, arguments={"value": 8}) == 8


@pytest.mark.parametrize(
    ("heeding", "name", "heard"),
    [("SIGINT", "SIGTERM", 1), ("SIGINT SIGTERM", "SIGKILL", 2)],
)
def test_a_hook_that_does_not_heed_one_signal_gets_the_next(
    mode: str, environment: dict[str, str], project: Path, heeding: str, name: str, heard: int
) -> None:
    with open_wire(*MODES[mode], *SHORT, environment=environment) as wire:
        begin_waiting(wire, project, heeding=heeding)
        wire.send({"cancel": "waits"})
        answer = wire.receive()
    assert answer == {"id": "waits", "outcome": "killed", "signal": name, "cancelled": True}
    assert (project / "waits.heard").read_text() == "heard\n" * heard


def test_who_cancels_again_need_not_wait(wire: Wire, project: Path) -> None:
    begin_waiting(wire, project, heeding="SIGINT SIGTERM")
    heard = project / "waits.heard"
    for count in (1, 2):
        wire.send({"cancel": "waits"})
        until(partial(is_heard, heard, count))
    wire.send({"cancel": "waits"})
    assert wire.receive()["signal"] == "SIGKILL"


def is_heard(file: Path, count: int) -> bool:
    return file.exists() and file.read_text() == "heard\n" * count


def test_what_a_cancelled_hook_has_started_ends_with_it(wire: Wire, project: Path) -> None:
    begin_waiting(wire, project, child=True)
    child = int((project / "waits.child").read_text())
    wire.send({"cancel": "waits"})
    assert wire.receive()["cancelled"] is True
    until(lambda: not is_alive(child))


def test_a_hook_that_takes_too_long_is_ended(wire: Wire, project: Path) -> None:
    arguments = {"file": str(project / "waits")}
    answer = wire.ask("wait", source=project, arguments=arguments, timeout=1.0)
    assert answer["outcome"] in ("raised", "killed")  # it may have been about to start
    assert answer["timed-out"] is True
    assert "cancelled" not in answer
    value = wire.value("give_back", source=project, arguments={"value": 1}, timeout=1e9)
    assert value == 1


def test_a_hook_that_returns_although_it_was_cancelled_has_returned(
    wire: Wire, project: Path
) -> None:
    (project / "heeds.py").write_text(
        "import made_up\n"
        "def wait(file):\n"
        "    try:\n"
        "        made_up.wait(file)\n"
        "    except KeyboardInterrupt:\n"
        "        return 'done'\n"
    )
    file = project / "waits"
    arguments = {"file": str(file)}
    request = wire.request(
        "wait", source=project, backend="heeds", backend_path=["."], arguments=arguments
    )
    wire.send(request)
    until(file.exists)
    wire.send({"cancel": request["id"]})
    assert wire.receive() == {"id": request["id"], "outcome": "returned", "value": "done"}
