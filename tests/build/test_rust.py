"""setuptools-rust: what reaches cargo and the build scripts of crates. None of them is needed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness import run_hook
from projects import make_project
from rust_projects import (
    build_with,
    make_environment,
    make_rust_project,
    no_choices,
    write_program,
)
from scripts import run_script

__all__ = ["no_choices"]

pytestmark = pytest.mark.usefixtures("no_choices")

PATHS = ["PYO3_PYTHON", "PYTHON_SYS_EXECUTABLE"]

# Tells the variables, and what a build script finds that imports from the isolated environment.
CARGO = """
import json, os, subprocess, sys
script = "import sys, only_here; print(only_here.__file__, sys._base_executable, sep=chr(10))"
python = os.environ["PYO3_PYTHON"]
done = subprocess.run([python, "-c", script], stdout=subprocess.PIPE, text=True)
variables = {
    name: value for name, value in os.environ.items()
    if name.startswith(("PYO3_", "CARGO_", "PYTHON_SYS_EXECUTABLE"))
}
with open("told.json", "w") as file:
    json.dump([variables, done.stdout.splitlines()], file)
"""

# Makes the command in this process, and shows that nothing of it is left.
DIRECTLY = """
import os, sys
from setuptools import Command, Distribution
from parallel_backend.rust import steady_interpreter
class build_rust(Command):
    __module__ = "setuptools_rust.build"
    def initialize_options(self):
        assert "PYO3_BASE_PYTHON" in os.environ
before, original = dict(os.environ), vars(Command.__mro__[1])["__init__"]
with steady_interpreter():
    build_rust(Distribution())
assert dict(os.environ) == before
assert vars(Command.__mro__[1])["__init__"] is original
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARGO", str(write_program(tmp_path / "cargo", CARGO)))
    return make_rust_project(tmp_path / "project")


def told(folder: Path) -> tuple[dict[str, str], list[str]]:
    """The variables that reached cargo in the last build, and what its build script said."""
    file = folder / "told.json"
    variables, said = json.loads(file.read_text())
    file.unlink()
    return variables, said


def variables_with(
    python: Path, folder: Path, *, env: Mapping[str, str] | None = None
) -> dict[str, str]:
    build_with(python, folder, env=env)
    return told(folder)[0]


def versioned(python: Path) -> Path:
    return python.with_name(f"python3.{sys.version_info.minor}")


def left_in(folder: Path) -> list[str]:
    """The links that are in a build folder."""
    return [
        path.name for path in (folder / "parallel-backend" / ".rust").iterdir() if path.is_symlink()
    ]


@pytest.mark.slow
def test_every_environment_with_equal_contents_shows_cargo_the_same_variables(
    project: Path, tmp_path: Path
) -> None:
    environments = [make_environment(tmp_path / name, installed={"a": "1"}) for name in "xy"]
    first, second = (variables_with(python, project) for python in environments)
    assert first.pop("CARGO_MAKEFLAGS") != second.pop("CARGO_MAKEFLAGS")
    assert first == second
    assert first["PYO3_PYTHON"] == first["PYTHON_SYS_EXECUTABLE"]
    assert Path(first["PYO3_PYTHON"]).is_relative_to(
        project / "build" / "parallel-backend" / ".rust"
    )
    shutil.rmtree(project / "build")
    assert variables_with(environments[0], project)["PYO3_PYTHON"] == first["PYO3_PYTHON"]


def test_a_build_script_can_import_from_the_isolated_environment(
    project: Path, tmp_path: Path
) -> None:
    """As that of cryptography does with cffi."""
    for name in "xy":
        build_with(make_environment(tmp_path / name), project)
        variables, said = told(project)
        link = Path(variables["PYO3_PYTHON"]).parents[1]
        assert Path(said[0]).is_relative_to(link), said
        assert os.path.samefile(said[1], variables["PYO3_BASE_PYTHON"])


@pytest.mark.slow
def test_other_contents_are_another_interpreter(project: Path, tmp_path: Path) -> None:
    """A build script that imports one of them runs again."""
    contents: list[dict[str, str]] = [{}, {"a": "1"}, {"a": "2"}, {"a": "1", "b": "1"}]
    paths = set()
    for number, installed in enumerate(contents):
        python = make_environment(tmp_path / f"environment{number}", installed=installed)
        paths.add(variables_with(python, project)["PYO3_PYTHON"])
    assert len(paths) == len(contents)


@pytest.mark.slow
def test_what_is_installed_into_an_environment_that_stays_builds_no_crate_again(
    project: Path, tmp_path: Path
) -> None:
    """As it is with plain setuptools-rust, which goes by the path."""
    python = make_environment(tmp_path / "stays")
    before = variables_with(python, project)["PYO3_PYTHON"]
    [site] = (tmp_path / "stays").glob("lib/python*/site-packages")
    (site / "new-1.0.dist-info").mkdir()
    (site / "new-1.0.dist-info" / "RECORD").write_text("new.py,sha256=1,1")
    assert variables_with(python, project)["PYO3_PYTHON"] == before
    other = variables_with(make_environment(tmp_path / "other"), project)["PYO3_PYTHON"]
    assert other != before, "it has what there was before"


@pytest.mark.slow
def test_another_interpreter_at_the_same_path_has_another_name(
    project: Path, tmp_path: Path
) -> None:
    """Else a wheel for one version would be linked with another's library (PyO3 #2724)."""
    python = make_environment(tmp_path / "environment")
    before = variables_with(python, project)
    [site] = (tmp_path / "environment").glob("lib/python*/site-packages")
    (site / "sitecustomize.py").write_text("import sys; sys.version += ' built again'\n")
    after = variables_with(python, project)
    for name in ["PYO3_ENVIRONMENT_SIGNATURE", *PATHS]:
        assert before[name] != after[name]
    assert before["PYO3_BASE_PYTHON"] == after["PYO3_BASE_PYTHON"]


@pytest.mark.parametrize(
    "name",
    [
        "PYO3_BASE_PYTHON",
        "PYO3_CONFIG_FILE",
        "PYO3_CROSS_LIB_DIR",
        "PYO3_NO_PYTHON",
        "PYO3_PYTHON",
        "PYTHON_SYS_EXECUTABLE",
        "SETUPTOOLS_RUST_PEP517_USE_BASE_PYTHON",
    ],
)
def test_who_chooses_an_interpreter_gets_it(name: str, project: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    variables = variables_with(python, project, env={name: sys.executable})
    plain = str(python)
    if name == "SETUPTOOLS_RUST_PEP517_USE_BASE_PYTHON":
        plain = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
    expected = {**dict.fromkeys(PATHS, plain), name: sys.executable}
    expected.pop("SETUPTOOLS_RUST_PEP517_USE_BASE_PYTHON", None)
    del variables["CARGO_MAKEFLAGS"]
    assert variables == expected


def test_other_variables_of_pyo3_are_the_users(project: Path, tmp_path: Path) -> None:
    own = {"PYO3_ENVIRONMENT_SIGNATURE": "own", "PYO3_USE_ABI3_FORWARD_COMPATIBILITY": "1"}
    variables = variables_with(make_environment(tmp_path / "environment"), project, env=own)
    assert own.items() <= variables.items()
    assert variables["PYO3_PYTHON"].startswith(str(project))


def test_an_interpreter_without_an_environment_is_left_where_it_is(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = make_environment(tmp_path / "environment")
    [site] = (tmp_path / "environment").glob("lib/python*/site-packages")
    [line] = (site / "here.pth").read_text().splitlines()
    monkeypatch.setenv("PYTHONPATH", line.split("'")[1])
    python = Path(os.path.realpath(environment)).with_name("python3")
    variables = variables_with(python, project)
    assert variables["PYO3_PYTHON"] == str(versioned(python))
    assert os.path.samefile(variables["PYO3_BASE_PYTHON"], python)
    assert not (project / "build" / "parallel-backend" / ".rust").exists()


def test_an_isolated_build_of_pip_keeps_its_own_path(project: Path, tmp_path: Path) -> None:
    """It takes the environment's own modules off the path by their folder: not through a link."""
    python = make_environment(tmp_path / "environment")
    [site] = (tmp_path / "environment").glob("lib/python*/site-packages")
    (site / "sitecustomize.py").write_text(f"import sys; sys.path.remove({str(site)!r})\n")
    build_with(python, project)
    variables, said = told(project)
    assert variables["PYO3_PYTHON"] == str(versioned(python))
    assert said == [], "the build script has found a module that was taken off"


def test_nothing_of_it_is_left_when_the_hook_ends(project: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    build_with(python, project)
    link = Path(told(project)[0]["PYO3_PYTHON"]).parents[1]
    assert left_in(project / "build") == []
    link.symlink_to("left-by-a-build-that-was-killed")
    build_with(python, project)
    assert left_in(project / "build") == []


def test_variables_and_methods_are_taken_back(tmp_path: Path) -> None:
    done = run_script(DIRECTLY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_second_build_at_once_goes_without(project: Path, tmp_path: Path) -> None:
    """It may run in another environment, and the link shows one at a time."""
    python = make_environment(tmp_path / "environment")
    variables_with(python, project)
    [record] = (project / "build" / "parallel-backend" / ".rust").glob("*.json")
    with record.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert variables_with(python, project)["PYO3_PYTHON"] == str(versioned(python))


def test_a_folder_that_cannot_be_made_is_no_failure(project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    python = make_environment(tmp_path / "environment")
    target = str(tmp_path / "file" / "target")
    variables = variables_with(python, project, env={"CARGO_TARGET_DIR": target})
    assert variables["PYO3_PYTHON"] == str(versioned(python))
    assert "PYO3_BASE_PYTHON" in variables


@pytest.mark.slow
def test_copies_of_a_tree_that_share_cargos_folder_share_the_link(
    project: Path, tmp_path: Path
) -> None:
    target = {"CARGO_TARGET_DIR": str(tmp_path / "target")}
    copy = shutil.copytree(project, tmp_path / "copy")
    paths = [
        variables_with(make_environment(tmp_path / name), folder, env=target)["PYO3_PYTHON"]
        for name, folder in (("x", project), ("y", copy))
    ]
    assert paths[0] == paths[1]
    assert Path(paths[0]).is_relative_to(tmp_path / "target")


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_what_looks_for_files_finds_nothing_of_the_environment(
    project: Path, tmp_path: Path
) -> None:
    """Both setuptools and cargo follow links. cargo asks git, if there is a repository."""
    look = """
import setuptools, subprocess
print(setuptools.find_namespace_packages())
subprocess.run(["git", "init", "-q"], check=True)
subprocess.run(["git", "ls-files", "--others", "--exclude-standard"], check=True)
"""
    write_program(tmp_path / "cargo", look)
    output = build_with(make_environment(tmp_path / "environment"), project).output
    assert "'build'" in output
    assert "build/lib" in output
    assert f"{sys.implementation.cache_tag}-" not in output


def test_only_a_build_of_rust_makes_the_link(project: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    build_with(python, project, hook="build_sdist")
    assert not (project / "build" / "parallel-backend" / ".rust").exists()
    pure = make_project(tmp_path / "pure")
    shutil.copytree(project / "tools", pure / "tools")
    build_with(python, pure)
    assert (pure / "build").exists()
    assert not (pure / "build" / "parallel-backend" / ".rust").exists()


def test_a_build_without_setuptools_rust_imports_nothing_for_it(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    tell = (
        "import atexit, sys; atexit.register(lambda: print('parallel_backend.rust' in sys.modules))"
    )
    (project / "setup.py").write_text(f"{tell}\nfrom setuptools import setup\nsetup()\n")
    done = run_hook(project, "build_wheel", tmp_path)
    assert done.stdout.splitlines()[-1] == "False", done.output
