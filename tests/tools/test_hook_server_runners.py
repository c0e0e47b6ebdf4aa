"""The runners of `HookServer` for pyproject_hooks and build."""

from __future__ import annotations

import signal
import subprocess
import sys
import venv
from pathlib import Path

import pyproject_hooks
import pytest

import build
from harness import copy_package, expectation, load_extension_values
from hook_server_harness import before_end_is_no_child, parent_of
from parallel_backend.tools.hook_server import (
    HookServer,
    RequestRefusedError,
)
from projects import make_project

pytest_plugins = ["hook_server_fixtures"]

SCRIPT = """
import sys
print("out", *sys.argv[1:], flush=True)
print("err", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    return file


def test_a_runner_does_as_pyproject_hooks_own_does(
    fork: bool, project: Path, script: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = []
    with HookServer(fork=fork) as server:
        for runner in (pyproject_hooks.default_subprocess_runner, server.runner):
            runner([sys.executable, str(script), "0"], str(project), {"A": "b"})
            with pytest.raises(subprocess.CalledProcessError) as caught:
                runner([sys.executable, str(script), "5"], cwd=str(project))
            told.append((caught.value.returncode, caught.value.cmd, capfd.readouterr()))
    assert told[0] == told[1]
    assert told[0][0] == 5


def test_a_quiet_runner_keeps_the_output(
    fork: bool, project: Path, script: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = []
    with HookServer(fork=fork) as server:
        for runner in (pyproject_hooks.quiet_subprocess_runner, server.quiet_runner):
            runner([sys.executable, str(script), "0"], str(project), {"A": "b"})
            with pytest.raises(subprocess.CalledProcessError) as caught:
                runner([sys.executable, str(script), "5"], cwd=str(project))
            told.append((caught.value.returncode, caught.value.output))
    assert told[0] == told[1] == (5, b"out 5\nerr\n")
    assert capfd.readouterr() == ("", "")


def test_a_runner_tells_the_signal_that_killed_the_script(
    fork: bool, project: Path, tmp_path: Path
) -> None:
    script = tmp_path / "abort.py"
    script.write_text("import os; os.abort()\n")
    with HookServer(fork=fork) as server:
        with pytest.raises(subprocess.CalledProcessError) as caught:
            server.runner([sys.executable, str(script)])
        assert caught.value.returncode == -signal.SIGABRT
        with pytest.raises(RequestRefusedError, match="No such file or directory"):
            server.runner([sys.executable, str(script)], cwd=str(tmp_path / "none"))


def test_a_command_that_is_no_script_is_run_as_it_is(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", "import os, sys; print(os.environ['A']); sys.exit(4)"]
    with HookServer() as server:
        with pytest.raises(subprocess.CalledProcessError) as caught:
            server.runner(command, str(project), {"A": "b"})
        assert caught.value.returncode == 4
        assert capfd.readouterr().out == "b\n"
        with pytest.raises(subprocess.CalledProcessError) as caught:
            server.quiet_runner(command, str(project), {"A": "b"})
        assert caught.value.output == b"b\n"
        server.runner([sys.executable, "-c", "print('done')"], str(project))
        assert capfd.readouterr().out == "done\n"


def test_each_interpreter_has_its_own_server(
    fork: bool, project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    script = tmp_path / "who.py"
    script.write_text("import os, sys; print(sys.prefix, os.getppid())\n")
    servers = []
    with HookServer(fork=fork) as server:
        for python in (folder / "bin" / "python", sys.executable) * 2:
            server.runner([str(python), str(script)])
            prefix, parent = capfd.readouterr().out.split()
            assert prefix == (str(folder) if python != sys.executable else sys.prefix)
            servers.append(parent_of(int(parent)) if fork else int(parent))
    assert servers[0] == servers[2]
    assert servers[1] == servers[3]
    assert servers[0] != servers[1]
    before_end_is_no_child()


@pytest.mark.slow
def test_build_builds_a_sample_with_the_runner(fork: bool, tmp_path: Path) -> None:
    folder = copy_package("shared_source", tmp_path)
    with HookServer(fork=fork) as server:
        builder = build.ProjectBuilder(folder, runner=server.quiet_runner)
        assert builder.get_requires_for_build("wheel") == set()
        assert builder.prepare("wheel", tmp_path / "metadata")
        wheel = Path(builder.build("wheel", tmp_path / "out"))
        sdist = Path(builder.build("sdist", tmp_path / "out"))
    assert sdist.name.endswith(".tar.gz")
    for expression, value in expectation("shared_source").values.items():
        assert load_extension_values(wheel, expression) == value


@pytest.mark.slow
def test_pyproject_hooks_keeps_all_its_ways(fork: bool, tmp_path: Path) -> None:
    """Hooks that are missing, a backend in the tree, one that cannot be imported."""
    folder = make_project(tmp_path / "project")
    (folder / "in_tree.py").write_text(
        "from setuptools.build_meta import build_wheel, build_sdist\n"
        "def get_requires_for_build_wheel(config_settings=None):\n"
        "    return ['in-the-tree']\n"
    )

    def caller(backend: str, *path: str) -> pyproject_hooks.BuildBackendHookCaller:
        return pyproject_hooks.BuildBackendHookCaller(
            str(folder), backend, list(path) or None, runner=server.quiet_runner
        )

    with HookServer(fork=fork) as server:
        for _ in range(2):
            plain = caller("setuptools.build_meta")
            assert plain.get_requires_for_build_wheel() == []
            in_tree = caller("in_tree", ".")
            assert in_tree.get_requires_for_build_wheel() == ["in-the-tree"]
            assert in_tree.get_requires_for_build_sdist() == []
            (tmp_path / "out").mkdir(exist_ok=True)
            # It has no such hook: a wheel is built, and kept.
            name = in_tree.prepare_metadata_for_build_wheel(str(tmp_path / "out"))
            assert name == "sample-1.0.dist-info"
            with pytest.raises(pyproject_hooks.HookMissing):
                in_tree.build_editable(str(tmp_path / "out"))
            with pytest.raises(pyproject_hooks.BackendUnavailable):
                caller("in_tree").get_requires_for_build_wheel()
            wheel = plain.build_wheel(str(tmp_path / "out"))
            assert wheel == "sample-1.0-py3-none-any.whl"
