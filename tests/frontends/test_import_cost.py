"""Promise P6: what a project does not need is not imported."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import PLAIN_BACKEND, SOURCE
from projects import TINY_C, make_project
from scripts import run_script

# Calls a hook; a process that ends by os._exit, as a hook's fork does, tells its modules, and so
# does the caller.
TELL = """
import importlib, json, os, sys
exit, (folder, backend, hook, *arguments) = os._exit, sys.argv[1:]
def tell(name):
    with open(os.path.join(folder, name), "w") as file:
        json.dump(sorted(sys.modules), file)
def tell_and_exit(status):
    tell("fork.json")
    exit(status)
os._exit = tell_and_exit
getattr(importlib.import_module(backend), hook)(*arguments)
tell("caller.json")
"""

PURE_HOOKS = [
    "get_requires_for_build_wheel",
    "get_requires_for_build_editable",
    "prepare_metadata_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "build_wheel",
    "build_sdist",
    "build_editable",
]

# What only compiling needs: each of these costs milliseconds, Cython a tenth of a second.
ENGINE = [
    f"parallel_backend.{room}.{path.stem}"
    for room in ("build", "records", "launchers")
    for path in (SOURCE / "parallel_backend" / room).glob("*.py")
    if path.stem not in ("__init__", "imports", "session")
]
HEAVY = ["Cython", "multiprocessing", "concurrent.futures", "asyncio", "numpy"]


@dataclass(frozen=True, kw_only=True)
class HookModules:
    """The modules at the end of a hook's own process (none: it has none) and of its caller."""

    fork: set[str]
    caller: set[str]


def modules_of(script: str, *, cwd: Path) -> set[str]:
    done = run_script(f"{script}\nimport json, sys\nprint(json.dumps([*sys.modules]))", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def modules_of_hook(hook: str, *, folder: Path, backend: str = "parallel_backend") -> HookModules:
    """Call a hook of the project in `folder`."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as told:
        arguments = [] if hook.startswith("get_requires") else [told]
        done = run_script(TELL, told, backend, hook, *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
        texts = [
            path.read_text() if path.exists() else "[]"
            for path in map(Path(told).joinpath, ("fork.json", "caller.json"))
        ]
    return HookModules(fork=set(json.loads(texts[0])), caller=set(json.loads(texts[1])))


def among(names: list[str], modules: set[str]) -> list[str]:
    """Which of these packages and modules, or what is inside of them, has been imported."""
    return [
        module
        for module in sorted(modules)
        if any(module == name or module.startswith(f"{name}.") for name in names)
    ]


def test_importing_the_package_imports_next_to_nothing(tmp_path: Path) -> None:
    """The command line does so, which needs no setuptools."""
    added = modules_of("import parallel_backend", cwd=tmp_path) - modules_of("", cwd=tmp_path)
    assert added == {"__future__", "parallel_backend"}


@pytest.mark.parametrize("attribute", ["build_sdist", "legacy"])
def test_the_first_hook_imports_nothing_of_what_only_a_build_needs(
    attribute: str, tmp_path: Path
) -> None:
    modules = modules_of(f"import parallel_backend\nparallel_backend.{attribute}", cwd=tmp_path)
    assert "setuptools.build_meta" in modules
    unwanted = ["parallel_backend.build", "setuptools.command.build_ext", *HEAVY]
    assert among(unwanted, modules) == []


def test_the_first_hook_imports_little_more_than_setuptools(tmp_path: Path) -> None:
    plain = modules_of("import setuptools.build_meta", cwd=tmp_path)
    ours = modules_of("from parallel_backend import build_wheel", cwd=tmp_path)
    added = sorted(name for name in ours - plain if not name.startswith("parallel_backend"))
    # Small ones at most: `dataclasses` and the like are setuptools' own imports already.
    assert len(added) <= 5, added


@pytest.mark.smoke
@pytest.mark.parametrize("hook", PURE_HOOKS)
def test_a_pure_python_project_never_imports_what_only_compiling_needs(
    hook: str, tmp_path: Path
) -> None:
    folder = make_project(tmp_path / "project")
    ours = modules_of_hook(hook, folder=folder)
    assert "parallel_backend" in ours.fork
    assert among(ENGINE, ours.fork) == []
    assert (
        among(["parallel_backend.build", "setuptools.command.build_ext", *HEAVY], ours.caller) == []
    )
    shutil.rmtree(folder / "build", ignore_errors=True)
    plain = modules_of_hook(hook, folder=folder, backend=PLAIN_BACKEND)
    assert among(HEAVY, ours.fork - plain.caller) == []


def test_a_project_with_extensions_imports_it_in_the_hooks_process_alone(tmp_path: Path) -> None:
    """And so the tests above would see it."""
    names = ["one", "two"]
    folder = make_project(
        tmp_path / "project",
        setup="from setuptools import Extension, setup\n"
        f"setup(ext_modules=[Extension(name, [name + '.c']) for name in {names}])\n",
        files={f"{name}.c": TINY_C.format(name=name) for name in names},
    )
    found = modules_of_hook("build_wheel", folder=folder)
    assert "parallel_backend.build.replay" in found.fork
    assert "setuptools.command.build_ext" in found.fork
    unwanted = ["parallel_backend.build", "setuptools.command.build_ext"]
    assert among(unwanted, found.caller) == []
