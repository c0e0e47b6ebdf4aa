from __future__ import annotations

import importlib.metadata
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_backend import machine
from parallel_backend.machine import Considered, Offer
from parallel_backend.tools import cli


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [*os.environ]:
        if name.startswith("PARALLEL_BACKEND_") or name in ("MAKEFLAGS", "DIST_EXTRA_CONFIG"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    offer = Offer(
        2,
        (
            Considered("CPU affinity", 16, "this process may run on 16 of 16 CPUs"),
            Considered("CPU quota", 2, "2 CPUs in /x"),
            Considered("PYTHON_CPU_COUNT", None, "not set"),
            Considered("available memory", 2, "1 GiB free, 512 MiB for each job"),
        ),
    )
    monkeypatch.setattr(machine, "offer", lambda *, memory_per_job: offer)
    return tmp_path


def test_jobs_prints_the_number_and_marks_what_decided(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["jobs"]) == 0
    assert capsys.readouterr().out == (
        "2\n"
        "  CPU affinity        16  this process may run on 16 of 16 CPUs\n"
        "* CPU quota            2  2 CPUs in /x\n"
        "  PYTHON_CPU_COUNT     -  not set\n"
        "  available memory     2  1 GiB free, 512 MiB for each job\n"
    )


def test_jobs_prints_the_setting_first_where_one_decided(
    capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    (project / "setup.cfg").write_text("[build]\nparallel = 7\n")
    assert cli.main(["jobs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "7"
    assert lines[1].split() == ["*", "[build]", "parallel", "in", "setup.cfg", "7", "set"]
    assert lines[2].startswith("  CPU affinity ")
    assert not any(line.startswith("*") for line in lines[2:])


@pytest.mark.parametrize(
    ("variable", "value", "first"),
    [
        (
            "MAKEFLAGS",
            "--jobserver-auth=3,4",
            (
                "  the jobserver in MAKEFLAGS     -  "
                "its tokens decide; if it cannot be used, the rest does"
            ),
        ),
        (
            "PARALLEL_BACKEND_JOBS",
            "auto",
            "  the machine, as PARALLEL_BACKEND_JOBS says     -  auto",
        ),
    ],
)
def test_jobs_names_a_setting_that_leaves_the_number_to_others(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    first: str,
) -> None:
    monkeypatch.setenv(variable, value)
    assert cli.main(["jobs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["2", first]
    assert lines[3].startswith("* CPU quota ")


def test_a_wrong_setting_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARALLEL_BACKEND_JOBS", "0")
    assert cli.main(["jobs"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "parallel-backend: error: PARALLEL_BACKEND_JOBS: '0' is not allowed; "
        'allowed is a whole number from 1, or "auto"\n'
    )


@pytest.mark.parametrize("arguments", [["--help"], ["jobs", "--help"]])
def test_help_has_an_example(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 0
    assert "example: " in " ".join(capsys.readouterr().out.split())


def test_without_a_command_the_usage_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_version_is_that_of_the_installed_distribution(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", {"parallel-backend": "1.2.3"}.__getitem__)
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == "parallel-backend 1.2.3\n"


def test_version_says_where_it_is_not_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == "parallel-backend (not installed, run from its source)\n"


def test_the_exit_status_is_that_of_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["parallel_backend", "jobs"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("parallel_backend", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("2\n")


def test_python_m_runs_the_command_line() -> None:
    source = str(Path(cli.__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-m", "parallel_backend", "jobs"],
        env={**os.environ, "PYTHONPATH": source, "PARALLEL_BACKEND_JOBS": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[0] == "5"
    assert done.stderr == ""
