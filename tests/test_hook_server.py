"""The hook server, spoken to by hand: what hooks see, what comes of them, and what they print."""

from __future__ import annotations

import json
import os
import platform
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hook_server_harness import (
    MODES,
    PATIENCE,
    SERVER,
    Wire,
    is_alive,
    made_up_environment,
    open_wire,
)


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
    with open_wire(*MODES[mode], environment=environment) as wire:
        yield wire


# --- what a hook sees


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
    assert seen["parent"] == wire.process.pid
    assert not [name for name in seen["modules"] if name.startswith("parallel_backend")]


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


# --- what comes of a hook


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 1 << 80, 1.5, "", "é\ud800\n\0", [], [1, [2]], {}, {"a": {"b": None}}],
)
def test_what_json_can_carry_comes_back(wire: Wire, project: Path, value: object) -> None:
    assert wire.value("give_back", source=project, arguments={"value": value}) == value


def test_a_value_of_any_size_comes_back(wire: Wire, project: Path) -> None:
    value = "é\ud800" * (1 << 20)
    assert wire.value("return_value", source=project, arguments={"of": "large"}) == value
    assert wire.value("give_back", source=project, arguments={"value": value}) == value


def test_a_tuple_comes_back_as_a_list(wire: Wire, project: Path) -> None:
    assert wire.value("return_value", source=project, arguments={"of": "tuple"}) == [1, [2]]


@pytest.mark.parametrize("of", ["set", "nan", "object"])
def test_a_value_that_json_cannot_carry_is_an_error(wire: Wire, project: Path, of: str) -> None:
    answer = wire.ask("return_value", source=project, arguments={"of": of})
    assert answer["outcome"] == "raised"
    assert answer["type"] == "TypeError"
    begin = "return_value of made_up returned a value that JSON cannot carry: "
    assert answer["message"].startswith(begin)


def test_an_exception_comes_with_its_traceback_and_notes(wire: Wire, project: Path) -> None:
    answer = wire.ask("raise_error", source=project, arguments={"of": "notes"})
    text = answer.pop("traceback")
    assert answer == {
        "outcome": "raised",
        "type": "made_up.OwnError",
        "message": "first line\nsecond line",
        "notes": ["a note"],
    }
    assert text.startswith("ValueError: the cause\n")
    assert "in raise_error" in text
    assert text.endswith("made_up.OwnError: first line\nsecond line\na note\n")
    assert "hook_server" not in text  # no frame of ours


@pytest.mark.parametrize(
    ("of", "kind", "message"),
    [
        ("interrupt", "KeyboardInterrupt", ""),
        ("speechless", "made_up.SpeechlessError", "(its __str__ raises ValueError)"),
        ("stopped", "made_up.Stopped", "from below"),
        ("no-notes", "made_up.NotesError", "plain"),
        ("another", "AssertionError", "another"),
    ],
)
def test_any_exception_is_an_answer(
    wire: Wire, project: Path, of: str, kind: str, message: str
) -> None:
    answer = wire.ask("raise_error", source=project, arguments={"of": of})
    assert (answer["outcome"], answer["type"], answer["message"]) == ("raised", kind, message)
    assert "in raise_error" in answer["traceback"]
    assert "cancelled" not in answer
    assert "code" not in answer


@pytest.mark.parametrize(
    ("of", "code"),
    [
        ("exit", "a reason"),
        ("exit-status", 7),
        ("exit-nothing", None),
        ("exit-object", "['odd']"),
    ],
)
def test_a_system_exit_keeps_its_code(wire: Wire, project: Path, of: str, code: object) -> None:
    answer = wire.ask("raise_error", source=project, arguments={"of": of})
    assert (answer["outcome"], answer["type"], answer["code"]) == ("raised", "SystemExit", code)


def test_arguments_that_do_not_fit_are_an_exception(wire: Wire, project: Path) -> None:
    answer = wire.ask("talk", source=project, arguments={"loud": True})
    assert (answer["outcome"], answer["type"]) == ("raised", "TypeError")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("abort", {"outcome": "killed", "signal": "SIGABRT"}),
        ("kill", {"outcome": "killed", "signal": "SIGKILL"}),
        ("kill-group", {"outcome": "killed", "signal": "SIGTERM"}),
        ("real-time", {"outcome": "killed", "signal": f"SIG{signal.SIGRTMIN + 5}"}),
        ("exit", {"outcome": "exited", "status": 3}),
        ("close-standard", {"outcome": "returned", "value": "still here"}),
    ],
)
def test_the_server_survives_the_end_of_a_hook(
    wire: Wire, project: Path, how: str, expected: dict[str, object]
) -> None:
    for _ in range(2):
        assert wire.ask("end", source=project, arguments={"how": how}) == expected
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


def test_a_hook_that_closes_everything_is_reported(
    wire: Wire, mode: str, project: Path, tmp_path: Path
) -> None:
    told = wire.ask("end", source=project, arguments={"how": "close-all"})
    file = tmp_path / "in-place-of-all"
    lost = wire.ask("replace_descriptors", source=project, arguments={"file": str(file)})
    if mode == "fork":
        assert told == lost == {"outcome": "exited", "status": 1}
    else:  # it answers in a file
        assert [told["value"], lost["value"]] == ["still here", "to nobody"]
    assert file.read_text() == ""
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


def test_no_backend_and_no_hook_are_told_apart(wire: Wire, project: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "needs_more.py").write_text("import not_there\n")
    (site / "breaks.py").write_text("raise ZeroDivisionError('at import')\n")
    (site / "wrong_name.py").write_text("import os\nos.no_such_thing\n")

    answer = wire.ask("look", source=project, backend="not_there.at_all")
    assert answer["outcome"] == "no-backend"
    assert answer["message"] == ("not_there.at_all cannot be imported: No module named 'not_there'")
    answer = wire.ask("look", source=project, backend="needs_more")
    assert answer["outcome"] == "no-backend"
    assert 'needs_more.py", line 1' in answer["traceback"]
    answer = wire.ask("look", source=project, backend="made_up:nested.outermost")
    assert answer["outcome"] == "no-backend"
    assert "has no attribute 'outermost'" in answer["message"]

    for backend, kind in {"breaks": "ZeroDivisionError", "wrong_name": "AttributeError"}.items():
        answer = wire.ask("look", source=project, backend=backend)
        assert (answer["outcome"], answer["type"]) == ("raised", kind)

    answer = wire.ask("build_wheel", source=project)
    assert answer == {"outcome": "no-hook", "message": "made_up has no build_wheel"}


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


# --- scripts


SCRIPT = """
import json, os, sys
if sys.argv[1] == "look":
    seen = {
        "argv": sys.argv, "path": sys.path, "folder": os.getcwd(), "name": __name__,
        "file": __file__, "main": sys.modules["__main__"].__dict__ is globals(),
        "names": sorted(set(globals()) - {"json", "os", "sys", "seen"}),
        "doc": __doc__, "spec": __spec__, "loader": __loader__.path,
    }
    with open(sys.argv[2], "w") as file:
        json.dump(seen, file)
elif sys.argv[1] == "text":
    sys.exit("a reason")
elif sys.argv[1] == "nothing":
    sys.exit()
elif sys.argv[1] == "status":
    sys.exit(int(sys.argv[2]))
elif sys.argv[1] == "raise":
    raise ZeroDivisionError("in the script")
elif sys.argv[1] == "interrupt":
    raise KeyboardInterrupt
elif sys.argv[1] == "abort":
    os.abort()
elif sys.argv[1] == "full":
    print("x")
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "script.py").write_text(SCRIPT)
    (tmp_path / "link.py").symlink_to("real/script.py")
    return tmp_path / "link.py"


def run(wire: Wire, script: Path, *arguments: object, source: Path, **more: Any) -> dict[str, Any]:
    request = {"id": "s", "script": str(script), "source": str(source), **more}
    wire.send({**request, "arguments": [str(each) for each in arguments]})
    answer = wire.receive()
    assert answer.pop("id") == "s"
    return answer


def test_a_script_sees_what_it_sees_on_its_own(
    wire: Wire, project: Path, script: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    for file in ("alone", "again"):
        subprocess.run(
            [sys.executable, script, "look", tmp_path / "alone"],
            cwd=project,
            env=environment,
            check=True,
        )
        answer = run(wire, script, "look", tmp_path / file, source=project)
        assert answer == {"outcome": "exited", "status": 0}
    alone, again = (json.loads((tmp_path / name).read_text()) for name in ("alone", "again"))
    assert [alone["argv"].pop(), again["argv"].pop()] == [
        str(tmp_path / "alone"),
        str(tmp_path / "again"),
    ]
    assert alone == again
    assert again["path"][0] == str(tmp_path / "real")


def test_a_script_under_a_safe_path_has_no_folder_of_its_own(
    mode: str, environment: dict[str, str], project: Path, script: Path, tmp_path: Path
) -> None:
    options = ("-P",)
    with open_wire(*MODES[mode], environment=environment, interpreter_options=options) as wire:
        assert run(wire, script, "look", tmp_path / "seen", source=project)["status"] == 0
        path = wire.value("look", source=project)["path"]
    assert json.loads((tmp_path / "seen").read_text())["path"] == path
    assert str(tmp_path / "real") not in path
    assert str(SERVER.parent) not in path


@pytest.mark.parametrize(
    ("arguments", "expected", "printed"),
    [
        (["text"], {"outcome": "exited", "status": 1}, "a reason\n"),
        (["nothing"], {"outcome": "exited", "status": 0}, ""),
        (["status", 0], {"outcome": "exited", "status": 0}, ""),
        (["status", 9], {"outcome": "exited", "status": 9}, ""),
        (["status", 257], {"outcome": "exited", "status": 1}, ""),
        (["raise"], {"outcome": "exited", "status": 1}, "ZeroDivisionError: in the script\n"),
        (["interrupt"], {"outcome": "killed", "signal": "SIGINT"}, "KeyboardInterrupt\n"),
        (["abort"], {"outcome": "killed", "signal": "SIGABRT"}, ""),
    ],
)
def test_a_script_ends_as_it_ends_on_its_own(
    wire: Wire,
    project: Path,
    script: Path,
    arguments: list[object],
    expected: dict[str, object],
    printed: str,
    tmp_path: Path,
) -> None:
    err = tmp_path / "err"
    for _ in range(2):
        assert run(wire, script, *arguments, source=project, stderr=str(err)) == expected
    text = err.read_text()
    assert text.endswith(printed)
    assert (printed == "") == (text == "")
    assert "hook_server" not in text
    alone = subprocess.run(
        [sys.executable, script, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if expected["outcome"] == "exited":
        assert alone.returncode == expected["status"]
        assert text == alone.stderr * 2
    else:
        assert signal.Signals(-alone.returncode).name == expected["signal"]


def test_a_script_that_cannot_be_run_ends_as_it_does_on_its_own(
    wire: Wire, project: Path, tmp_path: Path
) -> None:
    err = tmp_path / "err"
    missing = tmp_path / "missing.py"
    answer = run(wire, missing, source=project, stderr=str(err))
    assert answer == {"outcome": "exited", "status": 2}
    alone = subprocess.run([sys.executable, missing], capture_output=True, text=True, check=False)
    assert alone.returncode == 2
    assert err.read_text() == alone.stderr

    broken = tmp_path / "broken.py"
    broken.write_text("if\n")
    answer = run(wire, broken, source=project, stderr=str(tmp_path / "broken"))
    assert answer == {"outcome": "exited", "status": 1}
    assert "SyntaxError" in (tmp_path / "broken").read_text()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_output_that_is_lost_is_an_exit_status(wire: Wire, project: Path, script: Path) -> None:
    answer = run(wire, script, "full", source=project, stdout="/dev/full")
    assert answer == {"outcome": "exited", "status": 120}


def test_an_edited_script_is_read_again(wire: Wire, project: Path, tmp_path: Path) -> None:
    script = tmp_path / "edited.py"
    for status in (3, 4, 55):
        script.write_text(f"raise SystemExit({status})\n")
        assert run(wire, script, source=project)["status"] == status
    for number in range(10):  # more of them than are kept
        script = tmp_path / f"script_{number}.py"
        script.write_text(f"raise SystemExit({number})\n")
        assert run(wire, script, source=project)["status"] == number


# --- the server alone


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
    slow = "argparse asyncio dataclasses inspect json logging pathlib re subprocess tempfile"
    slow += " threading traceback typing"
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
    assert "parallel_backend.hook_server.forks" in imported
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
    source = str(SERVER.parents[2])
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
    from parallel_backend import cli, hook_server

    assert hook_server.SERVER == SERVER
    with monkeypatch.context() as patches:  # pytest itself must not see it
        patches.setattr(os, "name", "nt")
        patches.setattr(sys, "argv", ["parallel_backend", "serve", "--help"])
        status = cli.main()
    assert status == 0


def test_the_server_may_be_a_function_of_the_package(
    environment: dict[str, str], project: Path
) -> None:
    """What it was called from is not there any more for hooks."""
    source = str(SERVER.parents[2])
    script = "from parallel_backend.hook_server.server import main; main()"
    request = {"id": 1, "hook": "look", "backend": "made_up", "source": str(project)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(request),
        env={**environment, "PYTHONPATH": os.pathsep.join([environment["PYTHONPATH"], source])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    answer = json.loads(done.stdout.splitlines()[1])
    assert not [name for name in answer["value"]["modules"] if "parallel_backend" in name]


def test_few_descriptors_are_enough(mode: str, environment: dict[str, str], project: Path) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with open_wire(*MODES[mode], environment=environment, preexec_fn=limit) as wire:
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


def test_a_hook_that_cannot_have_a_process_is_refused(
    mode: str, environment: dict[str, str], project: Path
) -> None:
    import resource

    with open_wire(*MODES[mode], environment=environment) as wire:
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
        used = len(os.listdir(f"/proc/{wire.process.pid}/fd"))
        limits = resource.prlimit(wire.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(wire.process.pid, resource.RLIMIT_NOFILE, (min(used, 4), limits[1]))
        answer = wire.ask("give_back", source=project, arguments={"value": 1})
        assert answer["outcome"] == "refused"
        assert "the hook's process cannot be made: [Errno 24] Too many open" in answer["message"]
        resource.prlimit(wire.process.pid, resource.RLIMIT_NOFILE, limits)
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1


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
