"""Scripts of frontends, run in a fork of the hook server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hook_server_harness import (
    MODES,
    SERVER,
    Wire,
    open_wire,
)

pytest_plugins = ["hook_server_fixtures"]


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
