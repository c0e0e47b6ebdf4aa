"""How a hook server ends with its client, and its hook with it."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hook_server_harness import (
    MODES,
    PATIENCE,
    SERVER,
    Wire,
    begin_waiting,
    ended,
    is_alive,
    message,
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
