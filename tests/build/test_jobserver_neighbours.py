"""Real GNU make, ninja and cargo as parents and children of a token pool."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from parallel_backend.jobserver import Pool, open_pool, pool

SECONDS = 120  # a test that hangs fails
SOURCES = str(Path(pool.__file__).parents[2])


def program(name: str, *, least: tuple[int, int] = (0, 0)) -> str:
    """Return the program of this interpreter's environment, else of PATH; skip without."""
    places = [str(Path(sys.executable).parent), os.environ["PATH"]]
    for path in filter(None, (shutil.which(name, path=place) for place in places)):
        version = re.search(r"(\d+)\.(\d+)", run([path, "--version"]).stdout)
        if version and (int(version[1]), int(version[2])) >= least:
            return path
    pytest.skip(f"no {name} {'.'.join(map(str, least))} or newer is installed")


def run(
    command: list[str], *, variables: dict[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    names = ("MAKEFLAGS", "CARGO_MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS", "MAKELEVEL")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        command,
        env={**clean, "PYTHONPATH": SOURCES, **(variables or {})},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


# make as the parent

RECIPE = """
import fcntl, json, os, pathlib, re, subprocess, sys, tempfile
from parallel_backend.jobserver import open_pool

flags = os.environ["MAKEFLAGS"]
way, out = sys.argv[1:]
if way == "through subprocess":
    sys.exit(subprocess.call([sys.executable, __file__, "directly", out]))
numbers = [int(number) for number in re.findall(r"auth=(\\d+),(\\d+)", flags)[-1]]
def status_flags():
    found = []
    for number in numbers:
        try:
            found.append(fcntl.fcntl(number, fcntl.F_GETFL))
        except OSError:
            found.append(None)
    return found
reports = []
before = status_flags()
with tempfile.TemporaryDirectory() as folder, open_pool(
    makeflags=flags, jobs=4, slots=lambda: 9, private=pathlib.Path(folder), report=reports.append
) as pool:
    tokens = list(iter(pool.acquire, None))
    # Numbers that were closed may be in use by now.
    shared_is_as_before = before == [None, None] or status_flags() == before
    with open_pool(
        makeflags=pool.environment["MAKEFLAGS"],
        jobs=None, slots=lambda: 9, private=pathlib.Path(folder), report=reports.append,
    ) as nested:
        nested_finds_none = nested.acquire() is None
        pool.release(tokens.pop())
        nested_finds_one = nested.acquire() is not None
    tokens.append(pool.acquire())
with open(out, "w") as file:
    json.dump([reports, len(tokens), None in tokens, before != [None, None],
        shared_is_as_before, nested_finds_none, nested_finds_one, pool.description], file)
"""


@pytest.mark.parametrize("way", ["directly", "through subprocess"])
@pytest.mark.parametrize("plus", ["+", ""])
def test_make_s_pipe_serves_recipes(plus: str, way: str, tmp_path: Path) -> None:
    make = program("make")
    (tmp_path / "recipe.py").write_text(RECIPE)
    (tmp_path / "Makefile").write_text(
        f"all:\n"
        f"\t{plus}@'{sys.executable}' recipe.py '{way}' first.json\n"
        f"\t{plus}@'{sys.executable}' recipe.py '{way}' second.json\n"
    )
    # From 4.4 on make serves a FIFO unless told otherwise.
    style = ["--jobserver-style=pipe"] if "style" in run([make, "--help"]).stdout else []
    result = run([make, "-j4", *style], folder=tmp_path)
    # make itself complains at its end if a token is missing.
    assert (result.returncode, result.stderr) == (0, "")
    for name in ("first.json", "second.json"):
        reports, tokens, lost, is_open, *good, description = json.loads(
            (tmp_path / name).read_text()
        )
        if style and not plus:
            assert (
                "the jobserver -2,-2 of MAKEFLAGS is not usable: make turned it off" in reports[0]
            )
            continue
        assert reports == []
        assert (tokens, lost) == (3, False)
        assert good == [True, True, True]
        assert is_open == (plus == "+" and way == "directly")
        whose = "this process" if is_open else r"process \d+"
        assert re.fullmatch(rf"the jobserver \d+,\d+ of {whose}", description)


FIFO_RECIPE = """
import os, pathlib, sys
from parallel_backend.jobserver import open_pool

with open_pool(
    makeflags=os.environ["MAKEFLAGS"],
    jobs=None, slots=lambda: 9, private=pathlib.Path(), report=sys.exit,
) as pool:
    print(len(list(iter(pool.acquire, None))), pool.description.startswith("the jobserver at /"))
"""


def test_make_s_fifo_serves_recipes(tmp_path: Path) -> None:
    make = program("make", least=(4, 4))
    (tmp_path / "recipe.py").write_text(FIFO_RECIPE)
    (tmp_path / "Makefile").write_text(f"all:\n\t@'{sys.executable}' recipe.py\n")
    result = run([make, "-j4", "--jobserver-style=fifo"], folder=tmp_path)
    assert (result.stdout, result.stderr) == ("3 True\n", "")


# make, ninja and cargo as children


def serving(tmp_path: Path, *, slots: int, makeflags: str = "") -> AbstractContextManager[Pool]:
    private = tmp_path / "private"
    private.mkdir()
    return open_pool(
        makeflags=makeflags,
        jobs=None,
        slots=lambda: slots,
        private=private,
        report=pytest.fail,
    )


# Two jobs that meet: each waits for the other.
MEETING = "mkfifo meet 2>/dev/null; timeout 60 sh -c 'echo > meet'"
MEETING_TOO = "mkfifo meet 2>/dev/null; timeout 60 sh -c 'read x < meet'"

# A job that fails if another one runs.
ALONE = f"mkdir busy && '{sys.executable}' -c pass && rmdir busy"


def test_a_child_make_runs_under_our_makeflags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = program("make")
    monkeypatch.setenv("PATH", f"{Path(make).parent}:{os.environ['PATH']}")
    (tmp_path / "Makefile").write_text(f"all: a b c\na b c:\n\t@{ALONE} && echo $@$(VALUE)\n")
    with serving(tmp_path, slots=3, makeflags="k -j8 -- VALUE=1") as tokens:
        held = list(iter(tokens.acquire, None))
        assert len(held) == 2
        result = run([make], variables=tokens.environment, folder=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        assert sorted(result.stdout.split()) == ["a1", "b1", "c1"]


def test_a_new_child_make_takes_our_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = program("make", least=(4, 4))
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("make", "gmake"):
        (folder / name).symlink_to(make)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (tmp_path / "Makefile").write_text(f"all: a b\na:\n\t@{MEETING}\nb:\n\t@{MEETING_TOO}\n")
    with serving(tmp_path, slots=2) as tokens:
        result = run([make], variables=tokens.environment, folder=tmp_path)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        assert len(list(iter(tokens.acquire, None))) == 1


def ninja_file(commands: list[str]) -> str:
    edges = [
        f"rule r{number}\n  command = {command}\nbuild out{number}: r{number}\n"
        for number, command in enumerate(commands)
    ]
    return "\n".join(edges)


def test_ninja_holds_to_our_tokens(tmp_path: Path) -> None:
    ninja = program("ninja", least=(1, 13))
    (tmp_path / "build.ninja").write_text(ninja_file([ALONE] * 6))
    with serving(tmp_path, slots=3) as tokens:
        held = list(iter(tokens.acquire, None))
        result = run([ninja], variables=tokens.environment, folder=tmp_path)
        assert result.returncode == 0, result.stdout
        assert len(held) == 2


def test_ninja_takes_our_tokens_and_gives_them_back(tmp_path: Path) -> None:
    ninja = program("ninja", least=(1, 13))
    (tmp_path / "build.ninja").write_text(ninja_file([MEETING, MEETING_TOO, *["true"] * 6]))
    with serving(tmp_path, slots=2) as tokens:
        result = run([ninja], variables=tokens.environment, folder=tmp_path)
        assert result.returncode == 0, result.stdout
        assert len(list(iter(tokens.acquire, None))) == 1


@pytest.mark.parametrize("kind", ["served", "inherited"])
def test_cargo_takes_our_tokens_without_a_warning(kind: str, tmp_path: Path) -> None:
    cargo = program("cargo")
    crate = tmp_path / "crate"
    (crate / "src").mkdir(parents=True)
    (crate / "Cargo.toml").write_text(
        '[package]\nname = "tiny"\nversion = "0.1.0"\nedition = "2021"\n'
    )
    (crate / "src" / "lib.rs").write_text("")
    # cargo's child that asks for the jobserver says what it found.
    (crate / "build.rs").write_text(
        'fn main() { println!("cargo:warning={}", std::env::var("CARGO_MAKEFLAGS").unwrap()); }'
    )
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_inheritable(end, True)
    os.write(writer, b"+")
    flags = f"--jobserver-auth={reader},{writer}" if kind == "inherited" else ""
    try:
        with serving(tmp_path, slots=2, makeflags=flags) as tokens:
            command = [cargo, "build", "--offline"]
            result = run(command, variables=tokens.environment, folder=crate)
            assert result.returncode == 0, result.stderr
            warnings = [line for line in result.stderr.splitlines() if "warning" in line]
            auth = tokens.environment["CARGO_MAKEFLAGS"].split()[-1]
            assert len(warnings) == 1, result.stderr
            assert auth in warnings[0]
            assert len(list(iter(tokens.acquire, None))) == 1
    finally:
        os.close(reader)
        os.close(writer)
