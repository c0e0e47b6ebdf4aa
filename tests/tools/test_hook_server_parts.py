"""The small parts of the hook server, in this process: what happens where the system says no."""

from __future__ import annotations

import atexit
import errno
import gc
import io
import json
import os
import signal
import site
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness import SOURCE
from hook_process_fixtures import descriptors
from hook_server_harness import PATIENCE, before_end_is_no_child
from parallel_backend.tools.hook_server import (
    ServerEndedError,
    hook,
    preloads,
    resumption,
    serving,
    surroundings,
    warmth,
)
from parallel_backend.tools.hook_server import fork as fork_module
from parallel_backend.tools.hook_server.connection import Connection
from parallel_backend.tools.hook_server.groups import lead_group, signal_group
from parallel_backend.tools.hook_server.messages import Request
from scripts import run_script

NOBODY = 1 << 30  # no system has a process of such a number


def test_a_group_of_a_process_that_has_ended_is_no_error() -> None:
    before = os.getpgrp()
    lead_group(NOBODY)
    signal_group(NOBODY, signal.SIGTERM)
    assert os.getpgrp() == before


BECOME = """
import os, select, signal, sys
from parallel_backend.tools.hook_server.fork import Signals
signals = Signals(mask=None, interruptible=False)
if len(sys.argv) > 1:
    assert select.select([signals.inlet], [], [], 30)[0]
    print(signals.take())
else:
    os.kill(os.getpid(), signal.SIGTERM)
    mask = signals.hold()
    os.kill(os.getpid(), signal.SIGHUP)
    signals.let_go(mask)
    print(sorted(signals.take()))
    os.kill(os.getpid(), signal.SIGTERM)
    signals.hold()
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-c", os.environ["CODE"], "again"])
"""


def test_a_signal_that_nobody_has_taken_yet_is_for_the_interpreter_that_follows() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BECOME],
        env={**os.environ, "CODE": BECOME, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    both, last = [signal.SIGHUP, signal.SIGTERM], [signal.SIGTERM]
    assert done.stdout.splitlines() == [str([*map(int, both)]), str([*map(int, last)])]


def test_where_no_process_can_be_made_a_fork_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_fork() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", no_fork)
        with pytest.raises(BlockingIOError):
            fork_module.Fork(
                cast("Request", None),
                surroundings={},
                signals=cast("fork_module.Signals", None),
                private=(),
            )
    assert descriptors() == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask


def test_what_fails_at_the_end_of_a_hook_is_shown_and_the_rest_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails() -> None:
        raise KeyboardInterrupt

    shown: list[type[BaseException]] = []
    out = io.StringIO()
    monkeypatch.setattr(threading, "_shutdown", fails)
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: out.write("at exit"))
    monkeypatch.setattr(sys, "excepthook", lambda kind, *_: shown.append(kind))
    assert hook._finish()
    assert shown == [KeyboardInterrupt]
    assert out.getvalue() == "at exit"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("old.egg", None, True),
        ("old.egg-link", None, True),
        ("plugin-1.dist-info", "[distutils.commands]\nown = plugin:own\n", True),
        ("plugin.egg-info", "[setuptools.finalize_distribution_options]\na = b:c\n", True),
        ("plain-1.dist-info", "[console_scripts]\na = b:c\n", False),
        ("none-1.dist-info", None, False),
        ("setuptools-84.dist-info", "[distutils.commands]\nbuild = x:y\n", False),
        ("module.py", None, False),
    ],
)
def test_plugins_of_setuptools_are_found(
    name: str, text: str | None, expected: bool, tmp_path: Path
) -> None:
    (tmp_path / "site" / name).mkdir(parents=True)
    if text is not None:
        (tmp_path / "site" / name / "entry_points.txt").write_text(text)
    assert preloads.has_plugins([str(tmp_path / "gone"), str(tmp_path / "site")]) is expected


def test_a_server_that_cannot_become_another_interpreter_goes_on(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("this is no program\n")
    ends = os.pipe()
    before = descriptors()
    channel: Any = SimpleNamespace(read=ends[0], write=ends[1], unsent=b"unsent")
    state: dict[str, Any] = {"asked": dict(os.environ), "rest": b"\xff"}
    with pytest.raises(PermissionError):
        resumption.start_afresh(channel, command=[str(program)], folder="", state=state)
    assert descriptors() == before
    assert not any(map(os.get_inheritable, ends))
    for end in ends:
        os.close(end)


def test_the_command_of_an_interpreter_that_does_not_tell_its_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # orig_argv came with Python 3.10; a server may run in an older one.
    monkeypatch.setattr(sys, "argv", ["serve.py", "--patience", "3"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-I", "serve.py", "--patience", "3"])
    assert resumption.interpreter() == [sys.executable, "-I", os.path.abspath("serve.py")]
    monkeypatch.delattr(sys, "orig_argv")
    first, *_, last = resumption.interpreter()
    assert (first, last) == (sys.executable, os.path.abspath("serve.py"))


@pytest.mark.parametrize("told", [0, signal.SIGTERM])
def test_a_server_ends_as_the_signal_that_told_it_to(
    told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[object, ...]] = []
    system: Any = __import__("_signal")
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: done.append(("at exit",)))
    monkeypatch.setattr(system, "signal", lambda *what: done.append(("signal", *what)))
    monkeypatch.setattr(system, "pthread_sigmask", lambda *what: done.append(("mask", *what)))
    monkeypatch.setattr(os, "kill", lambda *what: done.append(("kill", *what)))
    monkeypatch.setattr(os, "_exit", lambda status: done.append(("exit", status)))
    cast("Any", serving._end)(told)
    by_signal = [
        ("signal", told, signal.SIG_DFL),
        ("kill", os.getpid(), told),
        ("mask", signal.SIG_UNBLOCK, [told]),
    ]
    blocked = ("mask", signal.SIG_BLOCK, signal.valid_signals())
    assert done == [blocked, ("at exit",), *(by_signal if told else []), ("exit", 0)]


def test_a_server_may_be_started_in_a_folder_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone() -> str:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    assert surroundings.Surroundings().folder == ""


def test_of_what_is_imported_beforehand_the_first_has_to_be_there() -> None:
    gc.enable()
    warmth._import(("json", "no_such_module"))
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        warmth._import(("no_such_module", "json"))
    assert gc.isenabled()


def test_packages_may_be_installed_where_site_says(monkeypatch: pytest.MonkeyPatch) -> None:
    own = site.getusersitepackages()
    monkeypatch.setattr(site, "ENABLE_USER_SITE", True)
    assert warmth._site_folders() == [*site.getsitepackages(), own]
    monkeypatch.setattr(site, "ENABLE_USER_SITE", False)
    assert warmth._site_folders() == site.getsitepackages()
    monkeypatch.delitem(sys.modules, "site")
    assert warmth._site_folders() == []


def test_ctrl_c_ends_the_server_also_where_nothing_can_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    def interrupted() -> None:
        monkeypatch.setattr(os, "read", refuse)
        raise KeyboardInterrupt

    connection = Connection(sys.executable, environment=os.environ, fork=True, patience=None)
    with pytest.raises(KeyboardInterrupt):
        connection.ask({"hook": "none"}, begun=interrupted)
    assert connection.closed
    monkeypatch.undo()
    before_end_is_no_child()


def test_a_server_that_is_gone_when_a_request_is_sent_is_told() -> None:
    connection = Connection(sys.executable, environment=os.environ, fork=True, patience=None)
    connection._process.kill()
    connection._process.wait()
    with pytest.raises(ServerEndedError, match=r"ended by signal 9, without an answer"):
        connection.ask({"hook": "none"})
    before_end_is_no_child()


# In a process of its own: a server sets signal handlers, and moves descriptors.
RESUMED = """
import json, os, sys
from parallel_backend.tools.hook_server.channel import Channel
from parallel_backend.tools.hook_server.forks import ForkServer
from parallel_backend.tools.hook_server.resumption import Resumption

requests, _ = os.pipe()  # nothing comes, and it stays open
answers, into = os.pipe()
request = json.dumps({"id": "r", "hook": "dumps", "backend": "json", "args": [[1]]}) + "\\n"
state = {"ended": True, "lines": [request], "rest": ""}
channel = Channel(requests, into)
server = ForkServer(
    channel, command=[], patience=5.0, resumption=Resumption(state, began=0)
)
told = server.run()
print(told, os.read(answers, 1 << 16).decode())
"""


def test_a_server_that_goes_on_after_the_last_request_ends_when_it_is_answered(
    tmp_path: Path,
) -> None:
    done = run_script(RESUMED, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told, _, answer = done.stdout.partition(" ")
    assert told == "0"
    assert json.loads(answer)["id"] == "r", done.stdout
