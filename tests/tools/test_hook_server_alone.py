"""The hook server's own start, options and limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hook_server_harness import (
    MODES,
    PATIENCE,
    SERVER,
    Wire,
    open_wire,
)

pytest_plugins = ["hook_server_fixtures"]


def test_the_server_needs_nothing_but_its_own_folder(
    mode: str, project: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """And a package of the same name in the environment is the hook's."""
    alone = tmp_path / "alone"
    alone.mkdir()
    used = ["client", "connection", "errors", "__init__"]
    for file in SERVER.parent.glob("*.py"):
        if file.stem not in used:
            (alone / file.name).write_bytes(file.read_bytes())
    (tmp_path / "site" / "parallel_backend").mkdir()
    (tmp_path / "site" / "parallel_backend" / "__init__.py").write_text("def who(): return 'me'\n")
    with open_wire(*MODES[mode], environment=environment, server=alone / "server.py") as wire:
        assert wire.value("who", source=project, backend="parallel_backend") == "me"
        seen = wire.value("look", source=project)
    assert str(alone) not in seen["path"]


def test_a_start_imports_little(environment: dict[str, str]) -> None:
    """The interpreter's own start takes ten milliseconds: what is imported is a multiple of it."""
    slow = (
        "argparse asyncio dataclasses inspect logging pathlib subprocess tempfile traceback typing"
    )
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(SERVER)],
        stdin=subprocess.DEVNULL,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    before = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", ""],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    bare = {line.rpartition("|")[2].strip() for line in before.stderr.splitlines()}
    assert "parallel_backend.tools.hook_server.supervisor" in imported
    assert (imported - bare) & {*slow.split()} == set()


@pytest.mark.parametrize(
    "options", [["--channel", "0"], ["--channel", "a", "b"], ["--patience"], ["--fork"], ["x"]]
)
def test_options_that_are_not_understood_print_the_usage(options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(SERVER), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("usage: ")
    assert "error: not understood: " in done.stderr


def test_help_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, str(SERVER), "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: ")
    assert done.stderr == ""


def test_standard_descriptors_may_be_missing(
    mode: str, environment: dict[str, str], project: Path, tmp_path: Path
) -> None:
    """The server's own files must not get their numbers, which hooks write to."""

    def close() -> None:
        for descriptor in range(3):
            os.close(descriptor)

    out = tmp_path / "out"
    with open_wire(*MODES[mode], environment=environment, preexec_fn=close) as wire:
        wire.value("write", source=project, arguments={"stdout": 10, "stderr": 10})
        wire.value("talk", source=project)
        wire.value("talk", source=project, stdout=str(out))
    assert out.read_text(encoding="utf-8") == "to stdout: Grüße\nno line end"


def test_a_server_started_by_the_command_line_has_imported_nothing_of_the_package(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    source = str(SERVER.parents[3])
    path = os.pathsep.join([environment["PYTHONPATH"], source])
    request = {"id": 1, "hook": "look", "backend": "made_up", "source": str(project)}
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-O", "-m", "parallel_backend", "serve", *MODES[mode]],
        input=json.dumps(request),
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    hello, answer = (json.loads(line) for line in done.stdout.split("\n") if line)
    assert hello["hello"] == 1
    seen = answer["value"]
    assert seen["flags"]["optimize"] == seen["flags"]["utf8_mode"] == 1
    modules = {name.partition(".")[0] for name in seen["modules"]}
    assert not modules & {"parallel_backend", "setuptools"}


def test_the_command_line_waits_for_a_server_that_it_cannot_become(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from parallel_backend.tools import cli, hook_server

    assert hook_server.SERVER == SERVER
    with monkeypatch.context() as patches:  # pytest itself must not see it
        patches.setattr(os, "name", "nt")
        patches.setattr(sys, "argv", ["parallel_backend", "serve", "--help"])
        status = cli.main()
    assert status == 0


def test_few_descriptors_are_enough(mode: str, environment: dict[str, str], project: Path) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with open_wire(*MODES[mode], environment=environment, preexec_fn=limit) as wire:
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


def test_a_hook_that_cannot_have_an_interpreter_is_refused(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    import resource

    given = {**environment, "PYTHONHASHSEED": "7"}
    with open_wire(*MODES[mode], environment=environment) as wire:
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
        limits = resource.prlimit(wire.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(wire.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        answer = wire.ask("give_back", source=project, arguments={"value": 1}, environment=given)
        assert answer["outcome"] == "refused"
        assert "the hook's process cannot be made: [Errno 24] Too many open" in answer["message"]
        resource.prlimit(wire.process.pid, resource.RLIMIT_NOFILE, limits)
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


NO_FORK = """
import errno
fork = os.fork
def refuse():
    if os.path.exists({file!r}):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()
os.fork = refuse
"""


def test_a_hook_that_cannot_have_a_fork_is_refused(
    environment: dict[str, str], project: Path, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    with (tmp_path / "site" / "sitecustomize.py").open("a") as file:
        file.write(NO_FORK.format(file=str(full)))
    with open_wire(environment=environment) as wire:
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
        full.touch()
        answer = wire.ask("give_back", source=project, arguments={"value": 1})
        assert answer["outcome"] == "refused"
        assert "the hook's process cannot be made: [Errno 11]" in answer["message"]
        full.unlink()
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


@pytest.mark.slow
def test_hooks_of_a_thousand_requests_at_once_are_answered_in_order(
    wire: Wire, mode: str, project: Path
) -> None:
    """As many as a pipe cannot hold, and answers that nobody reads meanwhile."""
    count = 300 if mode == "fork" else 20
    value = "x" * 1000
    requests = [
        wire.request("give_back", source=project, arguments={"value": value}) for _ in range(count)
    ]
    for request in requests:
        wire.send(request)
    assert [wire.receive()["id"] for _ in requests] == [request["id"] for request in requests]


def test_a_server_with_threads_does_not_fork(
    environment: dict[str, str], project: Path, tmp_path: Path
) -> None:
    with (tmp_path / "site" / "sitecustomize.py").open("a") as file:
        file.write("import threading\n")
        file.write("threading.Thread(target=threading.Event().wait, daemon=True).start()\n")
    with open_wire(environment=environment, hello=False) as wire:
        assert wire.receive()["fork"] is False
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


def test_a_server_may_start_in_a_folder_that_is_gone(
    mode: str, environment: dict[str, str], project: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with open_wire(
        *MODES[mode], environment=environment, cwd=folder, preexec_fn=folder.rmdir
    ) as wire:
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
