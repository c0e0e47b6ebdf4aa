"""The hooks of PEP 517 and PEP 660, as a frontend calls them."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pyproject_hooks
import pytest

import parallel_backend
from harness import PLAIN_BACKEND, run_hook, wheel_bytes_equal
from projects import TINY_C, carry_backend, make_project
from scripts import run_script
from standard_hooks import BACKENDS, HOOKS, SIGNATURES, WRITES, succeeded


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


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


def test_a_hook_is_there_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a command of ours, which does not wait for setuptools.
    for name in parallel_backend.__all__:
        monkeypatch.setattr(parallel_backend, name, getattr(parallel_backend, name))
        monkeypatch.delattr(parallel_backend, name)
    assert parallel_backend.build_wheel.__name__ == "build_wheel"
    assert {*parallel_backend.__all__} <= {*vars(parallel_backend)}
    with pytest.raises(AttributeError, match="has no attribute 'build_everything'"):
        _ = parallel_backend.build_everything


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook not in WRITES])
def test_a_requires_hook_returns_what_setuptools_finds(
    hook: str, backend: str, tmp_path: Path
) -> None:
    setup = "from setuptools import setup\nsetup(setup_requires=['one>=1', 'two'])\n"
    folder = make_project(tmp_path / "project", setup=setup)
    assert succeeded(run_hook(folder, hook, backend=backend)) == ["one>=1", "two"]


@pytest.mark.smoke
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


@pytest.mark.smoke
def test_an_error_of_setuptools_reaches_the_frontend_with_its_traceback(
    tmp_path: Path, out: Path
) -> None:
    setup = "def fail():\n    raise LookupError('the project says no')\nfail()\n"
    folder = make_project(tmp_path / "project", setup=setup)
    run = run_hook(folder, "build_wheel", out)
    assert run.returncode == 1
    assert run.stderr.endswith("LookupError: the project says no\n")
    assert "in fail" in run.stderr


@pytest.mark.slow
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

parallel_backend.build_wheel  # imports setuptools, which adds to sys.path
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
    assert last.startswith("parallel-backend: 2 compiled, 2 linked, 0 reused in ")
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
