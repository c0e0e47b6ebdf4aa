"""The hook server, spoken to by hand: what hooks see, and what they print."""

from __future__ import annotations

import json
import os
import platform
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hook_server_harness import (
    MODES,
    PATIENCE,
    SERVER,
    Wire,
    is_alive,
    open_wire,
)

pytest_plugins = ["hook_server_fixtures"]


@pytest.mark.smoke
def test_the_server_says_hello_first(mode: str, environment: dict[str, str]) -> None:
    with open_wire(*MODES[mode], environment=environment, hello=False) as wire:
        assert wire.receive() == {
            "hello": 1,
            "python": platform.python_version().split("rc")[0],
            "pid": wire.process.pid,
            "fork": mode == "fork",
        }


def test_a_hook_sees_what_a_fresh_process_sees(
    wire: Wire, project: Path, environment: dict[str, str]
) -> None:
    arguments = {"wheel_directory": "/x", "config_settings": {"a": ["b", "c"]}}
    script = "import json, made_up; print(json.dumps(made_up.look()))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    fresh = json.loads(done.stdout)
    seen = wire.value("look", source=project, arguments=arguments)
    assert seen["arguments"] == arguments
    for name in ("environment", "flags", "folder", "path", "stdin", "zone"):
        assert seen[name] == fresh[name], name
    assert seen["folder"] == str(project)
    assert seen["argv"] == [str(SERVER)]
    assert seen["group"] == seen["process"]
    assert not [name for name in seen["modules"] if name.startswith("parallel_backend")]


@pytest.mark.smoke
def test_each_hook_begins_anew(wire: Wire, project: Path) -> None:
    first, second = (wire.value("look", source=project) for _ in range(2))
    assert first["process"] != second["process"]
    for each in (first, second):
        del each["process"], each["group"]
    assert first == second


def test_a_hook_gets_the_whole_environment_that_it_is_given(wire: Wire, project: Path) -> None:
    plain = wire.value("look", source=project)["environment"]
    given = {**plain, "HOME": "/nowhere", "OWN": "é\udcff", "EMPTY": ""}
    del given["PATH"]
    assert wire.value("look", source=project, environment=given)["environment"] == given
    assert wire.value("look", source=project)["environment"] == plain


def test_the_time_zone_is_that_of_the_environment(
    wire: Wire, project: Path, environment: dict[str, str]
) -> None:
    given = {**environment, "TZ": "XYZ-3"}
    assert wire.value("look", source=project, environment=given)["zone"] == "XYZ"
    assert wire.value("look", source=project)["zone"] != "XYZ"


def test_standard_input_is_empty(wire: Wire, project: Path) -> None:
    assert wire.value("read_line", source=project) == ""


def test_a_hook_has_no_descriptor_of_the_server(wire: Wire, project: Path) -> None:
    found = wire.value("descriptors", source=project)
    known = wire.value("give_back", source=project, arguments={"value": found})
    names = [name for name, target in known.items() if "/proc/" not in target]
    # 0 to 2, and in a fork the pipe for its answer.
    assert len(names) <= 4, found
    pipes = {os.readlink(f"/proc/self/fd/{end}") for end in (wire.read, wire.write)}
    assert not pipes & {*found.values()}


def test_a_hook_has_what_the_server_was_started_with(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    """As a jobserver's descriptors, which MAKEFLAGS names; and its umask."""
    ends = os.pipe()
    pipe = os.readlink(f"/proc/self/fd/{ends[0]}")
    with open_wire(*MODES[mode], environment=environment, descriptors=ends, umask=0o027) as wire:
        for more in ({}, {"environment": {**environment, "PYTHONHASHSEED": "1"}}):
            found = wire.value("descriptors", source=project, **more)
            assert [found[str(end)] for end in ends] == [pipe, pipe]
            file = project / "talk"
            wire.value("talk", source=project, stdout=str(file), **more)
            assert stat.S_IMODE(file.stat().st_mode) == 0o640
            file.unlink()
    for end in ends:
        os.close(end)


def test_signals_are_as_in_a_fresh_process(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    """But who asks at the terminal, from the background, fails and is not stopped for ever."""
    # Coverage has a handler of its own.
    plain = {name: value for name, value in environment.items() if "COVERAGE" not in name}
    with open_wire(*MODES[mode], environment=plain) as wire:
        seen = wire.value("signals", source=project)
    assert seen == {
        "handlers": {
            "SIGINT": "default_int_handler",
            "SIGTERM": "SIG_DFL",
            "SIGHUP": "SIG_DFL",
            "SIGCHLD": "SIG_DFL",
            "SIGPIPE": "SIG_IGN",
            "SIGTTIN": "SIG_IGN",
            "SIGTTOU": "SIG_IGN",
        },
        "blocked": [],
        "wakeup": -1,
    }


def test_signals_that_were_blocked_or_ignored_at_the_start_stay_so(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM})
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    with open_wire(*MODES[mode], environment=environment, preexec_fn=prepare) as wire:
        # The first hook has another environment, for which a warm server starts afresh.
        given = {**environment, "PYTHONHASHSEED": "1"}
        for more in ({"environment": given}, {}):
            seen = wire.value("signals", source=project, **more)
            assert {"SIGCHLD", "SIGUSR1", "SIGTERM"} >= {*seen["blocked"]} >= {"SIGUSR1"}
            assert seen["handlers"]["SIGHUP"] == "SIG_IGN"
            assert seen["handlers"]["SIGINT"] == "default_int_handler"
        answer = wire.ask("wait", source=project, arguments={"file": "w"}, timeout=0.01)
        assert answer["timed-out"]


@pytest.mark.parametrize(
    ("backend", "value"), [("made_up:nested", "outer"), ("made_up:nested.inner", "inner")]
)
def test_a_backend_may_be_an_object_in_a_module(
    wire: Wire, project: Path, backend: str, value: str
) -> None:
    assert wire.value("who", source=project, backend=backend) == value


def test_a_backend_in_the_tree_comes_from_its_path_alone(wire: Wire, project: Path) -> None:
    inside = project / "backend"
    inside.mkdir()
    for name, text in {"made_up": "inside", "own": "own"}.items():
        (inside / f"{name}.py").write_text(f"def who(): return {text!r}\n")
    for entry in ("backend", str(inside)):
        assert wire.value("who", source=project, backend_path=[entry]) == "inside"
        assert wire.value("who", source=project, backend="own", backend_path=[entry]) == "own"
    answer = wire.ask("look", source=project, backend_path=["."])
    assert answer["outcome"] == "no-backend"
    assert f"was found, but not in the backend path ({project})" in answer["message"]
    # It is not there for another hook.
    assert wire.ask("who", source=project, backend="own")["outcome"] == "no-backend"


def test_a_package_may_be_the_backend_in_the_tree(wire: Wire, project: Path) -> None:
    for package, init in {"regular": True, "namespace": False}.items():
        (project / package).mkdir()
        (project / package / "api.py").write_text("def who(): return __name__\n")
        if init:
            (project / package / "__init__.py").touch()
        found = wire.value("who", source=project, backend=f"{package}.api", backend_path=["."])
        assert found == f"{package}.api"


# --- what a hook prints


def test_output_goes_to_the_descriptors_of_the_server(
    mode: str, environment: dict[str, str], project: Path, tmp_path: Path
) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    with (
        out.open("wb") as stdout,
        err.open("wb") as stderr,
        open_wire(*MODES[mode], environment=environment, stdout=stdout, stderr=stderr) as wire,
    ):
        wire.value("talk", source=project)
    assert out.read_text(encoding="utf-8") == "to stdout: Grüße\nno line end"
    assert err.read_text(encoding="utf-8") == "to stderr: Grüße\n"


def test_output_goes_to_files_and_is_added(wire: Wire, project: Path, tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    out.write_text("before\n")
    for _ in range(2):
        wire.value("talk", source=project, stdout=str(out), stderr=str(err))
    text = "to stdout: Grüße\nno line end"
    assert out.read_text(encoding="utf-8") == f"before\n{text}{text}"
    assert err.read_text(encoding="utf-8") == "to stderr: Grüße\n" * 2
    assert stat.S_IMODE(err.stat().st_mode) & 0o600 == 0o600


def test_both_streams_may_go_to_one_file(wire: Wire, project: Path, tmp_path: Path) -> None:
    arguments = {"stdout": 1 << 20, "stderr": 1 << 20}
    both = str(tmp_path / "both")
    wire.value("write", source=project, arguments=arguments, stdout=both, stderr=both)
    assert (tmp_path / "both").read_bytes() == bytes(range(256)) * (1 << 13)


def test_a_file_that_cannot_be_written_refuses_the_hook(wire: Wire, project: Path) -> None:
    answer = wire.ask("talk", source=project, stdout=str(project / "no" / "folder"))
    assert answer["outcome"] == "refused"
    assert answer["message"].startswith("the hook cannot begin: [Errno 2] No such file")


def test_output_of_any_bytes_and_size_blocks_the_hook_alone(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    """Nobody reads the pipe for a while: the server answers other messages meanwhile."""
    reading, writing = os.pipe()
    with open_wire(*MODES[mode], environment=environment, stdout=writing) as wire:
        os.close(writing)
        request = wire.request("write", source=project, arguments={"stdout": 1 << 20})
        wire.send(request)
        wire.send(b"no message\n")
        assert wire.receive()["outcome"] == "refused"
        received = bytearray()
        while len(received) < 1 << 20:
            received += os.read(reading, 1 << 16)
        assert wire.receive() == {"id": request["id"], "outcome": "returned", "value": None}
    with open(reading, "rb") as rest:
        received += rest.read()
    assert received == bytes(range(256)) * (1 << 12)


def test_standard_output_never_mixes_with_messages(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    """Over standard input and output: what hooks print goes to standard error."""
    hooks = ["talk", "write", "give_back"]
    arguments: list[dict[str, object]] = [{}, {"stdout": 1 << 20}, {"value": 5}]
    messages = [
        {"id": hook, "hook": hook, "backend": "made_up", "source": str(project), "arguments": each}
        for hook, each in zip(hooks, arguments, strict=True)
    ]
    done = subprocess.run(
        [sys.executable, str(SERVER), *MODES[mode]],
        input="\n".join(map(json.dumps, messages)).encode(),  # the last one has no line end
        env=environment,
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line]
    assert [line.get("id") for line in lines] == [None, *hooks]
    assert [line.get("value") for line in lines[1:]] == [None, None, 5]
    assert "to stdout: Grüße\n".encode() in done.stderr
    assert bytes(range(256)) * (1 << 12) in done.stderr


def test_a_pipe_with_no_reader_holds_up_one_hook_alone(
    wire: Wire, mode: str, project: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    request = wire.request("talk", source=project, stdout=str(pipe))
    wire.send(request)
    wire.send({"cancel": request["id"]})
    answer = wire.receive()
    assert (answer["id"], answer["cancelled"]) == (request["id"], True)
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


# --- how a hook's process ends


def test_what_an_interpreter_does_at_its_end_is_done_before_the_answer(
    wire: Wire, project: Path
) -> None:
    """Threads joined, atexit handlers run, files written out that nobody has closed."""
    assert wire.value("leave_work", source=project, arguments={"folder": str(project)})
    names = ["atexit", "left-open", "thread"]
    assert {name: (project / name).read_text() for name in names} == dict.fromkeys(names, "done")


def test_an_interrupt_at_the_end_of_a_hook_is_shown_and_the_rest_is_done(
    wire: Wire, project: Path, tmp_path: Path
) -> None:
    err = tmp_path / "err"
    arguments = {"folder": str(project), "interrupted": True}
    assert wire.value("leave_work", source=project, arguments=arguments, stderr=str(err))
    assert err.read_text().endswith("KeyboardInterrupt\n")
    names = ["atexit", "left-open", "thread"]
    assert {name: (project / name).read_text() for name in names} == dict.fromkeys(names, "done")


def test_what_was_printed_before_streams_were_replaced_is_written(
    wire: Wire, project: Path, tmp_path: Path
) -> None:
    wire.value("replace_streams", source=project, stdout=str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "left behind"


def test_a_fork_of_the_hook_that_returns_gives_no_answer(wire: Wire, project: Path) -> None:
    arguments = {"folder": str(project)}
    told = wire.value("fork_and_return", source=project, arguments=arguments)
    assert told == "from the hook, 0"
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


def test_an_answer_does_not_wait_for_what_the_hook_left_running(wire: Wire, project: Path) -> None:
    child = wire.value("leave_child", source=project, arguments={"file": str(project / "left")})
    try:
        assert is_alive(child)
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
    finally:
        os.kill(child, signal.SIGKILL)
