"""What a project says of its build."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_backend.tools.cli.projects import (
    BuildSystem,
    ProjectError,
    backend_for,
    known_name,
    lets_in_older_pythons,
    read_build_system,
    required_python,
)

PLAIN = '[build-system]\nrequires = ["setuptools>=78"]\nbuild-backend = "setuptools.build_meta"\n'


def write(tmp_path: Path, pyproject: str | None, setup: str | None = None) -> Path:
    if pyproject is not None:
        (tmp_path / "pyproject.toml").write_bytes(pyproject.encode())
    if setup is not None:
        (tmp_path / "setup.py").write_text(setup)
    return tmp_path


@pytest.mark.parametrize(
    ("pyproject", "replacement"),
    [
        (PLAIN, "parallel_backend"),
        (PLAIN.replace("meta", "meta:__legacy__"), "parallel_backend:legacy"),
        ('[build-system]\nrequires = ["setuptools"]\n', "parallel_backend:legacy"),
        ("[project]\nname = 'x'\n", "parallel_backend:legacy"),
        (PLAIN + 'backend-path = ["."]\n', None),
        (PLAIN.replace("setuptools.build_meta", "flit_core.buildapi"), None),
        (PLAIN.replace("setuptools.build_meta", "parallel_backend"), None),
    ],
)
def test_setuptools_backends_are_replaced_and_no_others(
    tmp_path: Path, pyproject: str, replacement: str | None
) -> None:
    assert read_build_system(write(tmp_path, pyproject)).replacement == replacement


def test_a_setup_py_alone_is_a_project(tmp_path: Path) -> None:
    assert read_build_system(write(tmp_path, None, "")) == BuildSystem()


@pytest.mark.parametrize(
    ("pyproject", "told"),
    [
        (None, "is no Python project: it has no pyproject.toml and no setup.py"),
        ("[build-system", "pyproject.toml cannot be read: Expected"),
        ("[build-system]\n", "must be a table with a list, requires"),
        ("build-system = 1\n", "must be a table with a list, requires"),
        ("[build-system]\nrequires = [1]\n", "requires in [build-system] must be a list of"),
        ("[build-system]\nrequires = []\nbuild-backend = 1\n", "build-backend in [build-system]"),
        ('[build-system]\nrequires = []\nbackend-path = "."\n', "backend-path in [build-system]"),
    ],
)
def test_a_mistake_in_the_table_is_one_line(
    tmp_path: Path, pyproject: str | None, told: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        read_build_system(write(tmp_path, pyproject))
    assert told in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setup", "backend"),
    [
        (None, "parallel_backend"),
        ("import setuptools, os.path\nfrom . import x\n", "parallel_backend"),
        ("import helper\n", "parallel_backend:legacy"),
        ("def f():\n    from package.version import v\n", "parallel_backend:legacy"),
        ("this is no Python", "parallel_backend:legacy"),
    ],
)
def test_where_nothing_is_named_a_setup_py_that_imports_its_neighbours_needs_legacy(
    tmp_path: Path, setup: str | None, backend: str
) -> None:
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "package").mkdir()
    write(tmp_path, "", setup)
    assert backend_for(tmp_path, read_build_system(tmp_path)) == backend


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ('name = "a"\nversion = "1"', "a-1"),
        ('name = "a"\ndynamic = ["version"]', "a"),
        ('name = "../a b"\nversion = "1"', ".._a_b-1"),
        ("name = 1", "folder"),
        ("", "folder"),
    ],
)
def test_a_folder_is_known_by_what_the_project_says_or_by_its_own_name(
    tmp_path: Path, table: str, name: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert known_name(write(folder, f"[project]\n{table}\n")) == name


@pytest.mark.parametrize(
    ("files", "required"),
    [
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.9"\n'}, ">=3.9"),
        ({"pyproject.toml": "", "setup.cfg": "[options]\npython_requires = >=3.7\n"}, ">=3.7"),
        ({"setup.py": "setup(name='x', python_requires='>=3.6, <4')\n"}, ">=3.6, <4"),
        ({"setup.py": "import s\ns.setup(python_requires='>=3.5')\n", "setup.cfg": "["}, ">=3.5"),
        ({"setup.py": "setup(python_requires=WANTED, name='x')\n"}, ""),
        ({"setup.py": "this is no Python"}, ""),
        ({}, ""),
    ],
)
def test_the_python_that_a_project_requires_is_read_and_no_code_of_it_runs(
    tmp_path: Path, files: dict[str, str], required: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert required_python(tmp_path) == required


@pytest.mark.parametrize(
    ("required", "lets_in"),
    [
        (">=3.8", True),
        (">=3", True),
        (">= 3.10, <4", True),
        ("<3.14", True),
        ("!=3.11.*", True),
        (">=3.11", False),
        (">=3.8,>=3.12", False),
        ("~=3.11", False),
        ("==3.12.*", False),
        (">=4", False),
    ],
)
def test_a_project_that_lets_in_older_pythons_is_known(required: str, lets_in: bool) -> None:
    assert lets_in_older_pythons(required) is lets_in
