"""What goes wrong in a run of the command, and what is told of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from cli_harness import (
    PATIENCE,
    building,
    in_tree,
    leftovers,
    run,
    tar_of,
    variables,
    with_extension,
)
from parallel_backend.tools.cli.wanted import UseError, make_folder
from projects import TINY_C, make_project
from timings_harness import embedded

FAILS = """
import sys
print("parallel-backend: 99 compiled, 1 linked, 7 reused in 1.0 s on 1 job (1.0 busy)")
def find():
    {0}
find()
from setuptools import setup
setup()
"""


@pytest.mark.parametrize(
    ("code", "note", "last"),
    [
        (
            "raise ValueError('no libfoo,\\nsee \\x1b[2J')",
            "ValueError: no libfoo, see \x1b[2J",
            "see \x1b[2J",
        ),
        ("print('no libfoo'); sys.exit(3)", "exit status 3", "3"),
        ("sys.exit('no libfoo')", "no libfoo", "no libfoo"),
    ],
)
def test_a_setup_py_that_fails_has_the_last_word(
    tmp_path: Path, code: str, note: str, last: str
) -> None:
    make_project(tmp_path / "one", setup=FAILS.format(code))
    done = run("build", "one", "-n", "--json", "-o", "out", tmp_path=tmp_path)
    [told] = json.loads(done.stdout)["projects"]
    assert (told["status"], told["note"], told["compiled"]) == ("failed", note, 0)
    log = (tmp_path / "out/sample-1.0.log").read_text()
    assert log.splitlines()[-1] == last
    assert "hook_process" not in log
    assert ("in find" in log) == ("ValueError" in note)


def test_what_was_compiled_before_a_failure_counts(tmp_path: Path) -> None:
    """And no text does that looks like a closing line of ours."""
    folder = with_extension(tmp_path / "bad", name="bad", broken=True)
    setup = (folder / "setup.py").read_text()
    line = "parallel-backend: 9 compiled, 0 linked, 7 reused in 1.0 s on 1 job (1.0 busy)"
    (folder / "setup.py").write_text(f"print('{line}')\n{setup}")
    (folder / "bad.c").write_text(TINY_C.format(name="bad") + "/* it goes first, by its size */")
    done = run("build", "bad", "-n", "-j", "1", "--json", "-o", "out", tmp_path=tmp_path)
    [told] = json.loads(done.stdout)["projects"]
    assert (told["status"], told["compiled"], told["reused"]) == ("failed", 1, 0)


def test_two_runs_into_one_folder_do_not_write_into_one_log(tmp_path: Path) -> None:
    made = [tmp_path / name for name in ("first", "second")]
    runs = []
    for folder in made:
        folder.mkdir()
        one = building(tmp_path, "one")
        one._log = folder / "one.log"
        one._show_log()
        runs.append(one)
    for one, text in zip(runs, ("of the first", "of the second"), strict=True):
        one._log.write_text(text)
    assert runs[0].log.read_text() == "of the second"
    assert runs[0].log.samefile(runs[1]._log)
    assert runs[0]._log.read_text() == "of the first"


def test_where_there_are_no_links_a_log_is_seen_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    (tmp_path / "made").mkdir()
    one = building(tmp_path, "one")
    one._log = tmp_path / "made/one.log"
    one.log.write_text("of another run")
    one._show_log()
    assert not one.log.exists()
    assert not one.run()
    assert "of another run" not in one.log.read_text()
    assert one.log.read_text().count("\n") == 1


def test_bad_archives_and_odd_names_fail_alone(tmp_path: Path) -> None:
    """A claim of more than memory holds, folders without end, a name that is no text; and a
    project called as one of our own files."""
    huge = tarfile.TarInfo("huge-1.0/pax")
    huge.type, huge.size = tarfile.XHDTYPE, 1 << 46
    (tmp_path / "huge-1.0.tar").write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    deep = tarfile.TarInfo("deep-1.0/" + "d/" * 1500)
    deep.type = tarfile.DIRTYPE
    tar_of(tmp_path / "deep-1.0.tar", [(deep, b"")])
    odd = tarfile.TarInfo("caf\udce9-1.0")
    odd.type = tarfile.DIRTYPE
    tar_of(tmp_path / "odd-1.0.tar", [(odd, b"")])
    with zipfile.ZipFile(tmp_path / "packed-1.0.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("packed-1.0/x", "x")
    in_tree(tmp_path / "own")
    (tmp_path / "own/pyproject.toml").write_text(
        (tmp_path / "own/pyproject.toml").read_text().replace('version = "1.0"', "")
    )
    names = ["huge-1.0.tar", "deep-1.0.tar", "odd-1.0.tar", "packed-1.0.zip"]
    done = run(
        "build",
        *names,
        "own",
        "-n",
        "-k",
        "--json",
        "-o",
        "out",
        "--timings",
        "out",
        tmp_path=tmp_path,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)["projects"]
    assert [each["status"] for each in told] == [*["failed"] * 4, "built"]
    assert "deep-1.0.tar cannot be unpacked: " in told[1]["note"]
    assert "no pyproject.toml" in told[2]["note"]
    assert "packed-1.0 is no Python project" in told[3]["note"]
    assert leftovers(tmp_path, tmp_path / "out") == []
    units = embedded(tmp_path / "out/timings.html")["units"]
    assert sum(unit[0] == "project" for unit in units) == 5


def test_a_folder_that_nobody_may_write_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(UseError, match=f"^nothing can be written to {tmp_path}; name another"):
        make_folder(str(tmp_path))


@pytest.mark.parametrize(
    ("streams", "status"),
    [
        ("2>&-", 0),
        (">&- 2>&- <&-", 0),
        ("2>/dev/null | true", 141),
        ("2>/dev/null >/dev/full", 1),
    ],
)
def test_streams_that_take_nothing_lose_no_wheel(tmp_path: Path, streams: str, status: int) -> None:
    """And a project's files are not taken for one of them."""
    folder = with_extension(tmp_path / "one", name="one")
    with (folder / "setup.py").open("a") as file:
        file.write("import sys\nprint('told', file=sys.stderr)\n")
    text = f'"$0" -m parallel_backend build one -n -o out {streams}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", text, sys.executable],
        cwd=tmp_path,
        env=variables(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status
    assert len([*(tmp_path / "out").glob("of_one-*.whl")]) == 1
    assert "told" in (tmp_path / "out/of_one-1.0.log").read_text()
    assert leftovers(tmp_path, tmp_path / "out") == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nothing"], "nothing is no folder and no file"),
        (["text.txt"], "text.txt is no folder, and no archive by its name: .tar.gz, "),
        (["own", "./own"], "own is named twice"),
        (["x.zip", "--editable-wheel"], "x.zip is an archive; an editable wheel needs a folder"),
        (["own", "--python", "no-such-python"], "--python no-such-python: no Python runs by this"),
        (["own", "--python", "./old"], "--python ./old is Python 3.10; it must be 3.11 or newer"),
        (["own", "-o", "text.txt"], "text.txt is a file; name a folder for wheels and logs"),
        (["own", "-o", "text.txt/x"], "for wheels and logs: "),
        (["own", "-o", ""], "the output folder has no name"),
        (["own", "own"], "own is named twice"),
        (["own", ""], "a SRC is empty; name a folder (. for this one) or an archive"),
        (["https://x/own-1.0.tar.gz"], "https://x/own-1.0.tar.gz is a URL; fetch it first"),
        (["own", "-C", "=1"], "-C =1: a key is missing; write KEY=VALUE"),
        (["own", "-C", "jobs=many"], "-C jobs: 'many' is not allowed; allowed is a whole number"),
        (["own", "--python", "./older"], "--python ./older is Python 2.7; it must be 3.11 or"),
    ],
)
def test_a_mistake_of_use_is_one_line_and_status_2(
    tmp_path: Path, words: list[str], told: str
) -> None:
    in_tree(tmp_path / "own")
    (tmp_path / "text.txt").write_text("")
    (tmp_path / "x.zip").write_text("")
    (tmp_path / "old").write_text("#!/bin/sh\necho 3 10 /old\n")
    (tmp_path / "older").write_text("#!/bin/sh\necho 2 7 /older\n")
    for name in ("old", "older"):
        (tmp_path / name).chmod(0o755)
    done = run("build", *words, tmp_path=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("parallel-backend: error: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
