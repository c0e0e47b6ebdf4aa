"""The commands of bench/ run, and fail where a build does; on projects made up here, offline."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from harness import QUICK_COMPILE, REPOSITORY
from projects import make_project

sys.path.insert(0, str(REPOSITORY))

import bench.__main__ as command_line
from bench import builds, check, environments, fidelity, sources, works

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no cc"),
]

HERE = environments.Environment(
    python=Path(sys.executable), python_version="3", setuptools="this one"
)
# A build that needs no compiler, and one that is not like it.
PURE = (
    "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
    "[project]\nname = 'pure'\nversion = '1'\n[tool.setuptools]\npy-modules = ['pure']\n"
)

_NINJA = shutil.which(
    "ninja", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
)
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
def pure(tmp_path: Path) -> sources.Source:
    tree = tmp_path / "pure"
    tree.mkdir()
    (tree / "pyproject.toml").write_text(PURE, encoding="utf-8")
    (tree / "pure.py").write_text("answer = 42\n", encoding="utf-8")
    return sources.read_source(tree, name="pure")


def _peer(name: str, **settings: str) -> builds.Peer:
    plain = builds.serial()
    return builds.Peer(
        name=name, backend=plain.backend, legacy=plain.legacy, config_settings=settings
    )


def test_equal_wheels_are_the_same_and_a_difference_is_named(
    pure: sources.Source, tmp_path: Path
) -> None:
    # The second tag makes another wheel of the same project.
    peers = [_peer("same"), _peer("other", **{"--build-option": "--build-number=2"})]
    verdict = fidelity.compare(pure, environment=HERE, peers=peers, work=tmp_path / "work")
    assert (verdict.same, verdict.builds, verdict.good) == (1, 2, False)
    assert len(verdict.faults) == 1
    assert "pure-1.dist-info/WHEEL" in verdict.faults[0]
    text = fidelity.table([verdict])
    assert "DIFFERS (1 of 2)" in text
    good = fidelity.compare(pure, environment=HERE, peers=peers[:1], work=tmp_path / "work")
    assert good.good


def test_a_package_without_a_serial_wheel_proves_nothing(
    pure: sources.Source, tmp_path: Path
) -> None:
    (pure.tree / "setup.py").write_text("raise SystemExit('out of luck')\n", encoding="utf-8")
    verdict = fidelity.compare(pure, environment=HERE, peers=[_peer("x")], work=tmp_path / "work")
    assert not verdict.good
    assert (verdict.same, verdict.faults) == (0, ("plain setuptools fails",))


def test_a_missing_interpreter_is_said_and_no_interpreter_is_no_proof(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fidelity.main(["--pythons", "2.9"]) == 1
    assert "Python 2.9 is not on this machine" in capsys.readouterr().out
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert environments.find_interpreter(own) is not None
    assert environments.find_interpreter("/no/such/python") is None


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sources.Source:
    """A project of two extensions that share a source."""
    for name, value in QUICK_COMPILE.items():
        monkeypatch.setenv(name, value)
    tree = make_project(tmp_path / "shared", name="shared", setup=_SETUP, files=_FILES)
    return sources.read_source(tree, name="shared")


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


@needs_ninja
def test_one_command_builds_by_every_peer_and_writes_what_it_finds(
    source: sources.Source,
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
