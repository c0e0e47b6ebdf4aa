"""What a hook server imports beforehand, and what it leaves to hooks."""

from __future__ import annotations

import shutil
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

from hook_server_harness import PRELOADED, Wire, count, open_wire, settle, started

pytest_plugins = ["hook_server_fixtures", "warm_server_fixtures"]


@pytest.fixture
def environment(warm_environment: dict[str, str]) -> dict[str, str]:
    return warm_environment


@pytest.fixture
def wire(warm: Wire) -> Wire:
    return warm


def test_a_backend_of_setuptools_is_imported_once(
    wire: Wire, project: Path, fake: Path, environment: dict[str, str]
) -> None:
    settle(wire, project, backend=PRELOADED)
    starts, imports = count(environment, "STARTS"), count(environment, "IMPORTS")
    for _ in range(5):
        assert wire.value("tell", source=project, backend=PRELOADED) == 1
    assert count(environment, "STARTS") == starts
    assert count(environment, "IMPORTS") == imports
    assert imports <= starts


def test_other_backends_are_imported_by_each_hook_itself(wire: Wire, project: Path) -> None:
    settle(wire, project)
    assert "made_up" in wire.value("look", source=project)["modules"]
    modules = wire.value("who", source=project, backend="made_up:nested")
    assert modules == "outer"
    script = project / "tell.py"
    script.write_text("import sys; sys.exit('made_up' in sys.modules)\n")
    wire.send({"id": "s", "script": str(script), "source": str(project), "backend": "made_up"})
    assert wire.receive()["status"] == 0


def test_a_script_finds_the_backend_that_it_was_said_to_import(
    wire: Wire, project: Path, fake: Path
) -> None:
    script = project / "tell.py"
    script.write_text("import sys; sys.exit('setuptools.build_meta' in sys.modules)\n")
    request = {"id": "s", "script": str(script), "source": str(project)}
    for more, status in [({}, 0), ({"backend": PRELOADED}, 1), ({}, 0)]:
        wire.send({**request, **more})
        assert wire.receive()["status"] == status


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with nothing installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


CODELESS = '[project]\nname = "sample"\nversion = "1.0"\ndependencies = ["hattrs"]\n'


@pytest.mark.parametrize(
    ("files", "backend", "expected"),
    [
        ({"pyproject.toml": CODELESS}, PRELOADED, True),
        ({"pyproject.toml": CODELESS}, "parallel_backend", True),
        ({"pyproject.toml": CODELESS}, f"{PRELOADED}:__legacy__", False),
        ({"pyproject.toml": CODELESS, "setup.py": "print(1)"}, PRELOADED, False),
        ({"pyproject.toml": CODELESS, "setup.py": ""}, PRELOADED, True),
        ({"pyproject.toml": CODELESS, "setup.cfg": "x = attr: x"}, PRELOADED, False),
        ({"pyproject.toml": CODELESS, "setup.cfg": "[metadata]\nname = x"}, PRELOADED, True),
        ({"pyproject.toml": f'{CODELESS}version = {{attr = "x"}}'}, PRELOADED, False),
        ({"pyproject.toml": f"{CODELESS}[cmdclass]"}, PRELOADED, False),
        ({"pyproject.toml": f'{CODELESS}"\\u0061ttr" = 1'}, PRELOADED, False),
        ({"pyproject.toml": f"{CODELESS}[tool.own]\nx = 'a\\.b'\n"}, PRELOADED, True),
        ({"pyproject.toml": "[build-system]\n[tool.setuptools_scm]\n"}, PRELOADED, False),
        ({"pyproject.toml": " [tool . setuptools]\n"}, PRELOADED, True),
        ({}, PRELOADED, False),
    ],
)
def test_commands_are_imported_where_no_code_can_run_before(
    bare: Path,
    project: Path,
    fake: Path,
    environment: dict[str, str],
    files: Mapping[str, str],
    backend: str,
    expected: bool,
) -> None:
    """And never the one that looks for Cython."""
    add_commands(fake)
    for name, text in files.items():
        (project / name).write_text(text)
    with open_wire(environment=environment, python=bare) as wire:
        for _ in range(2):
            found = preloaded(wire, project, backend)
            assert ("setuptools.command.sdist" in found) == expected
            assert "setuptools.command.build_ext" not in found
            assert "setuptools.build_meta" in found


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("own-1.0.dist-info", "[console_scripts]\nown = own:main\n", True),
        ("own-1.0.dist-info", "[distutils.commands]\nown = own:command\n", False),
        ("own.egg-info", "[setuptools.finalize_distribution_options]\nown = own:f\n", False),
        ("own.egg", "", False),
        ("setuptools-80.0.dist-info", "[distutils.commands]\nx = x:y\n", True),
    ],
)
def test_commands_are_not_imported_before_a_plugin_of_setuptools(
    bare: Path,
    project: Path,
    fake: Path,
    site: Path,
    environment: dict[str, str],
    name: str,
    text: str,
    expected: bool,
) -> None:
    add_commands(fake)
    (project / "pyproject.toml").write_text(CODELESS)
    with open_wire(environment=environment, python=bare) as wire:
        assert "setuptools.command.sdist" in preloaded(wire, project, PRELOADED)
        (site / name).mkdir()
        (site / name / "entry_points.txt").write_text(text)
        assert ("setuptools.command.sdist" in preloaded(wire, project, PRELOADED)) == expected


def test_commands_are_given_up_after_the_first_project_with_code(
    bare: Path, project: Path, fake: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Or a server for both kinds would start anew at every change."""
    add_commands(fake)
    (project / "pyproject.toml").write_text(CODELESS)
    other = tmp_path / "other"
    other.mkdir()
    with open_wire(environment=environment, python=bare) as wire:
        settle(wire, other, backend=PRELOADED)
        assert "setuptools.command.sdist" in preloaded(wire, project, PRELOADED)
        assert "setuptools.command.sdist" not in preloaded(wire, other, PRELOADED)
        before = started(wire)
        for folder in (project, other, project):
            assert "setuptools.command.sdist" not in preloaded(wire, folder, PRELOADED)
        assert started(wire) == before


def test_a_command_that_brings_build_ext_along_is_not_imported(
    bare: Path, project: Path, fake: Path, environment: dict[str, str]
) -> None:
    add_commands(fake)
    (project / "pyproject.toml").write_text(CODELESS)
    (fake.parent / "command" / "sdist.py").write_text("import setuptools.command.build_ext\n")
    with open_wire(environment=environment, python=bare) as wire:
        for _ in range(2):
            assert "setuptools.build_meta" not in preloaded(wire, project, PRELOADED)


def add_commands(fake: Path) -> None:
    """Give the fake setuptools some commands, and a fake parallel_backend."""
    folder = fake.parent / "command"
    folder.mkdir()
    for name in ("__init__", "sdist", "build_ext"):
        (folder / f"{name}.py").touch()
    (fake.parent.parent / "parallel_backend.py").write_text("import setuptools.build_meta\n")


def preloaded(wire: Wire, source: Path, backend: str) -> list[str]:
    """The modules that a script of this backend finds."""
    script, told = source / "tell.py", source / "told"
    script.write_text("import sys; print(*sys.modules)\n")
    told.unlink(missing_ok=True)
    request = {"id": "s", "script": str(script), "source": str(source), "backend": backend}
    wire.send({**request, "stdout": str(told)})
    assert wire.receive()["status"] == 0
    return told.read_text().split()


def test_never_more_is_imported_than_a_fresh_process_has(
    wire: Wire, project: Path, fake: Path
) -> None:
    """A backend in the tree, or another one, does not find setuptools there already."""
    assert wire.value("tell", source=project, backend=PRELOADED) == 1
    shutil.copytree(fake.parent, project / "setuptools")
    (project / "setuptools" / "build_meta.py").write_text("def tell(): return 'in the tree'\n")
    value = wire.value("tell", source=project, backend=PRELOADED, backend_path=["."])
    assert value == "in the tree"
    assert wire.value("tell", source=project, backend=PRELOADED) == 1
    assert "setuptools" not in wire.value("look", source=project)["modules"]
