"""What comes of a hook, as the hook server tells it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from hook_server_harness import (
    Wire,
)

pytest_plugins = ["hook_server_fixtures"]


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
    wire: Wire, project: Path, tmp_path: Path
) -> None:
    exited = {"outcome": "exited", "status": 1}
    assert wire.ask("end", source=project, arguments={"how": "close-all"}) == exited
    file = tmp_path / "in-place-of-all"
    arguments = {"file": str(file)}
    assert wire.ask("replace_descriptors", source=project, arguments=arguments) == exited
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
