"""Real backends through the hook server: what comes out is what fresh processes make."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness import SOURCE, copy_package, run_hook
from hook_server_harness import is_alive, until
from parallel_backend.tools.hook_server import HookCancelledError, HookFailedError, HookServer
from projects import TINY_C, make_project
from standard_hooks import WRITES

pytestmark = pytest.mark.slow

# How many hooks the memory is watched over. 1,000 take a minute: see bench/hook_server.py.
MANY = 100

ARGUMENTS = {
    "get_requires_for_build_wheel": "",
    "prepare_metadata_for_build_wheel": "metadata_directory",
    "build_wheel": "wheel_directory",
    "build_sdist": "sdist_directory",
    "get_requires_for_build_editable": "",
    "build_editable": "wheel_directory",
}


@pytest.fixture(params=[True, False], ids=["fork", "no-fork"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[HookServer]:
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    with HookServer(fork=request.param) as server:
        yield server


def call(
    server: HookServer, hook: str, *, backend: str, source: Path, out: Path, **more: object
) -> object:
    out.mkdir(exist_ok=True)
    argument = ARGUMENTS[hook]
    arguments = {argument: str(out)} if argument else {}
    return server.call(
        hook,
        backend=backend,
        source=source,
        arguments={**arguments, **more},
        stdout=os.devnull,
        stderr=os.devnull,
    )


def contents(folder: Path) -> dict[str, str]:
    """Every file, with a hash of what is in it; of an sdist, which holds times, what it holds."""
    found: dict[str, str] = {}
    files = (file for file in folder.rglob("*") if file.is_file())
    # The object store's records tell when files were made.
    for file in sorted(file for file in files if "parallel-backend" not in file.parts):
        name = str(file.relative_to(folder))
        if name.endswith(".tar.gz"):
            with tarfile.open(file) as archive, tempfile.TemporaryDirectory() as unpacked:
                archive.extractall(unpacked, filter="data")
                found |= {f"{name}:{key}": value for key, value in contents(Path(unpacked)).items()}
        else:
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def pure(folder: Path) -> Path:
    return make_project(folder)


def with_setup(folder: Path) -> Path:
    return make_project(folder, setup="from setuptools import setup\nsetup()\n")


def with_extension(folder: Path) -> Path:
    return make_project(
        folder,
        setup="from setuptools import Extension, setup\n"
        "setup(ext_modules=[Extension('one', ['one.c'])])\n",
        files={"one.c": TINY_C.format(name="one")},
    )


def flit(folder: Path) -> Path:
    return named(folder, "flit_core", "flit_core.buildapi")


def hatchling(folder: Path) -> Path:
    return named(folder, "hatchling", "hatchling.build")


def named(folder: Path, package: str, backend: str) -> Path:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    system = f'requires = ["{package}"]\nbuild-backend = "{backend}"'
    make_project(folder, build_system=system, files={"README.md": "A sample\n"})
    file = folder / "pyproject.toml"
    text = file.read_text().replace('version = "1.0"\n', 'version = "1.0"\ndescription = "one"\n')
    text = text.replace('[tool.setuptools]\npy-modules = ["sample"]\n', "")
    file.write_text(text)
    return folder


CASES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "setuptools": ("setuptools.build_meta", pure),
    "setuptools-setup-py": ("setuptools.build_meta", with_setup),
    "setuptools-extension": ("setuptools.build_meta", with_extension),
    "setuptools-legacy": ("setuptools.build_meta:__legacy__", with_setup),
    "parallel_backend": ("parallel_backend", pure),
    "parallel_backend-extension": ("parallel_backend", with_extension),
    "parallel_backend-legacy": ("parallel_backend:legacy", with_extension),
    "flit_core": ("flit_core.buildapi", flit),
    "hatchling": ("hatchling.build", hatchling),
}


@pytest.mark.parametrize("case", CASES)
def test_hooks_give_what_they_give_in_fresh_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    """Requirements, metadata, wheel, sdist and editable wheel: the value, or the error where a
    backend needs something that is not installed, and every file."""
    backend, make = CASES[case]
    source, out = tmp_path / "project", tmp_path / "out"
    make(source)
    aside = tmp_path / "aside"
    shutil.copytree(source, aside)
    fresh = {}
    for hook, argument in ARGUMENTS.items():
        out.mkdir()
        run = run_hook(source, hook, *([out] if argument else []), backend=backend)
        told = run.stderr.splitlines()[-1] if run.returncode else run.result
        fresh[hook] = (told, contents(out), contents(source))
        shutil.rmtree(out)
    assert str(fresh["build_wheel"][0]).startswith("sample-1.0-")
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    for fork in (True, False):
        shutil.rmtree(source)
        shutil.copytree(aside, source)
        with HookServer(fork=fork) as server:
            for hook in ARGUMENTS:
                try:
                    told = call(server, hook, backend=backend, source=source, out=out)
                except HookFailedError as error:
                    told = error.traceback.splitlines()[-1]
                assert (told, contents(out), contents(source)) == fresh[hook], hook
                shutil.rmtree(out)


def with_own_description(folder: Path, setup: str, **files: str) -> Path:
    """A project whose description is what its setup.py says."""
    make_project(folder, setup=setup, files=files)
    file = folder / "pyproject.toml"
    text = file.read_text()
    version = 'version = "1.0"\n'
    file.write_text(text.replace(version, f'{version}dynamic = ["description"]\n'))
    return folder


def summary(server: HookServer, source: Path, out: Path) -> str:
    """What the project's metadata say."""
    hook = "prepare_metadata_for_build_wheel"
    made = str(call(server, hook, backend="setuptools.build_meta", source=source, out=out))
    lines = (out / made / "METADATA").read_text().splitlines()
    shutil.rmtree(out)
    return "".join(line.removeprefix("Summary: ") for line in lines if "Summary" in line)


def test_projects_in_turn_do_not_meet(server: HookServer, tmp_path: Path) -> None:
    """Each with a module of its own, all of one name; and one has no code, so that more of
    setuptools may have been imported before its hooks."""
    for name in ("first", "second"):
        with_own_description(
            tmp_path / name,
            "import sys; sys.path.insert(0, '.')\n"
            "import helper, setuptools\n"
            "setuptools.setup(description=helper.WHO)\n",
            **{"helper.py": f"WHO = {name!r}\n"},
        )
    make_project(tmp_path / "plain")
    for name in ("first", "plain", "second", "plain", "first", "second"):
        told = summary(server, tmp_path / name, tmp_path / "out")
        assert told == ("" if name == "plain" else name)


def test_what_a_setup_py_changes_before_commands_are_imported_takes_effect(
    server: HookServer, tmp_path: Path
) -> None:
    """As in a fresh process: setuptools' commands are made of distutils' when they are imported."""
    with_own_description(
        tmp_path / "changes",
        "import setuptools, distutils.command.sdist as module\n"
        "class sdist(module.sdist):\n"
        "    WHO = 'mine'\n"
        "module.sdist = sdist\n"
        "import setuptools.command.sdist\n"
        "setuptools.setup(description=getattr(setuptools.command.sdist.sdist, 'WHO', 'theirs'))\n",
    )
    make_project(tmp_path / "plain")
    for name in ("plain", "changes", "plain", "changes"):
        told = summary(server, tmp_path / name, tmp_path / "out")
        assert told == ("" if name == "plain" else "mine")


def test_cython_that_is_installed_after_the_requirements_is_used(
    server: HookServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """setuptools.command.build_ext looks for it once, when it is imported."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(SOURCE)]))
    source = with_own_description(
        tmp_path / "project",
        "import setuptools, setuptools.command.build_ext\n"
        "module = setuptools.command.build_ext\n"
        "setuptools.setup(description=getattr(module._build_ext, 'WHO', 'another'))\n",
    )
    out = tmp_path / "out"
    hook, backend = "get_requires_for_build_wheel", "setuptools.build_meta"
    assert call(server, hook, backend=backend, source=source, out=out) == []
    assert summary(server, source, out) == "another"
    for name in ("__init__", "Compiler/__init__", "Compiler/Main", "Distutils/__init__"):
        file = site / "Cython" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (site / "Cython" / "Distutils" / "build_ext.py").write_text(
        "from distutils.command.build_ext import build_ext as theirs\n"
        "class build_ext(theirs):\n"
        "    WHO = 'installed'\n"
    )
    assert summary(server, source, out) == "installed"


def test_a_hook_of_our_own_backend_is_cancelled_with_its_compilers(
    server: HookServer, tmp_path: Path
) -> None:
    told = tmp_path / "compiler"
    compiler = tmp_path / "cc"
    compiler.write_text(
        f"#!{sys.executable}\n"
        "import os, time\n"
        f"with open({str(told)!r} + '.partly', 'w') as file:\n"
        "    file.write(str(os.getpid()))\n"
        f"os.rename({str(told)!r} + '.partly', {str(told)!r})\n"
        "time.sleep(600)\n"
    )
    compiler.chmod(0o755)
    source = with_extension(tmp_path / "project")

    def cancel() -> None:
        until(told.exists)
        server.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(HookCancelledError):
        server.call(
            "build_wheel",
            backend="parallel_backend",
            source=source,
            arguments={"wheel_directory": str(tmp_path)},
            environment={**os.environ, "CC": str(compiler)},
            stdout=os.devnull,
            stderr=os.devnull,
        )
    thread.join()
    assert not is_alive(int(told.read_text()))


def test_a_sample_builds_with_the_backend_that_a_requirement_names(
    server: HookServer, tmp_path: Path
) -> None:
    source = copy_package("shared_source", tmp_path)
    hook = "build_wheel"
    names = {
        call(server, hook, backend=backend, source=source, out=tmp_path / "out")
        for backend in ("setuptools.build_meta", "parallel_backend")
    }
    assert len(names) == 1


def test_memory_and_descriptors_do_not_grow(tmp_path: Path) -> None:
    source, out = make_project(tmp_path / "project"), tmp_path / "out"
    hook = "prepare_metadata_for_build_wheel"
    with HookServer() as server:
        held = []
        for number in range(MANY + 1):
            made = call(server, hook, backend="setuptools.build_meta", source=source, out=out)
            assert made == WRITES[hook]
            if number in (MANY // 5, MANY):
                [connection] = server._connections.values()
                process = connection._process.pid
                children = Path(f"/proc/{process}/task/{process}/children")
                held.append(
                    [held_by(each) for each in (str(process), *children.read_text().split())]
                )
    assert len(held[0]) == len(held[1]) == 2  # the server and its worker
    for (memory, descriptors), (memory_later, descriptors_later) in zip(*held, strict=True):
        assert descriptors_later == descriptors
        assert memory_later - memory < 256  # KiB; less than 4 of each hook's request


def held_by(process: str) -> tuple[int, dict[str, str]]:
    """A process' memory in KiB, and its descriptors."""
    text = Path(f"/proc/{process}/status").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("VmRSS:")]
    folder = Path(f"/proc/{process}/fd")
    return int(line.split()[1]), {file.name: os.readlink(file) for file in folder.iterdir()}
