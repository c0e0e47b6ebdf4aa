"""bench/ records what a build runs, replays it by ninja and asleep, on projects made up here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness import QUICK_COMPILE, REPOSITORY
from projects import make_project

sys.path.insert(0, str(REPOSITORY))

import bench.__main__ as command_line
from bench import builds, check, growth, made_up, ninja, recording, scale, works
from bench.environments import Environment
from bench.sources import Source, read_source
from bench.turns import Journal, measure

HERE = Environment(python=Path(sys.executable), python_version="3", setuptools="this one")
_NINJA = shutil.which(
    "ninja", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
)

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no cc")
needs_ninja = pytest.mark.skipif(_NINJA is None, reason="there is no ninja")

# The second extension compiles common.c anew, to the same path; a test of the compiler is no part
# of the build, nor is what fails.
_SETUP = """\
import os, subprocess, sysconfig
from setuptools import Extension, setup

with open("probe.c", "w") as probe:
    probe.write("int probe;")
compiler = sysconfig.get_config_var("CC").split()[0]
subprocess.run([compiler, "-c", "probe.c", "-o", "/dev/null"], check=True)
subprocess.run([compiler, "-c", "probe.c", "-o", "probe.o"], check=True)
os.unlink("probe.o")
subprocess.run([compiler, "-c", "no-such.c", "-o", "no-such.o"], stderr=subprocess.DEVNULL)

setup(
    ext_modules=[
        Extension("one", ["one.c", "src/common.c"], define_macros=[("ME", "1")]),
        Extension("two", ["src/common.c"], define_macros=[("ME", "2")]),
    ]
)
"""
_FILES = {
    "one.c": "void *PyInit_one(void) { return 0; }\n",
    "src/common.c": 'const char *common = "ME " __FILE__; int me[ME];\n'
    "#if ME == 2\nvoid *PyInit_two(void) { return 0; }\n#endif\n",
}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A project of two extensions that share a source."""
    for name, value in QUICK_COMPILE.items():
        monkeypatch.setenv(name, value)
    tree = make_project(tmp_path / "shared", name="shared", setup=_SETUP, files=_FILES)
    return read_source(tree, name="shared")


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> works.Suite:
    """Everything in this environment, and nothing from the network."""
    tools = tmp_path / "tools"
    (tools / "bin").mkdir(parents=True)
    if _NINJA is not None:
        (tools / "bin" / "ninja").symlink_to(_NINJA)
    monkeypatch.setattr(works, "install_apart", lambda cache, pin, **options: tools)
    for module in (works, command_line):
        monkeypatch.setattr(module, "make_environment", lambda cache, **options: HERE)
    cache = tmp_path / "cache"
    return works.Suite(python=HERE.python, cache=cache, work=tmp_path / "work", jobs=2)


def _recorded(source: Source, tmp_path: Path) -> recording.Recorded:
    return recording.record(
        source, python=HERE.python, work=tmp_path / "work", keep=tmp_path / "keep"
    )


def test_a_serial_build_is_recorded_once_less_what_setup_py_tries(
    source: Source, tmp_path: Path
) -> None:
    recorded = _recorded(source, tmp_path)
    compiled = [command.source() for command in recorded.commands]
    assert compiled == ["one.c", "src/common.c", "", "src/common.c", ""]
    assert all(command.seconds > 0 and len(command.sha256) == 64 for command in recorded.commands)
    # The same path twice, and not the same bytes: that is what the shared source is about.
    _, first, _, second, _ = recorded.commands
    assert first.output == second.output
    assert first.sha256 != second.sha256
    assert not [*recorded.tree.rglob("*.o"), *recorded.tree.rglob("*.so")]
    shutil.rmtree(source.tree)
    assert _recorded(source, tmp_path) == recorded


def test_a_short_recording_has_the_floor_and_no_path_of_the_machine(
    source: Source, tmp_path: Path
) -> None:
    recorded = _recorded(source, tmp_path)
    timed = [
        replace(command, seconds=seconds)
        for command, seconds in zip(recorded.commands, [1, 2, 0.25, 4, 0.5], strict=True)
    ]
    short = recording.shortened(replace(recorded, commands=tuple(timed)), package="shared")
    assert short.sources == {"one.c": 1, "src/common.c": 3}
    assert short.links == {"one": 0.25, "two": 0.5}
    assert [one.sources for one in short.extensions] == [
        ("one.c", "src/common.c"),
        ("src/common.c",),
    ]
    assert short.work() == 1 + 3 + 0.25 + 3 + 0.5
    assert short.chain() == 3.5
    assert [short.floor(slots) for slots in (1, 2, 4)] == [7.75, 3.875, 3.5]
    path = tmp_path / "short.json"
    short.write(path)
    assert recording.Recording.read(path) == short
    assert str(tmp_path) not in path.read_text("utf-8")


def test_recordings_in_the_repository_can_be_replayed() -> None:
    for path in scale.RECORDINGS.glob("*.json"):
        found = recording.Recording.read(path)
        assert path.name == f"{found.package}.json"
        assert found.floor(1) == found.work() > found.chain() > 0
        assert "/" not in {name[0] for name in found.sources}


def test_a_build_without_a_compiler_cannot_be_recorded(tmp_path: Path) -> None:
    pure = read_source(make_project(tmp_path / "pure", name="pure"), name="pure")
    with pytest.raises(builds.BuildError, match="no command was recorded"):
        _recorded(pure, tmp_path)


@needs_ninja
def test_ninja_makes_the_bytes_of_the_serial_build(source: Source, tmp_path: Path) -> None:
    recorded = _recorded(source, tmp_path)

    def replay(commands: recording.Recorded, work: str = "work") -> builds.Cost:
        return ninja.replay(
            commands,
            ninja=Path(str(_NINJA)),
            jobs=4,
            work=tmp_path / work,
            log=tmp_path / "log",
            check=True,
        )

    assert replay(recorded).wall > 0
    assert replay(recorded).wall > 0
    assert (tmp_path / "log" / ".ninja_log").exists()
    *others, last = recorded.commands
    wrong = replace(recorded, commands=(*others, replace(last, sha256="0" * 64)))
    with pytest.raises(builds.BuildError, match="is not what the recorded build made"):
        replay(wrong)
    with pytest.raises(builds.BuildError, match="were recorded in"):
        replay(recorded, "elsewhere")


def test_a_link_waits_for_the_objects_that_it_was_linked_from(tmp_path: Path) -> None:
    def command(*words: str, folder: str = "/t") -> recording.Command:
        return recording.Command(words=words, folder=folder, output=words[-1], seconds=1, sha256="")

    told = [
        command("cc", "-c", "a.c", "-o", "b/a.o"),
        command("cc", "./b/a.o", "-o", "one.so"),
        command("cc", "-c", "-DX=$1 2", "a.c", "-o", "b/a.o"),
        command("cc", "../b/a.o", "-o", "two.so", folder="/t/o"),
    ]
    text = ninja.build_file(ninja.distinct(told), tree=Path("/t"), log=Path("/l"))
    assert text.splitlines()[3:] == [
        "build /t/b/a.o: run ",
        "  words = cc -c a.c -o b/a.o",
        "build /t/one.so: run /t/b/a.o",
        "  words = cc ./b/a.o -o one.so",
        "build /t/b/a.2.o: run ",
        "  words = cc -c '-DX=$$1 2' a.c -o /t/b/a.2.o",
        "build /t/o/two.so: run /t/b/a.2.o",
        "  words = cd /t/o && cc /t/b/a.2.o -o two.so",
    ]


def _slept(command: list[str], folder: Path, **variables: str) -> float:
    start = time.perf_counter()
    environment = {**os.environ, **variables}
    subprocess.run(command, check=True, cwd=folder, env=environment, capture_output=True)
    return time.perf_counter() - start


def test_the_sleeping_compiler_only_sleeps_and_writes(tmp_path: Path) -> None:
    sleeper = str(made_up.make_sleeper(tmp_path))
    for question in ("--version", "-E"):
        _slept([sleeper, "-c", question], tmp_path)
    compile_one = [sleeper, "-c", "one.c", "-o", "one.o", "-MD", "-MF", "one.d"]
    assert _slept(compile_one, tmp_path) >= made_up.SLEEP
    assert (tmp_path / "one.d").read_text("utf-8") == "one.o: one.c\n"
    assert (tmp_path / "one.o").stat().st_size > 0
    link = [sleeper, "one.o", "-o", "one.so", "-Wl,--dependency-file=one.so.d"]
    _slept(link, tmp_path, SLEEPER_SECONDS="60")
    assert (tmp_path / "one.so.d").read_text("utf-8") == "one.so: one.o\n"
    bad = subprocess.run([sleeper, "-o", "no/such"], check=False, cwd=tmp_path, capture_output=True)
    assert bad.returncode == 1


def test_the_sleeping_compiler_sleeps_as_recorded_and_hands_on_what_was_not(
    tmp_path: Path,
) -> None:
    variables = made_up.sleeping_compilers(tmp_path / "sleeper")
    times = tmp_path / "times"
    times.write_text("0.3\tsrc/one.c\n0.2\tlink:one\n60\tsrc/two.c\n", encoding="utf-8")
    variables["SLEEPER_TIMES"] = str(times)
    (tmp_path / "three.c").write_text("int three;\n", encoding="utf-8")
    environment = {**os.environ, **variables}
    cc = str(shutil.which("cc", path=variables["PATH"]))
    assert Path(cc).parent == tmp_path / "sleeper" / "bin"
    for name in ("src/one.c", "./src/one.c", str(tmp_path / "src/one.c")):
        assert 0.3 <= _slept([cc, "-c", name, "-o", "one.o"], tmp_path, **variables) < 60
    link = [cc, "one.o", "-o", "one.cpython-x.so"]
    assert 0.2 <= _slept(link, tmp_path, **variables) < 60
    _slept([cc, "-c", "three.c", "-o", "three.o"], tmp_path, **variables)
    assert (tmp_path / "three.o").read_bytes().startswith(b"\x7fELF")
    answer = subprocess.run(
        [cc, "-dM", "-E", "-x", "c", os.devnull], env=environment, capture_output=True, check=True
    )
    assert b"__GNUC__" in answer.stdout


@needs_ninja
def test_every_peer_sleeps_through_a_recorded_build(
    source: Source, suite: works.Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scale, "RECORDINGS", tmp_path)
    seconds: Mapping[str, float] = {"one.c": 0.2, "src/common.c": 0.2}
    extensions = tuple(
        recording.Extension(name=name, sources=names)
        for name, names in {"one": ("one.c", "src/common.c"), "two": ("src/common.c",)}.items()
    )
    recording.Recording(
        package="shared", sources=seconds, links={"one": 0.1, "two": 0.1}, extensions=extensions
    ).write(tmp_path / "shared.json")
    monkeypatch.setattr(works, "fetch", lambda name, **options: source)
    few = replace(suite, peers=("ninja", "parallel"))
    journal = Journal(tmp_path / "builds.jsonl")
    found = [*scale.points("shared", few, slots=(1, 8), runs=1, journal=journal)]
    assert [(point.slots, point.row.peer) for point in found] == [
        (slots, peer) for slots in (1, 8) for peer in few.peers
    ]
    assert [point.floor for point in found] == pytest.approx([0.8] * 2 + [0.3] * 2)
    # Nobody is below the floor, and ninja, which has no Python in it, is near it.
    assert all(point.above is not None and point.above >= 1 for point in found)
    assert not any(point.row.error for point in found)
    assert len(scale.table(found).splitlines()) == 4
    assert scale.picture("shared", found).count("<polyline") == 2


def test_growth_tells_time_and_memory_of_each_unit(
    suite: works.Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(growth, "KINDS", {"sources": (1, 3, 1000)})
    few = replace(suite, peers=("serial", "ninja"))
    journal = Journal(tmp_path / "builds.jsonl")
    found = [*growth.sizes("sources", few, most=3, runs=1, journal=journal)]
    assert [(size.count, size.row.peer) for size in found] == [(1, "serial"), (3, "serial")]
    assert found[1].milliseconds == pytest.approx(1000 * found[1].row.wall[0] / 3)
    lines = growth.table(found).splitlines()[2:]
    assert [line.split("|")[8].strip() == "-" for line in lines] == [True, False]
    assert "<polyline" in growth.picture("sources", found)


def test_a_peer_that_cannot_be_installed_fails_and_the_others_go_on(
    source: Source, suite: works.Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(cache: Path, pin: str, **options: object) -> Path:
        raise subprocess.CalledProcessError(1, ["pip", pin])

    monkeypatch.setattr(works, "install_apart", fail)
    few = replace(suite, peers=("serial", "parallel-compile", "ninja"))
    ways = [*works.ways(works.make_work(source, suite), few)]
    found, errors = measure("p", ways, runs=1, journal=Journal(tmp_path / "builds.jsonl"))
    assert [len(results) for results in found.values()] == [1, 0, 0]
    assert "pybind11==" in errors["parallel-compile"]
    assert "ninja==" in errors["ninja"]


@needs_ninja
def test_one_command_builds_by_every_peer_and_writes_what_it_finds(
    source: Source,
    suite: works.Suite,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Its pybind11 is broken: a peer that fails is told, and the others go on.
    broken = suite.cache.parent / "tools" / "pybind11.py"
    broken.write_text("raise SystemExit('out of luck')\n", encoding="utf-8")
    places = ["--cache", str(suite.cache), "--work", str(suite.work)]
    arguments = [str(source.tree), "--runs", "1", "--jobs", "2", *places]
    assert command_line.main(arguments) == 1
    told = capsys.readouterr().out
    assert "parallel-compile failed: out of luck" in told
    facts = json.loads((suite.cache / "results" / "packages.json").read_text("utf-8"))
    rows = {row["peer"]: row for row in facts["rows"]}
    assert [*rows] == list(works.PEERS)
    assert rows["parallel"]["wheel"] == "same"
    # setuptools' own parallel build is a race here, and fails now and then.
    assert {peer for peer in rows if rows[peer]["error"]} - {"extra-config"} == {"parallel-compile"}
    assert len(rows["ninja"]["ratios"]) == 1
    assert (suite.cache / "results" / "packages.svg").exists()


def test_the_check_fails_where_a_ratio_is_slower_and_its_short_form_only_tells(
    suite: works.Suite,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pure = make_project(tmp_path / "pure", name="pure")
    committed = tmp_path / "committed.json"
    monkeypatch.setattr(check, "COMMITTED", committed)
    cores = len(os.sched_getaffinity(0))
    places = ["--cache", str(suite.cache), "--work", str(suite.work), "--runs", "1", "--jobs", "2"]

    def checked(*arguments: str, ratio: float) -> int:
        facts = {"cores": cores, "jobs": 2, "ratios": [ratio]}
        committed.write_text(json.dumps({str(pure): {"parallel": facts}}), encoding="utf-8")
        return command_line.main(["--check", *arguments, *places])

    assert checked(ratio=1e-6) == 1
    # What was measured is there still.
    again = ["--resume", str(pure)]
    assert "slower" in capsys.readouterr().out
    assert checked(*again, ratio=1e6) == 0
    assert "faster" in capsys.readouterr().out
    assert checked("--short", *again, ratio=1e-6) == 0
    assert "slower" in capsys.readouterr().out
