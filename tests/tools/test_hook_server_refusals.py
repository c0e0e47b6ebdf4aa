"""How the hook server refuses requests that it does not understand."""

from __future__ import annotations

from pathlib import Path

import pytest

from hook_server_harness import (
    Wire,
    message,
    open_wire,
)

pytest_plugins = ["hook_server_fixtures"]


@pytest.fixture
def wire(patient: Wire) -> Wire:
    return patient


REFUSED: list[tuple[object, object, str]] = [
    (b"{\n", None, "not JSON: "),
    (b"\xff\xfe\n", None, "not JSON: "),
    (b"[" * 100_000 + b"\n", None, "not JSON: "),
    ([1], None, "not a JSON object"),
    ("text", None, "not a JSON object"),
    ({}, None, 'exactly one of "hook", "script" and "cancel" must be there'),
    ({"id": 5}, 5, 'exactly one of "hook", "script" and "cancel" must be there'),
    (message(script="/x"), 5, 'exactly one of "hook", "script" and "cancel" must be there'),
    (message(id=None), None, '"id" is missing in a "hook" message'),
    (message(id=1.5), None, '"id": 1.5 is not allowed; allowed is a string or a whole number'),
    (message(id=True), None, '"id": True is not allowed; allowed is a string or a whole number'),
    (message(source=None), 5, '"source" is missing in a "hook" message'),
    (message(backend=None), 5, '"backend" is missing in a "hook" message'),
    (message(source="x"), 5, "\"source\": 'x' is not allowed; allowed is an absolute path"),
    (message(source="/\0"), 5, "\"source\": '/\\x00' is not allowed; "),
    (message(source="/\ud800"), 5, "\"source\": '/\\ud800' is not allowed; "),
    (message(hook=""), 5, "\"hook\": '' is not allowed; allowed is the name of a hook"),
    (message(hook=["x"]), 5, "\"hook\": ['x'] is not allowed; allowed is the name of a hook"),
    (message(backend=3), 5, '"backend": 3 is not allowed; allowed is a string such as "module'),
    (message(arguments=[]), 5, '"arguments": [] is not allowed; allowed is an object of keyword'),
    (message(environment={"A": 1}), 5, "\"environment\": {'A': 1} is not allowed; allowed is an"),
    (message(environment={"A=": ""}), 5, "\"environment\": {'A=': ''} is not allowed"),
    (message(environment={"": ""}), 5, "\"environment\": {'': ''} is not allowed"),
    (message(stdout="out"), 5, "\"stdout\": 'out' is not allowed; allowed is an absolute path"),
    (message(timeout=0), 5, '"timeout": 0 is not allowed; allowed is a number of seconds, more'),
    (message(timeout=True), 5, '"timeout": True is not allowed'),
    (message(timeout="1"), 5, "\"timeout\": '1' is not allowed"),
    (message(stderr="x" * 200), 5, f'"stderr": \'{"x" * 99}... is not allowed'),
    (message(backend_path="x"), 5, "\"backend-path\": 'x' is not allowed; allowed is a list of"),
    (message(backend_path=["../x"]), 5, '"backend-path": /x is not inside of /y'),
    (message(backend_path=["/yy"]), 5, '"backend-path": /yy is not inside of /y'),
    ({"id": 5, "script": "/s"}, 5, '"source" is missing in a "script" message'),
    ({"id": 5, "script": "s", "source": "/"}, 5, "\"script\": 's' is not allowed; allowed is an"),
    (
        {"id": 5, "script": "/s", "source": "/", "arguments": {}},
        5,
        '"arguments": {} is not allowed; allowed is a list of strings',
    ),
    ({"cancel": None}, None, '"cancel": None is not allowed; allowed is the id of a request'),
    ({"cancel": 1, "id": 5}, None, 'unknown key "id" in a "cancel" message; known are cancel'),
]


@pytest.mark.parametrize(
    ("wrong", "identity", "begin"), REFUSED, ids=[str(number) for number in range(len(REFUSED))]
)
def test_a_bad_message_is_refused_with_its_reason(
    environment: dict[str, str], project: Path, wrong: object, identity: object, begin: str
) -> None:
    if isinstance(wrong, dict) and "backend-path" in wrong:
        wrong = {**wrong, "source": "/y"}
    with open_wire(environment=environment) as wire:
        wire.send(wrong)
        answer = wire.receive()
        assert set(answer) == {"id", "outcome", "message"}
        assert (answer["id"], answer["outcome"]) == (identity, "refused")
        assert answer["message"].startswith(begin), answer["message"]
        assert "\n" not in answer["message"]
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("backend_path", "backend-path"),
        ("enviroment", "environment"),
        ("sources", "source"),
        ("time-out", "timeout"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_one(
    environment: dict[str, str], key: str, meant: str
) -> None:
    with open_wire(environment=environment) as wire:
        wire.send({**message(), key: "x"})
        expected = f'unknown key "{key}" in a "hook" message; did you mean "{meant}"?'
        assert wire.receive()["message"] == expected


def test_blank_lines_mean_nothing(wire: Wire, project: Path) -> None:
    wire.send(b"\n  \r\n\t\n")
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


def test_a_line_without_end_does_not_fill_the_memory(
    environment: dict[str, str], project: Path
) -> None:
    with open_wire(environment=environment) as wire:
        before = memory(wire.process.pid)
        for _ in range(96):
            wire.send(b"x" * (1 << 20))
        wire.send(b"\n")
        assert wire.receive()["message"].startswith("not JSON: ")
        assert memory(wire.process.pid) - before < 80 << 20
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


def memory(pid: int) -> int:
    """What a process has of the machine's memory, in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10
