"""setuptools-rust with a real cargo: our job tokens, and crates of PyO3 that are built once."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools

from harness import HookRun
from rust_projects import (
    build_with,
    make_environment,
    make_rust_project,
    no_choices,
    write_program,
)
from watched_builds import jobserver, most_at_once

__all__ = ["no_choices"]

# Where Debian's packages of crates are (librust-pyo3-dev).
CRATES = Path("/usr/share/cargo/registry")

pytestmark = [
    pytest.mark.usefixtures("no_choices"),
    pytest.mark.skipif(shutil.which("cargo") is None, reason="there is no cargo"),
]
needs_pyo3 = pytest.mark.skipif(
    not [*CRATES.glob("pyo3-ffi-0.*")], reason="the crates of librust-pyo3-dev are not installed"
)

# Stands before each rustc that compiles; rustc's own look at itself compiles nothing.
RUSTC_WRAPPER = """
import os, subprocess, sys
def note(sign):
    if "--crate-name" in sys.argv and "___" not in sys.argv:
        with open(os.environ["RUSTC_LOG"], "a") as file:
            file.write(sign + "\\n")
note("+")
status = subprocess.run(sys.argv[1:]).returncode
note("-")
sys.exit(status)
"""

MANIFEST = """
[package]
name = "{name}"
version = "0.1.0"
edition = "2021"
{tables}
"""

# Tells the configuration that PyO3 hands on, and imports what the isolated environment has.
BUILD_SCRIPT = """
use std::{env, fs, process::Command};

fn main() {
    println!("cargo:rerun-if-env-changed=PYO3_PYTHON");
    let python = env::var("PYO3_PYTHON").unwrap();
    let status = Command::new(python).args(["-c", "import only_here"]).status().unwrap();
    assert!(status.success());
    fs::write("config.hex", env::var("DEP_PYTHON_PYO3_CONFIG").unwrap()).unwrap();
}
"""


@pytest.fixture
def crates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of a crate that needs five others; each rustc is in the log."""
    names = [f"part{number}" for number in range(5)]
    needed = "\n".join(f'{name} = {{ path = "{name}" }}' for name in names)
    files = {
        "Cargo.toml": MANIFEST.format(name="whole", tables=f"[dependencies]\n{needed}"),
        "src/lib.rs": "",
    }
    for name in names:
        files[f"{name}/Cargo.toml"] = MANIFEST.format(name=name, tables="")
        files[f"{name}/src/lib.rs"] = ""
    monkeypatch.setenv("RUSTC_WRAPPER", str(write_program(tmp_path / "rustc", RUSTC_WRAPPER)))
    monkeypatch.setenv("RUSTC_LOG", str(tmp_path / "log"))
    # cargo's own limit is the number of processors, which could hide that it has no tokens.
    monkeypatch.setenv("CARGO_BUILD_JOBS", "8")
    return make_rust_project(tmp_path / "project", files=files)


def compiled(done: HookRun) -> list[str]:
    """The crates that cargo has compiled."""
    return sorted(re.findall(r"^\s*Compiling (\S+) ", done.stderr, re.MULTILINE))


@pytest.mark.parametrize("jobs", [1, 2])
def test_cargo_holds_to_the_jobs_of_the_build(jobs: int, crates: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    done = build_with(python, crates, config_settings={"jobs": str(jobs)})
    assert len(compiled(done)) == 6, done.output
    assert (tmp_path / "log").read_text().count("+") == 6
    assert most_at_once(tmp_path / "log") <= jobs


def test_cargo_holds_to_an_outer_jobserver_and_gives_all_back(crates: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    with jobserver(tmp_path / "tokens", b"a") as tokens:
        build_with(python, crates, env=tokens.environment)
        assert most_at_once(tmp_path / "log") <= 2
        tokens.assert_all_are_back()


def make_pyo3_project(folder: Path) -> Path:
    config = f'[source.crates-io]\nreplace-with = "d"\n[source.d]\ndirectory = "{CRATES}"\n'
    tables = '[dependencies]\npyo3-ffi = { version = "0", features = ["extension-module"] }'
    files = {
        ".cargo/config.toml": config,
        "Cargo.toml": MANIFEST.format(name="sample", tables=tables),
        "build.rs": BUILD_SCRIPT,
        "src/lib.rs": "",
    }
    return make_rust_project(folder, files=files)


def python_version(folder: Path) -> str:
    """For which version the crates of PyO3 were compiled."""
    config = bytes.fromhex((folder / "config.hex").read_text()).decode()
    [version] = re.findall(r"^version=(.*)$", config, re.MULTILINE)
    return str(version)


def make_environment_of(python: str, folder: Path) -> Path:
    """Make an environment of another Python, which finds setuptools here."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "here.pth").write_text(f"{Path(setuptools.__file__).parent.parent}\n")
    (site / "only_here.py").write_text("")
    return folder / "bin" / "python"


def other_python() -> str | None:
    """An interpreter of another version, if there is one: on PATH, or beside this one's folder."""
    near = Path(sys.base_prefix).parent  # where tools such as pyenv keep them
    for minor in {11, 12, 13} - {sys.version_info.minor}:
        paths = map(str, near.glob(f"3.{minor}.*/bin/python3.{minor}"))
        for path in filter(None, (shutil.which(f"python3.{minor}"), *paths)):
            probe = subprocess.run([path, "-c", "import venv"], capture_output=True, check=False)
            if probe.returncode == 0:
                return path
    return None


@needs_pyo3
def test_a_new_environment_builds_no_crate_of_pyo3_again_unless_it_differs(tmp_path: Path) -> None:
    folder = make_pyo3_project(tmp_path / "project")
    first = build_with(make_environment(tmp_path / "x", installed={"a": "1"}), folder)
    needed = ["pyo3-build-config", "pyo3-ffi", "sample"]
    assert {*needed} <= {*compiled(first)}, first.output
    assert python_version(folder) == f"3.{sys.version_info.minor}"

    second = build_with(make_environment(tmp_path / "y", installed={"a": "1"}), folder)
    assert compiled(second) == [], second.output

    (folder / "config.hex").unlink()
    third = build_with(make_environment(tmp_path / "z", installed={"a": "2"}), folder)
    assert compiled(third) == needed, third.output
    assert (folder / "config.hex").exists(), "the build script imports what may be another version"

    other = other_python()
    if other is None:
        pytest.skip("there is no second version of Python")
    shutil.rmtree(tmp_path / "z")
    fourth = build_with(make_environment_of(other, tmp_path / "z"), folder)
    assert compiled(fourth) == needed, fourth.output
    assert f"python{python_version(folder)}" in other
