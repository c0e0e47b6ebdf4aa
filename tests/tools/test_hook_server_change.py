"""A warm hook server notices what a fresh interpreter would have found otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from hook_server_harness import (
    FAKE,
    PRELOADED,
    Wire,
    count,
    made_up_environment,
    open_wire,
    settle,
)

pytest_plugins = ["hook_server_fixtures", "warm_server_fixtures"]


@pytest.fixture
def environment(warm_environment: dict[str, str]) -> dict[str, str]:
    return warm_environment


@pytest.fixture
def wire(warm: Wire) -> Wire:
    return warm


def test_what_is_installed_between_two_hooks_is_seen_by_the_second(
    wire: Wire, project: Path, site: Path, fake: Path, environment: dict[str, str]
) -> None:
    """get_requires, install, build."""
    look = "try:\n    import extra\nexcept ImportError:\n    extra = None\n"
    look += "def look_for_extra():\n    return getattr(extra, 'VALUE', None)\n"
    fake.write_text(FAKE + look)
    settle(wire, project, backend=PRELOADED)
    for value in (None, 1, None, 22):
        if value is None:
            (site / "extra.py").unlink(missing_ok=True)
        else:
            (site / "extra.py").write_text(f"VALUE = {value}\n")
        for _ in range(2):
            assert wire.value("look_for_extra", source=project, backend=PRELOADED) == value


def test_what_is_installed_between_two_hooks_is_seen_by_a_backend_of_any_name(
    wire: Wire, project: Path, site: Path
) -> None:
    settle(wire, project)
    arguments = {"name": "extra"}
    assert wire.value("try_import", source=project, arguments=arguments) is None
    (site / "extra.py").touch()
    found = wire.value("try_import", source=project, arguments=arguments)
    assert found == str(site / "extra.py")
    (site / "extra.py").unlink()
    assert wire.value("try_import", source=project, arguments=arguments) is None


def test_an_edited_backend_is_imported_anew(
    wire: Wire, project: Path, fake: Path, environment: dict[str, str]
) -> None:
    # Of another size: within one second Python itself takes what it compiled before.
    for value in (22, 333, 4444):
        fake.write_text(FAKE.replace("VALUE = 1", f"VALUE = {value}"))
        assert wire.value("tell", source=project, backend=PRELOADED) == value


def test_a_backend_that_was_replaced_by_one_of_the_same_age_is_imported_anew(
    wire: Wire, project: Path, fake: Path
) -> None:
    settle(wire, project, backend=PRELOADED)
    before = fake.stat()
    other = fake.with_suffix(".new")
    other.write_text(FAKE.replace("VALUE = 1", "VALUE = 9"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.rmtree(fake.parent / "__pycache__")  # Python itself would take the old one
    other.replace(fake)
    assert wire.value("tell", source=project, backend=PRELOADED) == 9


def test_a_backend_that_is_edited_while_it_is_imported_is_imported_again(
    wire: Wire, project: Path, fake: Path
) -> None:
    """What its file is afterwards says nothing of what is in memory."""
    later = FAKE.replace("VALUE = 1", "VALUE = 4444")
    fake.write_text(f"{FAKE}with open(__file__, 'w') as file:\n    file.write({later!r})\n")
    assert wire.value("tell", source=project, backend=PRELOADED) == 4444


def test_a_submodule_that_is_added_is_seen(wire: Wire, project: Path, fake: Path) -> None:
    text = "try:\n    from setuptools import added\nexcept ImportError:\n    added = None\n"
    fake.write_text(f"{FAKE}{text}def has(): return added is not None\n")
    settle(wire, project, backend=PRELOADED)
    assert wire.value("has", source=project, backend=PRELOADED) is False
    (fake.parent / "added.py").touch()
    assert wire.value("has", source=project, backend=PRELOADED) is True


def test_what_hooks_compile_is_no_change(
    wire: Wire, project: Path, site: Path, environment: dict[str, str]
) -> None:
    shutil.rmtree(site / "__pycache__", ignore_errors=True)
    settle(wire, project)
    starts = count(environment, "STARTS")
    (site / "__pycache__").rename(site.parent / "aside")
    for _ in range(3):
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
    assert (site / "__pycache__").exists()
    assert count(environment, "STARTS") == starts


def test_a_path_file_that_is_added_or_edited_counts(project: Path, tmp_path: Path) -> None:
    """As an editable install has it: the interpreter reads it at its start alone."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    environment = made_up_environment(tmp_path / "site")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "editable.py").touch()
    arguments = {"name": "editable"}
    with open_wire(environment=environment, python=folder / "bin" / "python") as wire:
        assert wire.value("try_import", source=project, arguments=arguments) is None
        for name in ("one", "two"):
            (packages / "editable.pth").write_text(f"{tmp_path / name}\n")
            found = wire.value("try_import", source=project, arguments=arguments)
            assert found == str(tmp_path / name / "editable.py")
        (packages / "editable.pth").unlink()
        assert wire.value("try_import", source=project, arguments=arguments) is None
        # What the base interpreter has installed belongs to it from now on.
        path = wire.value("look", source=project)["path"]
        text = (folder / "pyvenv.cfg").read_text()
        (folder / "pyvenv.cfg").write_text(
            text.replace("site-packages = false", "site-packages = true")
        )
        assert wire.value("look", source=project)["path"] != path


def test_a_folder_for_packages_that_appears_is_seen(
    project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    later = tmp_path / "later"
    path = os.pathsep.join([environment["PYTHONPATH"], str(later)])
    with open_wire(environment={**environment, "PYTHONPATH": path}) as wire:
        settle(wire, project)
        later.mkdir()
        (later / "extra.py").touch()
        found = wire.value("try_import", source=project, arguments={"name": "extra"})
        assert found == str(later / "extra.py")


def test_packages_of_the_user_that_appear_are_seen(
    project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """The interpreter looks for their directory at its start alone."""
    python = getattr(sys, "_base_executable", sys.executable)  # an environment has none
    given = {**environment, "PYTHONUSERBASE": str(tmp_path / "user")}
    given.pop("PYTHONNOUSERSITE", None)
    command = [python, "-c", "import site; print(site.ENABLE_USER_SITE, site.USER_SITE)"]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    enabled, folder = done.stdout.split()
    if enabled != "True":
        pytest.skip("this interpreter has no packages of the user's")
    with open_wire(environment=given, python=python) as wire:
        settle(wire, project)
        assert wire.value("try_import", source=project, arguments={"name": "extra"}) is None
        Path(folder).mkdir(parents=True)
        (Path(folder) / "extra.py").touch()
        found = wire.value("try_import", source=project, arguments={"name": "extra"})
        assert found == str(Path(folder) / "extra.py")


def test_a_zip_archive_on_the_path_that_is_replaced_is_seen(
    project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    archive = tmp_path / "modules.zip"

    def pack(name: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").touch()
        made = shutil.make_archive(str(tmp_path / f"made-{name}"), "zip", tmp_path / name)
        Path(made).replace(archive)

    pack("one")
    path = os.pathsep.join([environment["PYTHONPATH"], str(archive)])
    with open_wire(environment={**environment, "PYTHONPATH": path}) as wire:
        assert wire.value("try_import", source=project, arguments={"name": "one"})
        pack("two")
        assert wire.value("try_import", source=project, arguments={"name": "one"}) is None
        assert wire.value("try_import", source=project, arguments={"name": "two"})
