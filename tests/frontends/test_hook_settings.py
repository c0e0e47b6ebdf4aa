"""What a frontend and a user set: passed on, refused, and seen by commands and child processes."""

from __future__ import annotations

import configparser
import json
import signal
from pathlib import Path

import pytest

import parallel_backend
from harness import run_hook
from projects import make_project
from scripts import started_script
from standard_hooks import BACKENDS, HOOKS, WRITES, succeeded


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


TELLS_ARGUMENTS = """
import json, sys
from setuptools import setup
with open("arguments.json", "w") as file:
    json.dump(sys.argv[1:], file)
setup()
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_config_settings_of_setuptools_are_passed_on(
    backend: str, tmp_path: Path, out: Path
) -> None:
    folder = make_project(tmp_path / "project", setup=TELLS_ARGUMENTS)
    settings = {
        "--global-option": "--no-user-cfg",
        "--build-option": "--build-number=7 --keep-temp",
        "jobs": "2",
    }
    name = succeeded(
        run_hook(folder, "build_wheel", out, backend=backend, config_settings=settings)
    )
    assert name == "sample-1.0-7-py3-none-any.whl"
    arguments = json.loads((folder / "arguments.json").read_text())
    assert arguments[:2] == ["--no-user-cfg", "bdist_wheel"]
    assert arguments[-2:] == ["--build-number=7", "--keep-temp"]
    assert not any("jobs" in argument for argument in arguments)


def test_keys_that_a_frontend_repeats_come_as_lists(tmp_path: Path, out: Path) -> None:
    folder = make_project(tmp_path / "project", setup=PROBES)
    settings: dict[str, str | list[str]] = {
        "--global-option": ["--verbose", "--no-user-cfg"],
        "--build-option": ["--build-number=7", "--keep-temp"],
        "jobs": ["2", "5"],
    }
    run = run_hook(folder, "build_wheel", out, config_settings=settings)
    assert succeeded(run) == "sample-1.0-7-py3-none-any.whl"
    seen = json.loads((folder / "seen.json").read_text())
    assert seen["probe"] == "5"
    assert seen["arguments"][:2] == ["--verbose", "--no-user-cfg"]


def test_a_key_of_neither_ours_nor_setuptools_is_let_be(tmp_path: Path, out: Path) -> None:
    folder = make_project(tmp_path / "project")
    settings = {"cmake.args": "-DX=1", "version": "3", "--jobs": "none of ours"}
    succeeded(run_hook(folder, "build_wheel", out, config_settings=settings))


WRONG: dict[str, tuple[dict[str, str | list[str]], dict[str, str], str, list[str]]] = {
    "-C value": ({"jobs": "0"}, {}, "", ["-C", "jobs", "'0'", "auto"]),
    "-C near miss": ({"job": "2"}, {}, "", ["-C", "job", "jobs"]),
    "-C list": ({"fresh": ["true", "maybe"]}, {}, "", ["-C", "fresh", "yes"]),
    "environment value": ({}, {"PARALLEL_BACKEND_JOBS": "many"}, "", ["PARALLEL_BACKEND_JOBS"]),
    "environment key": ({}, {"PARALLEL_BACKEND_JOB": "2"}, "", ["PARALLEL_BACKEND_JOBS"]),
    "table value": ({}, {}, "jobs = 0", ["pyproject.toml", "jobs", "auto"]),
    "table key": ({}, {}, "keep_goin = true", ["pyproject.toml", "keep_goin", "keep-going"]),
}


@pytest.mark.smoke
@pytest.mark.parametrize("case", list(WRONG))
def test_a_wrong_setting_is_one_line_and_stops_the_build_before_it_starts(
    case: str, tmp_path: Path, out: Path
) -> None:
    config_settings, env, table, told = WRONG[case]
    folder = make_project(
        tmp_path / "project",
        setup="raise AssertionError('the build has started')",
        tables=f"[tool.parallel-backend]\n{table}\n" if table else "",
    )
    before = sorted(folder.iterdir())
    run = run_hook(folder, "build_wheel", out, env=env, config_settings=config_settings)
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert line.startswith("parallel-backend: error: ")
    for word in told:
        assert word in line
    assert run.stdout == ""
    assert sorted(folder.iterdir()) == before
    assert not list(out.iterdir())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_refuses_a_wrong_setting_with_a_system_exit(
    hook: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project"))
    _, _, attribute = backend.partition(":")
    place = getattr(parallel_backend, attribute) if attribute else parallel_backend
    arguments = [str(tmp_path / "out")] if hook in WRITES else []
    with pytest.raises(SystemExit) as caught:
        getattr(place, hook)(*arguments, config_settings={"jobs": "0"})
    assert str(caught.value).startswith("parallel-backend: error: ")
    assert "\n" not in str(caught.value)


# A command of the project's own that reads `parallel`, and a child process that reads the file.
PROBES = """
import json, os, subprocess, sys, time
from setuptools import Command, setup
from setuptools.command.build import build

CHILD = '''
import configparser, json, os
path = os.environ["DIST_EXTRA_CONFIG"]
parser = configparser.RawConfigParser()
parser.optionxform = str
with open(path, encoding="utf-8") as file:
    parser.read_file(file)
print(json.dumps({"path": path, "sections": {n: dict(parser.items(n)) for n in parser.sections()}}))
'''

class Probe(Command):
    user_options = [(f"{name}=", None, "any text") for name in ("parallel", "note", "word")]

    def initialize_options(self):
        self.parallel = self.note = self.word = None

    def finalize_options(self):
        self.set_undefined_options("build", ("parallel", "parallel"))

    def run(self):
        child = subprocess.check_output([sys.executable, "-c", CHILD], text=True)
        seen = {
            "probe": str(self.parallel),
            "build": self.get_finalized_command("build").parallel,
            "build_ext": self.get_finalized_command("build_ext").parallel,
            "note": self.note,
            "child": json.loads(child),
            "arguments": arguments,
        }
        with open("seen.json", "w") as file:
            json.dump(seen, file)
        mode = os.environ.get("PROBE")
        if mode == "fail":
            raise LookupError("the project says no")
        if mode == "wait":
            print("ready", flush=True)
            while True:  # a signal that comes just before a long wait would be noticed after it
                time.sleep(0.01)

class Build(build):
    sub_commands = [*build.sub_commands, ("probe", None)]

arguments = sys.argv[1:]
setup(cmdclass={"build": Build, "probe": Probe})
"""

# Written as a user may write it: setuptools must read each of these as before.
USERS_FILE = """# my own file
[build_ext]
parallel = 5
define = ONE=1,
    TWO=2

[probe]
note = Grüße %(word)s 100%%

    the second paragraph
word = to all

[sdist]
formats = gztar
"""


def read_users_file(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path, encoding="utf-8")
    return {name: dict(parser.items(name)) for name in parser.sections()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_custom_commands_and_child_processes_see_the_number_of_jobs(
    backend: str, tmp_path: Path, out: Path
) -> None:
    folder = make_project(tmp_path / "project", setup=PROBES)
    settings = {"jobs": "3"}
    run = run_hook(folder, "build_wheel", out, backend=backend, config_settings=settings)
    succeeded(run)
    seen = json.loads((folder / "seen.json").read_text())
    assert (seen["probe"], seen["build"], seen["build_ext"]) == ("3", 3, 3)
    assert seen["child"]["sections"] == {
        "build": {"parallel": "3"},
        "build_ext": {"parallel": "3"},
    }


def test_a_file_of_the_users_own_is_kept_whole_and_its_parallel_counts(
    tmp_path: Path, out: Path
) -> None:
    folder = make_project(tmp_path / "project", setup=PROBES)
    own = tmp_path / "own.cfg"
    own.write_text(USERS_FILE, encoding="utf-8")
    run = run_hook(folder, "build_wheel", out, env={"DIST_EXTRA_CONFIG": str(own)})
    succeeded(run)
    seen = json.loads((folder / "seen.json").read_text())
    assert (seen["probe"], seen["build"], seen["build_ext"]) == ("5", 5, 5)
    expected = read_users_file(own)
    expected["build"] = {"parallel": "5"}
    assert seen["child"]["sections"] == expected
    assert seen["note"] == "Grüße to all 100%\n\nthe second paragraph"
    assert own.read_text(encoding="utf-8") == USERS_FILE


def test_the_frontends_number_of_jobs_beats_that_of_the_users_file(
    tmp_path: Path, out: Path
) -> None:
    folder = make_project(tmp_path / "project", setup=PROBES)
    own = tmp_path / "own.cfg"
    own.write_text(USERS_FILE, encoding="utf-8")
    env = {"DIST_EXTRA_CONFIG": str(own)}
    succeeded(run_hook(folder, "build_wheel", out, env=env, config_settings={"jobs": "2"}))
    seen = json.loads((folder / "seen.json").read_text())
    assert (seen["probe"], seen["build_ext"]) == ("2", 2)
    expected = read_users_file(own)
    expected["build"] = expected["build_ext"] | {"parallel": "2"}
    del expected["build"]["define"]
    expected["build_ext"]["parallel"] = "2"
    assert seen["child"]["sections"] == expected


# Calls a hook, in a fork or, where another thread runs, here, and tells what is left of it.
LEFT = """
import json, os, signal, sys, threading
import parallel_backend

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever this process has inherited
end = threading.Event()
if sys.argv[1] == "here":
    threading.Thread(target=end.wait).start()
try:
    outcome = parallel_backend.build_wheel(sys.argv[2])
except BaseException as error:
    outcome = type(error).__name__
finally:
    end.set()
with open(sys.argv[3], "w") as file:
    json.dump({"outcome": outcome, "variable": os.environ.get("DIST_EXTRA_CONFIG")}, file)
"""
# distutils makes a SystemExit of a KeyboardInterrupt; that of a fork's caller is its own.
OUTCOMES = {
    ("fork", "succeed"): WRITES["build_wheel"],
    ("fork", "fail"): "LookupError",
    ("fork", "wait"): "KeyboardInterrupt",
    ("here", "succeed"): WRITES["build_wheel"],
    ("here", "fail"): "LookupError",
    ("here", "wait"): "KeyboardInterrupt",
}


@pytest.mark.parametrize("users", [False, True], ids=["no file", "own file"])
@pytest.mark.parametrize(("where", "mode"), list(OUTCOMES))
def test_the_file_is_gone_and_the_variable_as_before_when_a_hook_has_ended(
    where: str, mode: str, users: bool, tmp_path: Path, out: Path
) -> None:
    folder = make_project(tmp_path / "project", setup=PROBES)
    own, result, temporary = tmp_path / "own.cfg", tmp_path / "result", tmp_path / "temporary"
    own.write_text(USERS_FILE, encoding="utf-8")
    temporary.mkdir()
    env = {"PROBE": mode, "TMPDIR": str(temporary)}
    if users:
        env["DIST_EXTRA_CONFIG"] = str(own)
    with started_script(LEFT, where, out, result, cwd=folder, env=env) as process:
        output = ""
        if mode == "wait":
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            output = "".join(iter(lines.__next__, "ready\n"))
            process.send_signal(signal.SIGINT)
        output += process.communicate(timeout=60)[0]
    assert json.loads(result.read_text()) == {
        "outcome": OUTCOMES[where, mode],
        "variable": str(own) if users else None,
    }, output
    path = Path(json.loads((folder / "seen.json").read_text())["child"]["path"])
    assert path.is_relative_to(temporary)
    assert not list(temporary.iterdir())
    assert own.read_text(encoding="utf-8") == USERS_FILE


def test_the_private_folder_is_for_its_user_alone(tmp_path: Path, out: Path) -> None:
    setup = (
        "import os\nfrom setuptools import setup\n"
        "folder = os.path.dirname(os.environ['DIST_EXTRA_CONFIG'])\n"
        "open('mode', 'w').write(oct(os.stat(folder).st_mode & 0o777))\nsetup()\n"
    )
    folder = make_project(tmp_path / "project", setup=setup)
    succeeded(run_hook(folder, "build_wheel", out))
    assert (folder / "mode").read_text() == "0o700"
