"""What a hook server imports beforehand, and what it leaves to hooks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness import SOURCE
from hook_server_harness import PRELOADED, Wire, count, settle

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


@pytest.mark.parametrize("backend", [PRELOADED, "parallel_backend"])
def test_no_command_of_setuptools_is_imported_before_a_hook(
    wire: Wire, project: Path, environment: dict[str, str], backend: str
) -> None:
    """A setup.py may replace what they are made of; and one looks for Cython, once."""
    path = os.pathsep.join([environment["PYTHONPATH"], str(SOURCE)])
    given = {**environment, "PYTHONPATH": path}
    found = preloaded(wire, project, backend, environment=given)
    assert {"setuptools.build_meta", backend} <= {*found}
    commands = [name for name in found if name.startswith("setuptools.command.")]
    assert [name for name in commands if not name.startswith("setuptools.command._")] == []
    assert "Cython" not in found


def preloaded(wire: Wire, source: Path, backend: str, **more: Any) -> list[str]:
    """The modules that a script of this backend finds."""
    script, told = source / "tell.py", source / "told"
    script.write_text("import sys; print(*sys.modules)\n")
    told.unlink(missing_ok=True)
    request = {"id": "s", "script": str(script), "source": str(source), "backend": backend}
    wire.send({**request, "stdout": str(told), **more})
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
