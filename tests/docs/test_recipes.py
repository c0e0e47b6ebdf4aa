"""The recipes of the how-to pages, as far as they can run here; and the workflow files."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from documentation import snippet
from harness import QUICK_COMPILE, REPOSITORY, SOURCE
from parallel_backend.settings import read_settings

DOCS = REPOSITORY / "docs"
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
_PATIENCE = 300  # seconds; a recipe that hangs fails its test, not the whole run

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="the program make")


def run(*command: str, cwd: Path, **more: str) -> str:
    """Run a program of a recipe; what it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **QUICK_COMPILE, "PYTHONPATH": str(SOURCE), **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="the options are those of GNU sed")
@pytest.mark.parametrize(
    ("line", "backend"),
    [
        ('build-backend = "setuptools.build_meta"', "parallel_backend"),
        ("build-backend='setuptools.build_meta'", "parallel_backend"),
        ('build-backend = "setuptools.build_meta:__legacy__"', "parallel_backend:legacy"),
        ('build-backend = "flit_core.buildapi"', "flit_core.buildapi"),
    ],
)
def test_the_line_of_distributions_names_our_backend(
    tmp_path: Path, line: str, backend: str
) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(f'[build-system]\nrequires = ["setuptools"]\n{line}\n\n[project]\n')
    run("sh", "-ec", snippet(DOCS / "distributions.md", "sed"), cwd=tmp_path)
    assert tomllib.loads(project.read_text())["build-system"]["build-backend"] == backend


def test_the_ebuild_and_the_recipe_of_yocto_have_the_same_line() -> None:
    text = (DOCS / "distributions.md").read_text(encoding="utf-8")
    expressions = re.findall(r"^\s+-e ('s/\^.*') \\$", text, re.MULTILINE)
    assert len(expressions) == 6
    assert len(set(expressions)) == 2


@needs_make
@pytest.mark.parametrize(
    ("options", "jobs"),
    [("parallel=6", "6"), ("nocheck parallel=12 noopt", "12"), ("nocheck", "1"), ("", "1")],
)
def test_debian_rules_take_the_jobs_out_of_the_build_options(
    tmp_path: Path, options: str, jobs: str
) -> None:
    rules = snippet(DOCS / "distributions.md", "debian/rules")
    (tmp_path / "rules").write_text(rules)
    dh = tmp_path / "dh"
    dh.write_text('#!/bin/sh\necho "jobs=$PARALLEL_BACKEND_JOBS; dh $*"\n')
    dh.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    printed = run(
        "make", "-s", "-f", "rules", "build", cwd=tmp_path, PATH=path, DEB_BUILD_OPTIONS=options
    )
    assert printed.split("\n")[0] == f"jobs={jobs}; dh build --buildsystem=pybuild"


@pytest.mark.slow
@needs_make
@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are found by /proc")
def test_builds_under_make_take_its_tokens(tmp_path: Path) -> None:
    pytest.importorskip("gpep517", reason="gpep517 is not installed")
    (tmp_path / "Makefile").write_text(snippet(DOCS / "distributions.md", "make"))
    leave = shutil.ignore_patterns("build", "dist", "*.egg-info", "*.so")
    for name in ("first", "second"):
        shutil.copytree(REPOSITORY / "examples/fractal", tmp_path / f"{name}-src", ignore=leave)
    printed = run("make", "-j2", "--output-sync", cwd=tmp_path)
    assert printed.count("16 compiled, 0 reused") == 2, printed
    assert printed.count(" on 2 jobs ") == 2, printed
    assert "is not usable" not in printed
    assert len([*tmp_path.glob("*-src/dist/*.whl")]) == 2


def test_variables_that_tox_is_told_to_pass_reach_the_build(tmp_path: Path) -> None:
    pytest.importorskip("tox", reason="tox is not installed")
    text = snippet(DOCS / "tox.md", "tox.ini")
    assert "PARALLEL_BACKEND_*" in configparser_of(text)["testenv:.pkg"]["pass_env"]
    (tmp_path / "tox.ini").write_text(text)
    shown = run(sys.executable, "-m", "tox", "config", "-e", ".pkg", "-k", "pass_env", cwd=tmp_path)
    passed = shown.split()
    assert {"PARALLEL_BACKEND_*", "MAKEFLAGS", "CCACHE_*"} <= set(passed)


def configparser_of(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return parser


def test_config_settings_of_cibuildwheel_are_ours() -> None:
    table = tomllib.loads(snippet(DOCS / "continuous-integration.md", "cibuildwheel"))
    told = table["tool"]["cibuildwheel"]["config-settings"]
    settings = read_settings(config_settings=told, environ={}, folder=Path("nowhere"))
    assert settings.launcher == "ccache"
    assert settings.backend_config == {}  # nothing is left for setuptools


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_whole(path: Path) -> None:
    check_workflow(loaded(path.read_text(encoding="utf-8")))


def test_the_workflow_of_the_how_to_page_is_whole() -> None:
    check_workflow(loaded(snippet(DOCS / "continuous-integration.md", "workflow")))


def test_tests_run_on_each_system_with_the_oldest_and_the_newest_setuptools() -> None:
    whole = loaded((REPOSITORY / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    matrix = whole["jobs"]["tests"]["strategy"]["matrix"]
    assert [each.split("-")[0] for each in matrix["os"]] == ["ubuntu", "macos", "windows"]
    assert matrix["setuptools"] == ["oldest", "newest"]


def test_only_the_jobs_that_publish_may_ask_for_an_identity() -> None:
    asking = {
        f"{path.stem}.{name}": job
        for path in WORKFLOWS
        for name, job in loaded(path.read_text(encoding="utf-8"))["jobs"].items()
        if "id-token" in job.get("permissions", {})
    }
    assert set(asking) == {"docs.publish", "release.publish"}
    assert all(job["environment"] for job in asking.values())


def loaded(text: str) -> Any:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load(text)


def check_workflow(whole: Any) -> None:
    """Its jobs are as the forge wants them, its actions are pinned, its sessions exist."""
    assert whole["name"]
    assert whole[True]  # "on" is a truth value in YAML 1.1
    sessions = re.findall(r"^def (\w+)\(", (REPOSITORY / "noxfile.py").read_text(), re.MULTILINE)
    for job in whole["jobs"].values():
        assert job["runs-on"]
        assert set(job.get("needs", "").split()) <= set(whole["jobs"])
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step["uses"]), step
            named = re.findall(r"nox --session \"?(\w+)", step.get("run", ""))
            assert set(named) <= set(sessions), step
        matrix = job.get("strategy", {}).get("matrix", {})
        assert set(matrix.get("session", [])) <= set(sessions)
