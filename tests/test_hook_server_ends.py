"""How requests are refused, cancelled and timed out, and how a hook server ends with its client."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hook_server_harness import (
    MODES,
    PATIENCE,
    SERVER,
    Wire,
    ended,
    is_alive,
    made_up_environment,
    open_wire,
    until,
)

# Seconds; long enough that only a hook that does not heed a signal meets its end.
SHORT = ["--patience", "0.3"]
LONG = ["--patience", "100"]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return made_up_environment(tmp_path / "site")


@pytest.fixture
def wire(mode: str, environment: dict[str, str]) -> Iterator[Wire]:
    with open_wire(*MODES[mode], *LONG, environment=environment) as wire:
        yield wire


def begin_waiting(wire: Wire, project: Path, hook: str = "wait", **arguments: Any) -> int:
    """Begin a hook that waits for a signal; returns its process."""
    file = project / "waits"
    file.unlink(missing_ok=True)
    arguments = {"file": str(file), **arguments}
    wire.send({**wire.request(hook, source=project, arguments=arguments), "id": "waits"})
    until(file.exists)
    return int(file.read_text())


# --- messages that are refused


def message(**more: object) -> dict[str, object]:
    """A request with no mistake but those given; None leaves a key out."""
    whole = {"id": 5, "hook": "look", "backend": "made_up", "source": "/", **more}
    whole = {name.replace("_", "-"): value for name, value in whole.items()}
    return {name: value for name, value in whole.items() if value is not None}


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


# --- requests that wait, are cancelled, or take too long


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
    answer = wire.ask("wait", source=project, arguments=arguments, timeout=0.05)
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


def test_what_was_asked_for_before_the_end_of_input_is_still_answered(
    wire: Wire, project: Path
) -> None:
    begin_waiting(wire, project)
    wire.send({**wire.request("give_back", source=project, arguments={"value": 7}), "id": "next"})
    # The last line may lack its end.
    wire.send(b'{"cancel": "waits"}')
    wire.close_input()
    assert wire.receive()["cancelled"] is True
    assert wire.receive()["value"] == 7
    assert wire.line() == b""
    assert wire.process.wait(PATIENCE) == 0


def test_a_server_with_nothing_to_do_ends_with_its_input(wire: Wire) -> None:
    wire.close_input()
    assert wire.line() == b""
    assert wire.process.wait(PATIENCE) == 0


def test_nobody_who_reads_answers_ends_the_hook(wire: Wire, project: Path) -> None:
    pid = begin_waiting(wire, project)
    os.close(wire.read)
    wire.read = -1
    wire.close_input()
    assert wire.process.wait(PATIENCE) == 0
    assert not is_alive(pid)


def test_a_hook_that_does_not_heed_the_end_is_killed(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    with open_wire(*MODES[mode], *SHORT, environment=environment) as wire:
        pid = begin_waiting(wire, project, heeding="SIGINT SIGTERM")
        wire.close()
        assert wire.process.wait(PATIENCE) == 0
    assert not is_alive(pid)
    assert (project / "waits.heard").read_text() == "heard\n"


CLIENT = """
import json, os, subprocess, sys
server, options, request, told = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
ends = [*os.pipe(), *os.pipe()]
channel = ["--channel", str(ends[0]), str(ends[3])]
process = subprocess.Popen(
    [sys.executable, server, *options, *channel], pass_fds=(ends[0], ends[3])
)
os.close(ends[0])
os.close(ends[3])
with open(told, "w") as file:
    file.write(str(process.pid))
os.write(ends[1], request.encode() + b"\\n")
while os.read(ends[2], 1 << 16):
    pass
"""


def test_a_client_that_is_killed_takes_the_server_and_the_hook_with_it(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    arguments = {"file": str(project / "waits")}
    request = message(hook="wait", source=str(project), arguments=arguments)
    told = project / "server"
    words = [str(SERVER), json.dumps([*MODES[mode], *LONG]), json.dumps(request), str(told)]
    client = subprocess.Popen([sys.executable, "-c", CLIENT, *words], env=environment)
    until((project / "waits").exists)
    hook, server = int((project / "waits").read_text()), int(told.read_text())
    assert is_alive(hook)
    assert is_alive(server)
    client.kill()
    client.wait()
    until(lambda: not is_alive(hook) and not is_alive(server))


def test_a_connection_of_one_descriptor_will_do(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    """And its halves are told apart: requests may end before answers do."""
    here, there = socket.socketpair()
    number = str(there.fileno())
    with here, there:
        process = subprocess.Popen(
            [sys.executable, str(SERVER), *MODES[mode], "--channel", number, number],
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[there.fileno()],
        )
        there.close()
        wire = Wire(process, read=os.dup(here.fileno()), write=os.dup(here.fileno()))
        with ended(wire):
            assert wire.receive()["hello"] == 1
            assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
            pid = begin_waiting(wire, project)
            wire.send({"cancel": "waits"})
            here.shutdown(socket.SHUT_WR)
            assert wire.receive()["cancelled"] is True
            assert wire.line() == b""
            assert process.wait(PATIENCE) == 0
            assert not is_alive(pid)


def test_a_connection_that_is_closed_ends_the_hook(
    environment: dict[str, str], project: Path
) -> None:
    here, there = socket.socketpair()
    number = str(there.fileno())
    process = subprocess.Popen(
        [sys.executable, str(SERVER), *LONG, "--channel", number, number],
        env=environment,
        stdin=subprocess.DEVNULL,
        pass_fds=[there.fileno()],
    )
    there.close()
    wire = Wire(process, read=here.fileno(), write=os.dup(here.detach()))
    with ended(wire):
        wire.receive()
        pid = begin_waiting(wire, project)
        wire.close()
        assert process.wait(PATIENCE) == 0
        assert not is_alive(pid)


def test_requests_may_stand_in_a_file_and_answers_go_to_one(
    mode: str, environment: dict[str, str], project: Path, tmp_path: Path
) -> None:
    requests, answers = tmp_path / "requests", tmp_path / "answers"
    lines = [message(id=n, hook="give_back", arguments={"value": n}) for n in range(3)]
    requests.write_text("\n".join(map(json.dumps, lines)))
    with requests.open() as stdin, answers.open("w") as stdout:
        subprocess.run(
            [sys.executable, str(SERVER), *MODES[mode]],
            env=environment,
            stdin=stdin,
            stdout=stdout,
            timeout=PATIENCE,
            check=True,
        )
    found = [json.loads(line) for line in answers.read_text().split("\n") if line]
    assert [each.get("value") for each in found] == [None, 0, 1, 2]


def test_answers_that_cannot_be_written_end_the_server(
    mode: str, environment: dict[str, str], project: Path, tmp_path: Path
) -> None:
    """Nobody reads them, or there is no room for them."""
    file = tmp_path / "begun"
    request = message(hook="wait", source=str(project), arguments={"file": str(file)})
    reading, writing = os.pipe()
    os.close(reading)
    descriptors = [writing]
    if os.path.exists("/dev/full"):
        descriptors.append(os.open("/dev/full", os.O_WRONLY))
    for stdout in descriptors:
        requests_in, requests_out = os.pipe()
        os.write(requests_out, json.dumps(request).encode() + b"\n")
        done = subprocess.run(
            [sys.executable, str(SERVER), *MODES[mode], *LONG],
            env=environment,
            stdin=requests_in,
            stdout=stdout,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0
        for descriptor in (requests_in, requests_out, stdout):
            os.close(descriptor)


def test_requests_that_cannot_be_read_end_the_server(
    mode: str, environment: dict[str, str], tmp_path: Path
) -> None:
    with (tmp_path / "file").open("wb") as written:
        done = subprocess.run(
            [sys.executable, str(SERVER), *MODES[mode]],
            env=environment,
            stdin=written,
            stdout=subprocess.PIPE,
            timeout=PATIENCE,
            check=True,
        )
    assert json.loads(done.stdout.splitlines()[0])["hello"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_server_that_is_told_to_end_ends_its_hook_first(
    wire: Wire, project: Path, number: signal.Signals
) -> None:
    pid = begin_waiting(wire, project)
    wire.send({**wire.request("talk", source=project), "id": "next"})
    wire.process.send_signal(number)
    answer = wire.receive()
    assert (answer["outcome"], answer["signal"]) == ("killed", "SIGTERM")
    assert answer["server-ended"] is True
    assert wire.process.wait(PATIENCE) == -number
    assert not is_alive(pid)


@pytest.mark.parametrize("busy", [False, True])
def test_ctrl_c_is_for_the_client_alone(wire: Wire, project: Path, busy: bool) -> None:
    if busy:
        begin_waiting(wire, project)
    wire.process.send_signal(signal.SIGINT)
    if busy:
        wire.send({"cancel": "waits"})
        assert wire.receive()["cancelled"] is True
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


@pytest.fixture
def terminal(
    mode: str, environment: dict[str, str], tmp_path: Path
) -> Iterator[tuple[Wire, subprocess.Popen[bytes]]]:
    """A server that was started by hand in a terminal."""
    main, side = pty.openpty()
    script = "import os, sys; os.setsid(); import fcntl, termios;"
    script += "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    script += "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(SERVER), *MODES[mode], *LONG],
        env=environment,
        stdin=side,
        stdout=side,
        stderr=subprocess.DEVNULL,
    )
    os.close(side)
    wire = Wire(process, read=main, write=main)
    try:
        until(lambda: b"hello" in wire.line())
        yield wire, process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        wire.close()


@pytest.mark.parametrize("busy", [False, True])
def test_ctrl_c_at_a_terminal_ends_the_server(
    terminal: tuple[Wire, subprocess.Popen[bytes]], project: Path, busy: bool
) -> None:
    wire, process = terminal
    pid = begin_waiting(wire, project) if busy else None
    os.write(wire.write, b"\x03")
    assert process.wait(PATIENCE) == -signal.SIGINT
    assert pid is None or not is_alive(pid)


@pytest.mark.parametrize("busy", [False, True])
def test_a_terminal_that_is_closed_ends_the_server(
    terminal: tuple[Wire, subprocess.Popen[bytes]], project: Path, busy: bool
) -> None:
    wire, process = terminal
    pid = begin_waiting(wire, project) if busy else None
    wire.close()
    assert process.wait(PATIENCE) in (0, -signal.SIGHUP)
    assert pid is None or not is_alive(pid)
