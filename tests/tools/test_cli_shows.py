"""What the command line shows and remembers: tables, times, completion."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cli_harness import building, pack
from parallel_backend.tools import cli
from parallel_backend.tools.cli import history
from parallel_backend.tools.cli.building import Result
from parallel_backend.tools.cli.history import History, cost_of, default_path
from parallel_backend.tools.cli.reports import log_lines, result_text, table, totals
from projects import make_project

COMMANDS = ["build", "bytecode", "completion", "init", "jobs", "timings", "vendor"]


# --- times


def test_a_build_is_expected_to_take_what_the_last_one_did(tmp_path: Path) -> None:
    path = tmp_path / "cache/builds.json"
    first = History(path)
    first.note("wheel one-1.0", 5.0)
    first.note("wheel two-1.0", 7.0)
    first.save()
    second = History(path)
    second.note("wheel one-1.1", 6.0)
    second.save()
    make_project(tmp_path / "new")
    names = ["wheel one-1.0", "wheel one-2.0", "wheel two-1.0", "sdist two-1.0", "wheel new"]
    found = History(path).estimates(dict.fromkeys(names, tmp_path / "new"))
    assert [found[name] for name in names] == [5.0, 6.0, 7.0, 2.0, 2.0]
    assert [each.name for each in path.parent.iterdir()] == ["builds.json"]


def test_what_was_never_built_is_expected_to_take_what_its_sources_cost(tmp_path: Path) -> None:
    files = {"a.c": "x" * 1000, "b.CPP": "y" * 500, "c.pyx": "z" * 10, "d.txt": "w" * 9999}
    folder = make_project(tmp_path / "one", files={**files, "build/old.c": "v" * 9999})
    assert cost_of(folder) == 1000 + 500 + 300
    shutil.rmtree(folder / "build")
    assert cost_of(pack(folder)) == cost_of(pack(folder, ".zip")) == 1800
    found = History(tmp_path / "none").estimates({"a": folder, "b": tmp_path / "missing"})
    assert found["a"] > found["b"] > 0


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"one": "x", "two": -1, "three": null}'])
def test_a_file_of_times_that_makes_no_sense_counts_as_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "builds.json"
    path.write_text(text)
    times = History(path)
    times.save()
    assert path.read_text() == text
    times.note("new", 1.0)
    times.save()
    assert json.loads(path.read_text()) == {"new": 1.0}


def test_the_file_of_times_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_KEPT", 3)
    path = tmp_path / "builds.json"
    for name in "abcad":
        times = History(path)
        times.note(name, 1.0)
        times.save()
    assert [*json.loads(path.read_text())] == ["c", "a", "d"]


def test_a_file_of_times_that_cannot_be_written_is_let_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    times = History(tmp_path / "file/builds.json")
    times.note("a", 1.0)
    times.save()


def test_what_cannot_be_put_in_place_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file of times, and a pyproject.toml that is to be changed."""

    def replace(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", replace)
    times = History(tmp_path / "builds.json")
    times.note("a", 1.0)
    times.save()
    (tmp_path / "pyproject.toml").write_text("")
    assert cli.main(["init", "-y", str(tmp_path)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["pyproject.toml"]


def test_times_lie_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert default_path() == Path("/cache/parallel-backend/builds.json")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert default_path() == Path.home() / ".cache/parallel-backend/builds.json"


# --- tables and progress


def test_the_table_has_a_row_for_each_project(tmp_path: Path) -> None:
    rows = [
        building(
            tmp_path,
            "one-1.0",
            status="built",
            file=tmp_path / "one.whl",
            seconds=12.34,
            backend="parallel_backend",
            compiled=10,
            reused=2,
        ),
        building(tmp_path, "a\n", status="failed", seconds=0.5, note="\x1b" + "x" * 200),
        building(tmp_path, "b"),
    ]
    assert table(rows) == [
        "project  file       time  compiled  reused  result",
        "one-1.0  one.whl  12.3 s        10       2  built",
        f"a\\n      -         0.5 s         -       -  failed: \\x1b{'x' * 96}...",
        "b        -             -         -       -  not begun",
    ]
    told = totals(rows, seconds=13.0, jobs=1)
    assert told == "3 projects in 13.0 s on 1 job: 1 built, 1 failed, 1 not begun"


def test_what_built_a_project_is_told_where_it_is_not_our_backend() -> None:
    assert result_text(Result(status="built", backend="parallel_backend:legacy")) == "built"
    assert result_text(Result(status="built", backend="own")) == "built by own"


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_lines(log) == []
    log.write_bytes(b"first\n" + b"line\n" * 24 + b"l\xffst\n")
    assert len(log_lines(log)) == 26
    assert log_lines(log, most=25) == ["line"] * 24 + ["l\ufffdst"]


# --- help and completion


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_has_an_example_and_the_exit_statuses(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "example: " in shown
    assert "exit status: " in shown


@pytest.mark.parametrize(
    ("words", "help_of"),
    [
        (["build"], " build"),
        (["build", "x", "-j", "0"], " build"),
        (["bytecode", "-j", "0", "x"], " bytecode"),
        (["completion", "x"], " completion"),
        (["init", "--no"], " init"),
        (["vendor"], " vendor"),
        (["vendor", ""], " vendor"),
        (["init", ""], " init"),
        (["no-such-command"], ""),
    ],
)
def test_a_mistake_in_the_options_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], words: list[str], help_of: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("parallel-backend: error: ")
    assert line.endswith(f" (see parallel-backend{help_of} --help)")


@pytest.mark.parametrize(
    ("typed", "last", "offered"),
    [
        ("parallel-backend ", "b", ["build", "bytecode"]),
        ("parallel-backend build ", "--no", ["--no-isolation"]),
        ("parallel-backend completion ", "z", ["zsh"]),
        ("parallel-backend vendor a ", "--c", ["--check"]),
        ("parallel-backend ", "--v", ["--version"]),
        # Nothing of ours: the shell offers files.
        ("parallel-backend build ", "''", []),
        ("parallel-backend build -o ", "''", []),
        ("parallel-backend completion ", "''", ["bash", "fish", "zsh"]),
    ],
)
def test_bash_completes_commands_and_options(
    capsys: pytest.CaptureFixture[str], typed: str, last: str, offered: list[str]
) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    words = [*typed.split(), last]
    script += f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
    script += "_parallel_backend; printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (offered, "")


@pytest.mark.parametrize("shell", ["fish", "zsh"])
def test_other_shells_can_read_their_script(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, shell: str
) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "--keep-going" in script or "-l keep-going -d" in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    file = tmp_path / "script"
    file.write_text(script)
    subprocess.run([program, "-n", file], check=True)
