"""The hooks of PEP 517 and PEP 660, as a frontend calls them."""

from __future__ import annotations

import configparser
import inspect
import json
import os
import shutil
import signal
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyproject_hooks
import pytest

import parallel_backend
from harness import PLAIN_BACKEND, HookRun, run_hook, wheel_bytes_equal
from projects import TINY_C, carry_backend, make_project
from scripts import run_script, started_script

BACKENDS = ["parallel_backend", "parallel_backend:legacy"]
EMPTY = inspect.Parameter.empty

# https://peps.python.org/pep-0517 and pep-0660: each hook's arguments and their defaults.
SIGNATURES: dict[str, dict[str, object]] = {
    "get_requires_for_build_wheel": {"config_settings": None},
    "get_requires_for_build_sdist": {"config_settings": None},
    "get_requires_for_build_editable": {"config_settings": None},
    "prepare_metadata_for_build_wheel": {"metadata_directory": EMPTY, "config_settings": None},
    "prepare_metadata_for_build_editable": {"metadata_directory": EMPTY, "config_settings": None},
    "build_wheel": {
        "wheel_directory": EMPTY,
        "config_settings": None,
        "metadata_directory": None,
    },
    "build_sdist": {"sdist_directory": EMPTY, "config_settings": None},
    "build_editable": {
        "wheel_directory": EMPTY,
        "config_settings": None,
        "metadata_directory": None,
    },
}
HOOKS = list(SIGNATURES)
WRITES = {
    "prepare_metadata_for_build_wheel": "sample-1.0.dist-info",
    "prepare_metadata_for_build_editable": "sample-1.0.dist-info",
    "build_wheel": "sample-1.0-py3-none-any.whl",
    "build_sdist": "sample-1.0.tar.gz",
    "build_editable": "sample-1.0-0.editable-py3-none-any.whl",
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def succeeded(run: HookRun) -> Any:
    assert run.returncode == 0, run.output
    return run.result


# --- every hook


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_takes_exactly_the_standards_arguments(hook: str, backend: str) -> None:
    _, _, attribute = backend.partition(":")
    place = getattr(parallel_backend, attribute) if attribute else parallel_backend
    parameters = inspect.signature(getattr(place, hook)).parameters.values()
    assert {each.name: each.default for each in parameters} == SIGNATURES[hook]
    assert [each.name for each in parameters] == list(SIGNATURES[hook])
    assert {each.kind for each in parameters} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}


def test_the_backend_has_no_other_public_names_than_the_hooks_and_legacy() -> None:
    assert sorted(parallel_backend.__all__) == sorted([*HOOKS, "legacy"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook not in WRITES])
def test_a_requires_hook_returns_what_setuptools_finds(
    hook: str, backend: str, tmp_path: Path
) -> None:
    setup = "from setuptools import setup\nsetup(setup_requires=['one>=1', 'two'])\n"
    folder = make_project(tmp_path / "project", setup=setup)
    assert succeeded(run_hook(folder, hook, backend=backend)) == ["one>=1", "two"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hook", list(WRITES))
def test_a_hook_writes_what_it_names(hook: str, backend: str, tmp_path: Path, out: Path) -> None:
    folder = make_project(tmp_path / "project")
    name = succeeded(run_hook(folder, hook, out, backend=backend))
    assert name == WRITES[hook]
    path = out / name
    if path.is_dir():
        assert "Name: sample\n" in (path / "METADATA").read_text(encoding="utf-8")
    elif path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            assert "sample-1.0.dist-info/METADATA" in wheel.namelist()
            assert ("sample.py" in wheel.namelist()) == (hook == "build_wheel")
    else:
        with tarfile.open(path) as sdist:
            assert "sample-1.0/sample.py" in sdist.getnames()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pure_wheel_equals_that_of_plain_setuptools(
    backend: str, tmp_path: Path, out: Path
) -> None:
    folder = make_project(tmp_path / "project")
    wheels = []
    for each in (backend, PLAIN_BACKEND):
        name = succeeded(run_hook(folder, "build_wheel", out / each, backend=each))
        wheels.append(out / each / name)
        shutil.rmtree(folder / "build")
    assert wheel_bytes_equal(*wheels)


@pytest.mark.parametrize("hook", ["build_wheel", "build_editable"])
def test_the_metadata_that_the_frontend_has_is_used(hook: str, tmp_path: Path, out: Path) -> None:
    folder = make_project(tmp_path / "project")
    prepare = hook.replace("build_", "prepare_metadata_for_build_")
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    name = succeeded(run_hook(folder, prepare, prepared))
    metadata = prepared / name / "METADATA"
    metadata.write_text(metadata.read_text() + "\nfrom the frontend\n")
    # setuptools' build_editable looks for the folder in what it is given.
    given = prepared / name if hook == "build_wheel" else prepared
    wheel = succeeded(run_hook(folder, hook, out, None, given))
    with zipfile.ZipFile(out / wheel) as archive:
        assert b"from the frontend" in archive.read("sample-1.0.dist-info/METADATA")


def test_an_error_of_setuptools_reaches_the_frontend_with_its_traceback(
    tmp_path: Path, out: Path
) -> None:
    setup = "def fail():\n    raise LookupError('the project says no')\nfail()\n"
    folder = make_project(tmp_path / "project", setup=setup)
    run = run_hook(folder, "build_wheel", out)
    assert run.returncode == 1
    assert run.stderr.endswith("LookupError: the project says no\n")
    assert "in fail" in run.stderr


# --- the second backend object, and in-tree use


@pytest.mark.parametrize("hook", HOOKS)
def test_only_legacy_puts_the_projects_folder_on_the_path_of_setup_py(
    hook: str, tmp_path: Path, out: Path
) -> None:
    setup = "import helper\nfrom setuptools import setup\nsetup(description=helper.TEXT)\n"
    folder = make_project(
        tmp_path / "project", setup=setup, files={"helper.py": "TEXT = 'from helper'\n"}
    )
    arguments = [out] if hook in WRITES else []
    plain = run_hook(folder, hook, *arguments)
    assert plain.returncode == 1
    assert "No module named 'helper'" in plain.stderr
    succeeded(run_hook(folder, hook, *arguments, backend="parallel_backend:legacy"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_project_can_carry_the_backend_in_tree(backend: str, tmp_path: Path, out: Path) -> None:
    setup = (
        "import sys\nfrom setuptools import setup\n"
        "open('backend.txt', 'w').write(sys.modules['parallel_backend'].__file__)\nsetup()\n"
    )
    folder = make_project(tmp_path / "project", setup=setup)
    carried = carry_backend(folder)
    caller = pyproject_hooks.BuildBackendHookCaller(
        str(folder),
        backend,
        [carried.name],
        runner=pyproject_hooks.quiet_subprocess_runner,
    )
    assert caller.get_requires_for_build_wheel() == []
    assert caller.build_wheel(str(out), {"jobs": "2"}) == WRITES["build_wheel"]
    assert caller.build_editable(str(out)) == WRITES["build_editable"]
    found = Path((folder / "backend.txt").read_text())
    assert found == carried / "parallel_backend" / "__init__.py"


# --- config settings

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


# --- wrong settings

WRONG: dict[str, tuple[dict[str, str | list[str]], dict[str, str], str, list[str]]] = {
    "-C value": ({"jobs": "0"}, {}, "", ["-C", "jobs", "'0'", "auto"]),
    "-C near miss": ({"job": "2"}, {}, "", ["-C", "job", "jobs"]),
    "-C list": ({"extensions": ["thread", "threads"]}, {}, "", ["-C", "extensions", "process"]),
    "environment value": ({}, {"PARALLEL_BACKEND_JOBS": "many"}, "", ["PARALLEL_BACKEND_JOBS"]),
    "environment key": ({}, {"PARALLEL_BACKEND_JOB": "2"}, "", ["PARALLEL_BACKEND_JOBS"]),
    "table value": ({}, {}, "jobs = 0", ["pyproject.toml", "jobs", "auto"]),
    "table key": ({}, {}, "keep_goin = true", ["pyproject.toml", "keep_goin", "keep-going"]),
}


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


# --- hooks from several threads

TAKE_TURNS = """
import json, os, sys, threading
import parallel_backend

results, errors = [], []
start = threading.Barrier(4)

def call(number):
    start.wait()
    try:
        results.append(parallel_backend.get_requires_for_build_wheel())
        results.append(parallel_backend.build_sdist(os.path.join(sys.argv[1], str(number))))
        results.append(parallel_backend.legacy.build_wheel(os.path.join(sys.argv[1], str(number))))
    except BaseException as error:
        errors.append(repr(error))

before = os.getcwd(), sys.path[:], sys.argv[:], dict(os.environ)
threads = [threading.Thread(target=call, args=[number]) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
same = before == (os.getcwd(), sys.path[:], sys.argv[:], dict(os.environ))
with open(sys.argv[2], "w") as file:
    json.dump({"results": results, "errors": errors, "same": same}, file)
"""

# Fails where another hook of the same project is at work.
ALONE = """
import os
from setuptools import setup
os.mkdir("at work")
try:
    setup()
finally:
    os.rmdir("at work")
"""


def test_hooks_that_several_threads_call_take_turns(tmp_path: Path, out: Path) -> None:
    folder = make_project(tmp_path / "project", setup=ALONE)
    result = tmp_path / "result.json"
    done = run_script(TAKE_TURNS, out, result, cwd=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(result.read_text())
    assert told["errors"] == []
    assert told["results"].count([]) == 4
    assert told["results"].count(WRITES["build_sdist"]) == 4
    assert told["results"].count(WRITES["build_wheel"]) == 4
    assert told["same"]


# --- DIST_EXTRA_CONFIG

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
    ("here", "wait"): "SystemExit",
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


# --- compiling hooks

COMPILES = (
    "from setuptools import Extension, setup\n"
    "setup(ext_modules=[Extension('tiny', ['tiny.c']), Extension('other', ['other.c'])])\n"
)


@pytest.mark.parametrize("hook", ["build_wheel", "build_editable"])
def test_a_hook_that_compiles_ends_with_one_line_that_says_what_it_did(
    hook: str, tmp_path: Path, out: Path
) -> None:
    files = {f"{name}.c": TINY_C.format(name=name) for name in ("tiny", "other")}
    folder = make_project(tmp_path / "project", setup=COMPILES, files=files)
    run = run_hook(folder, hook, out, config_settings={"jobs": "2"})
    name = succeeded(run)
    last = run.stdout.splitlines()[-1]
    assert last.startswith("parallel-backend: 2 objects and 2 extensions in ")
    assert last.endswith(" busy)")
    assert " on 2 jobs (" in last
    assert sys.implementation.cache_tag.replace("cpython-", "cp") in name
    assert os.listdir(out) == [name]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_compiles_nothing_prints_no_line_of_ours(
    hook: str, tmp_path: Path, out: Path
) -> None:
    folder = make_project(tmp_path / "project")
    run = run_hook(folder, hook, *([out] if hook in WRITES else []))
    succeeded(run)
    assert "parallel-backend" not in run.stdout + run.stderr
