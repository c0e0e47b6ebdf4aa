"""A project that `init --in-tree` has switched is built with nothing installed but setuptools."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import distributions
from pathlib import Path

import pytest
from pyproject_hooks import BuildBackendHookCaller

from cli_harness import PATIENCE, run, variables
from harness import serial_wheel, wheel_bytes_equal
from installed_wheel import installed_wheel
from interpreters import other_python
from projects import TINY_C, make_project

SETUP = """
from setuptools import Extension, setup
setup(ext_modules=[
    Extension("package.one", ["one.c", "more.c"]), Extension("package.two", ["two.c"]),
])
"""
# Discovery looks at the project's own directory, and at directories without __init__.py too.
PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "sample"
version = "1.0"

[tool.setuptools.packages.find]
exclude = ["build*", "tests*"]
"""
CLOSING = "parallel-backend: 3 compiled, 2 linked, 0 reused in "


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two extensions, switched."""
    pytest.importorskip("tomlkit", reason="tomlkit is not installed")
    folder = make_project(
        tmp_path / "project",
        setup=SETUP,
        files={
            "pyproject.toml": PYPROJECT,
            "package/__init__.py": "",
            "one.c": TINY_C.format(name="one"),
            "two.c": TINY_C.format(name="two"),
            "more.c": "",
        },
    )
    done = run("init", "--in-tree", "--yes", folder, tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def index(tmp_path: Path) -> dict[str, str]:
    """The environment of a frontend that isolates, and finds setuptools and nothing else."""
    if not any(distributions(name="pip")):  # not by find_spec, at which setuptools takes a look
        pytest.skip("this Python has no pip")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    installed_wheel("setuptools", wheels)
    offline = variables(tmp_path, {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)})
    # With a path to it any backend would do.
    return {name: text for name, text in offline.items() if name != "PYTHONPATH"}


def frontend(*words: str | Path, env: Mapping[str, str], cwd: Path) -> str:
    """Run a module of this Python; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def pip_wheel(source: Path, *options: str, env: Mapping[str, str]) -> tuple[str, Path]:
    """Build in isolation; what was printed, and the wheel."""
    out = source.parent / "out"
    words: list[str | Path] = [
        "wheel",
        "--verbose",
        "--no-deps",
        "--wheel-dir",
        out,
        *options,
        source,
    ]
    printed = frontend("pip", *words, env=env, cwd=source.parent)
    [wheel] = out.glob("*.whl")
    return printed, wheel


def test_pip_builds_it_with_a_setting_into_the_wheel_of_a_serial_build(
    project: Path, index: dict[str, str]
) -> None:
    expected = serial_wheel(project, env={"CFLAGS": index["CFLAGS"]})
    printed, wheel = pip_wheel(project, "--config-settings=jobs=3", env=index)
    assert re.search(rf"{CLOSING}.* on 3 jobs ", printed)
    assert wheel_bytes_equal(wheel, expected)
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "backend" in name]


def test_its_sdist_holds_the_copy_and_builds(project: Path, index: dict[str, str]) -> None:
    out = project.parent / "sdists"
    words: list[str | Path] = ["--sdist", "--no-isolation", "--outdir", out, project]
    frontend("build", *words, env=index, cwd=project.parent)
    [sdist] = out.glob("*.tar.gz")
    copy = project / "_backend.vendored"
    files = {
        file.relative_to(project).as_posix(): file.read_bytes()
        for file in copy.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    with tarfile.open(sdist) as archive:
        root = sdist.name.removesuffix(".tar.gz")
        held = {
            each.name.removeprefix(f"{root}/"): archive.extractfile(each)
            for each in archive.getmembers()
            if each.isfile() and "_backend.vendored" in each.name
        }
        assert {name: file.read() for name, file in held.items() if file} == files
    shutil.rmtree(project)
    printed, _ = pip_wheel(sdist, env=index)
    assert CLOSING in printed


def test_a_copy_leaves_the_record_of_timings_and_the_command_makes_the_page(
    project: Path, index: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "timings"
    printed, _ = pip_wheel(project, f"--config-settings=timings={folder}", env=index)
    record = folder / "timings.jsonl"
    [line] = [each.strip() for each in printed.splitlines() if "parallel-backend: timings:" in each]
    assert line == (
        f"parallel-backend: timings: {record} (parallel-backend timings makes the page)"
    )
    assert [each.name for each in folder.iterdir()] == ["timings.jsonl"]
    done = run("timings", record, tmp_path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    page = (folder / "timings.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("one.c", "two.c", "more.c"))
    assert (folder / "timings.json").exists()


@pytest.mark.parametrize("minor", [8, 9, 10])
def test_on_an_older_python_a_build_ends_in_one_line(project: Path, minor: int) -> None:
    """Hooks are called as build and pip call them."""
    printed = []

    def runner(
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        done = subprocess.run(
            cmd,
            cwd=cwd,
            env=variables(project.parent, extra_environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        printed.append(done.stdout)
        done.check_returncode()

    caller = BuildBackendHookCaller(
        str(project),
        "parallel_backend",
        backend_path=["_backend.vendored"],
        runner=runner,
        python_executable=other_python(minor),
    )
    hooks: list[Callable[[], object]] = [
        caller.get_requires_for_build_sdist,
        partial(caller.prepare_metadata_for_build_wheel, str(project.parent)),
        partial(caller.build_editable, str(project.parent)),
    ]
    for hook in hooks:
        with pytest.raises(subprocess.CalledProcessError):
            hook()
        [line] = printed.pop().splitlines()
        assert line.startswith(
            "parallel-backend: error: building with parallel_backend needs Python 3.11 or newer, "
            f"and this is Python 3.{minor}."
        )
