"""The parts of bench/ work, on projects made up here, without a network."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from harness import REPOSITORY

sys.path.insert(0, str(REPOSITORY))

from bench import builds, environments, fidelity, sources

HERE = environments.Environment(
    python=Path(sys.executable), python_version="3", setuptools="this one"
)
# A build that needs no compiler, and one that is not like it.
PURE = (
    "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
    "[project]\nname = 'pure'\nversion = '1'\n[tool.setuptools]\npy-modules = ['pure']\n"
)


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


def test_the_cpu_of_children_is_counted_and_their_sleep_is_not(tmp_path: Path) -> None:
    sleep = "import time; time.sleep(2)"
    work = "import time\nwhile time.process_time() < 0.2: pass"
    twice = ["sh", "-c", '"$@"; "$@"', "sh", sys.executable, "-c", work]
    log = tmp_path / "log"
    command = [sys.executable, "-c", sleep]
    cost = builds.measured(command, folder=tmp_path, environment={}, log=log)
    assert cost.wall > 2 > cost.cpu
    assert cost.memory > 1024
    cost = builds.measured(twice, folder=tmp_path, environment={}, log=log)
    assert cost.cpu >= 0.38  # the kernel counts in steps


def test_a_failing_build_shows_the_end_of_its_output(pure: sources.Source, tmp_path: Path) -> None:
    (pure.tree / "setup.py").write_text("raise SystemExit('out of luck')\n", encoding="utf-8")
    with pytest.raises(builds.BuildError, match="out of luck"):
        builds.build_wheel(pure, peer=builds.serial(), python=HERE.python, work=tmp_path / "work")


def test_what_runs_before_the_hook_is_part_of_the_build(
    pure: sources.Source, tmp_path: Path
) -> None:
    before = '"$PYTHON" -c "import time; time.sleep(2)"; echo "answer = 43" >pure.py'
    peer = replace(builds.serial(), before=before)
    built = builds.build_wheel(pure, peer=peer, python=HERE.python, work=tmp_path / "work")
    assert built.wall > 2
    with zipfile.ZipFile(built.wheel) as wheel:
        assert wheel.read("pure.py") == b"answer = 43\n"
    peer = replace(peer, before="echo out of luck; false")
    with pytest.raises(builds.BuildError, match="out of luck"):
        builds.build_wheel(pure, peer=peer, python=HERE.python, work=tmp_path / "work")


def test_what_steers_a_build_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAKEFLAGS", "PARALLEL_BACKEND_JOBS", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CFLAGS", "-O0")
    environment = builds.clean_environment(MORE="1")
    assert not {"MAKEFLAGS", "PARALLEL_BACKEND_JOBS", "PYTHONDONTWRITEBYTECODE"} & {*environment}
    assert (environment["CFLAGS"], environment["MORE"]) == ("-O0", "1")


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


def test_a_build_that_is_not_reproducible_in_itself_is_said_to_be(
    pure: sources.Source, tmp_path: Path
) -> None:
    setup = "import os, setuptools\nsetuptools.setup(description=os.urandom(8).hex())\n"
    (pure.tree / "setup.py").write_text(setup, encoding="utf-8")
    text = (pure.tree / "pyproject.toml").read_text("utf-8")
    dynamic = text.replace("version = '1'", "version = '1'\ndynamic = ['description']")
    (pure.tree / "pyproject.toml").write_text(dynamic, encoding="utf-8")
    verdict = fidelity.compare(pure, environment=HERE, peers=[_peer("x")], work=tmp_path / "work")
    assert "pure-1.dist-info/METADATA" in verdict.faults[0]
    assert "not reproducible" in verdict.faults[0]


def test_a_package_without_a_serial_wheel_proves_nothing(
    pure: sources.Source, tmp_path: Path
) -> None:
    (pure.tree / "setup.py").write_text("raise SystemExit('out of luck')\n", encoding="utf-8")
    verdict = fidelity.compare(pure, environment=HERE, peers=[_peer("x")], work=tmp_path / "work")
    assert not verdict.good
    assert (verdict.same, verdict.faults) == (0, ("plain setuptools fails",))


def test_wheels_differ_in_contents_times_modes_order_and_members(tmp_path: Path) -> None:
    def wheel(name: str, *members: tuple[str, str, int]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, text, mode in members:
                info = zipfile.ZipInfo(member)
                info.external_attr = mode << 16
                archive.writestr(info, text)
        return tmp_path / name

    one = wheel("one", ("a", "1", 0o644), ("b", "2", 0o644))
    two = wheel("two", ("b", "2", 0o755), ("a", "3", 0o644), ("c", "", 0o644))
    assert fidelity.different_members(one, two) == ["a", "b", "c", "(order of members)"]


def test_a_missing_interpreter_is_said_and_no_interpreter_is_no_proof(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fidelity.main(["--pythons", "2.9"]) == 1
    assert "Python 2.9 is not on this machine" in capsys.readouterr().out
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert environments.find_interpreter(own) is not None
    assert environments.find_interpreter("/no/such/python") is None


@pytest.mark.parametrize(
    ("text", "legacy", "backend_path"),
    [
        ("", True, ()),
        ("[build-system]\nrequires = ['setuptools>=99', 'setuptools_scm']\n", True, ()),
        ("[build-system]\nbuild-backend = 'setuptools.build_meta'\n", False, ()),
        ("[build-system]\nbuild-backend = '_in_tree'\nbackend-path = ['p']\n", False, ("p",)),
    ],
)
def test_the_build_system_says_which_pair_of_backends_compares(
    text: str, legacy: bool, backend_path: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    found = sources.read_source(tmp_path, name="x")
    assert (found.legacy, found.backend_path) == (legacy, backend_path)
    assert found.requires == (("setuptools_scm",) if "scm" in text else ())


def test_an_sdist_in_the_cache_is_unpacked_without_asking_pip(tmp_path: Path) -> None:
    inner = tmp_path / "Some_Name-1.0"
    inner.mkdir()
    (inner / "pyproject.toml").write_text(PURE, encoding="utf-8")
    cache = tmp_path / "cache"
    (cache / "sdists").mkdir(parents=True)
    with tarfile.open(cache / "sdists" / "Some_Name-1.0.tar.gz", "w:gz") as archive:
        archive.add(inner, arcname=inner.name)
    no_pip = Path("/no/such/python")
    for _ in range(2):
        found = sources.fetch("some-name==1.0", cache=cache, python=no_pip, environment={})
        assert (found.tree / "pyproject.toml").read_text("utf-8") == PURE
    with pytest.raises(ValueError, match="not NAME==VERSION"):
        sources.fetch("some-name", cache=cache, python=no_pip, environment={})
