"""Hook servers spoken to by hand, and a made-up backend whose hooks do what no real one should."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import SOURCE

__all__ = [
    "BACKEND",
    "FAKE",
    "MODES",
    "PATIENCE",
    "PRELOADED",
    "SERVER",
    "Wire",
    "before_end_is_no_child",
    "begin_waiting",
    "count",
    "is_alive",
    "made_up_environment",
    "message",
    "open_wire",
    "parent_of",
    "settle",
    "state_of",
    "until",
]

SERVER = SOURCE / "parallel_backend" / "tools" / "hook_server" / "server.py"
BACKEND = "made_up"
MODES = {"fork": [], "no-fork": ["--no-fork"]}
PATIENCE = 120.0  # seconds; what hangs fails its test, not the whole run

# A backend that the server imports beforehand, because of its name; it says when it is imported.
PRELOADED = "setuptools.build_meta"
FAKE = """
import os
with open(os.environ["IMPORTS"], "a") as file:
    file.write(f"{os.getpid()}\\n")
from made_up import *
VALUE = 1
def tell():
    return VALUE
"""

# Notes every start of an interpreter, where a file for it is named. Coverage stops when a hook's
# process runs its atexit handlers: it shall see what comes after them, too.
SITECUSTOMIZE = """
import os, sys
if "STARTS" in os.environ:
    with open(os.environ["STARTS"], "a") as file:
        file.write(f"{os.getpid()}\\n")
if "coverage" in sys.modules:
    import atexit, coverage
    measured = coverage.Coverage.current()
    if measured is not None:
        atexit.unregister(measured._atexit)
        atexit.register(measured.save)
"""


class Wire:
    """A server with its channel: `process` speaks through the descriptors `write` and `read`."""

    def __init__(self, process: subprocess.Popen[bytes], *, read: int, write: int) -> None:
        self.process = process
        self.read = read
        self.write = write
        self._received = bytearray()
        self._count = 0

    def send(self, message: object) -> None:
        """Send a message: an object, or bytes as they are."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self.write, data) :]

    def receive(self) -> dict[str, Any]:
        """The next answer; AssertionError if the server ends, or says nothing for too long."""
        line = self.line()
        assert line, f"the server has ended: {self.process.wait(PATIENCE)}"
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def line(self) -> bytes:
        """The next line that is not blank; empty at the end."""
        while True:
            while b"\n" not in self._received:
                assert select.select([self.read], [], [], PATIENCE)[0], "the server says nothing"
                data = os.read(self.read, 1 << 16)
                if not data:
                    return bytes(self._received)
                self._received += data
            line, _, self._received = self._received.partition(b"\n")
            if line:
                return bytes(line)

    def request(self, hook: str, *, source: Path, **more: Any) -> dict[str, Any]:
        """A request for a hook of the made-up backend; keys may be spelled with underscores."""
        self._count += 1
        message = {"id": self._count, "hook": hook, "backend": BACKEND, "source": str(source)}
        message |= {key.replace("_", "-"): value for key, value in more.items()}
        return message

    def ask(self, hook: str, *, source: Path, **more: Any) -> dict[str, Any]:
        """Send such a request, and return its answer, which must come next."""
        message = self.request(hook, source=source, **more)
        self.send(message)
        answer = self.receive()
        assert answer.pop("id") == message["id"]
        return answer

    def value(self, hook: str, *, source: Path, **more: Any) -> Any:
        """What the hook returned."""
        answer = self.ask(hook, source=source, **more)
        assert answer["outcome"] == "returned", answer
        return answer["value"]

    def close(self) -> None:
        """Close both ends here."""
        for descriptor in {self.read, self.write} - {-1}:
            os.close(descriptor)
        self.read = self.write = -1

    def close_input(self) -> None:
        """No more requests come."""
        os.close(self.write)
        self.write = -1


@contextlib.contextmanager
def open_wire(
    *options: str,
    environment: Mapping[str, str],
    python: str | Path = sys.executable,
    interpreter_options: tuple[str, ...] = (),
    server: Path = SERVER,
    hello: bool = True,
    descriptors: tuple[int, ...] = (),
    **more: Any,
) -> Iterator[Wire]:
    """A server over two pipes; it must end by itself when they are closed.

    `descriptors`: what it has besides. `more` is for Popen.
    """
    requests_in, requests_out = os.pipe()
    answers_in, answers_out = os.pipe()
    channel = ["--channel", str(requests_in), str(answers_out)]
    process = subprocess.Popen(
        [python, *interpreter_options, str(server), *options, *channel],
        env=environment,
        stdin=subprocess.DEVNULL,
        pass_fds=(requests_in, answers_out, *descriptors),
        **more,
    )
    os.close(requests_in)
    os.close(answers_out)
    wire = Wire(process, read=answers_in, write=requests_out)
    with ended(wire):
        if hello:
            wire.receive()
        yield wire


@contextlib.contextmanager
def ended(wire: Wire) -> Iterator[None]:
    """Close a wire, and see its server end; kill it if the test fails."""
    try:
        yield
        wire.close()
        assert wire.process.wait(PATIENCE) in (0, -signal.SIGTERM, -signal.SIGHUP)
    finally:
        wire.close()
        if wire.process.poll() is None:
            wire.process.kill()
            wire.process.wait()
        for stream in (wire.process.stdout, wire.process.stderr, wire.process.stdin):
            if stream:
                stream.close()


def made_up_environment(folder: Path, **more: str) -> dict[str, str]:
    """An environment for an interpreter that finds the made-up backend in a new `folder`."""
    folder.mkdir(exist_ok=True)
    text = Path(__file__).with_name("made_up_backend.py").read_text(encoding="utf-8")
    (folder / f"{BACKEND}.py").write_text(text, encoding="utf-8")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**plain, "PYTHONPATH": str(folder), **more}


def begin_waiting(wire: Wire, project: Path, hook: str = "wait", **arguments: Any) -> int:
    """Begin a hook that waits for a signal; returns its process."""
    file = project / "waits"
    file.unlink(missing_ok=True)
    arguments = {"file": str(file), **arguments}
    wire.send({**wire.request(hook, source=project, arguments=arguments), "id": "waits"})
    until(file.exists)
    return int(file.read_text())


def message(**more: object) -> dict[str, object]:
    """A request with no mistake but those given; None leaves a key out."""
    whole = {"id": 5, "hook": "look", "backend": "made_up", "source": "/", **more}
    whole = {name.replace("_", "-"): value for name, value in whole.items()}
    return {name: value for name, value in whole.items() if value is not None}


def count(environment: Mapping[str, str], name: str) -> int:
    """How many STARTS or IMPORTS there were."""
    file = Path(environment[name])
    return len(file.read_text().splitlines()) if file.exists() else 0


def settle(wire: Wire, project: Path, **more: Any) -> int:
    """Call hooks until they are all forked from one process, and return its number.

    Files that were made just now make the server start another one.
    """
    parents = [0, 1]
    while parents[-1] != parents[-2] or len(parents) < 5:
        parents.append(wire.value("look", source=project, **more)["parent"])
    return parents[-1]


def parent_of(pid: int) -> int:
    """The process that started this one."""
    text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(text[1])


def before_end_is_no_child() -> None:
    """Nothing that a context started is left, zombies included."""
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def until(condition: Callable[[], Any]) -> Any:
    """Wait until this is true, and return what it is; AssertionError after a long time."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, condition
        time.sleep(0.005)
    return value


def is_alive(pid: int) -> bool:
    """Whether there is a process, other than a zombie."""
    return state_of(pid) not in ("Z", "X")


def state_of(pid: int) -> str:
    """The state of a process, as in /proc: "S" waits, "Z" and "X" have ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "X"
    return text.rpartition(")")[2].split()[0]
