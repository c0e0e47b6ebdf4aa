"""What a project says of its build, and the commands that change that: init and vendor."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from harness import SOURCE, build_wheel
from parallel_backend.tools import cli
from parallel_backend.tools.cli.projects import (
    BuildSystem,
    ProjectError,
    backend_for,
    known_name,
    read_build_system,
)
from projects import make_project

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


# --- init


COMMENTED = """\
# what this is
[project]
name = "x"  # a name

[build-system]
requires = [
    "setuptools >= 78",  # why
    "Cython",
]
build-backend = "setuptools.build_meta"  # the backend

[tool.other]
a = {b = 1}
"""
CHANGED = COMMENTED.replace('"Cython",\n', '"Cython",\n    "parallel-backend",\n').replace(
    '"setuptools.build_meta"', '"parallel_backend"'
)
NAMED = '[build-system]\nrequires = ["{}", "{}"]\nbuild-backend = "parallel_backend{}"\n'
ADDED = (
    "[build-system]\n"
    'requires = ["setuptools>=77", "parallel-backend"]\n'
    'build-backend = "parallel_backend"\n'
)


@pytest.mark.parametrize(
    ("before", "setup", "after"),
    [
        (COMMENTED, None, CHANGED),
        (COMMENTED.replace("\n", "\r\n"), None, CHANGED.replace("\n", "\r\n")),
        (
            PLAIN.replace("meta", "meta:__legacy__"),
            None,
            NAMED.format("setuptools>=78", "parallel-backend", ":legacy"),
        ),
        (
            '[build-system]\nrequires = ["setuptools", "Parallel_Backend>=1"]\n',
            None,
            NAMED.format("setuptools", "Parallel_Backend>=1", ""),
        ),
        (
            NAMED.format("setuptools", "Cython", ":legacy"),
            None,
            NAMED.format("setuptools", "Cython", ":legacy").replace(
                '"Cython"', '"Cython", "parallel-backend"'
            ),
        ),
        ('[project]\nname = "x"\n', None, f'[project]\nname = "x"\n\n{ADDED}'),
        ('[project]\nname = "x"', None, f'[project]\nname = "x"\n\n{ADDED}'),
        ("x = 1\r\n", None, f"x = 1\n\n{ADDED}".replace("\n", "\r\n")),
        (None, "import setuptools", ADDED),
        (None, "import own", ADDED.replace('backend"\n', 'backend:legacy"\n')),
    ],
)
def test_init_changes_the_backend_and_nothing_else(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    before: str | None,
    setup: str | None,
    after: str,
) -> None:
    pytest.importorskip("tomlkit", reason="tomlkit is not installed")
    (tmp_path / "own.py").write_text("")
    write(tmp_path, before, setup)
    path = tmp_path / "pyproject.toml"
    if before is not None:
        path.chmod(0o640)
    assert cli.main(["init", "--yes", str(tmp_path)]) == 0
    assert path.read_bytes().decode() == after
    assert path.stat().st_mode & 0o777 == (0o640 if before is not None else 0o644)
    out = capsys.readouterr().out
    assert f"+++ {path}\n" in out
    assert "\r" not in out
    assert cli.main(["init", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{path} names parallel_backend already\n"
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["own.py", "pyproject.toml", *(["setup.py"] if setup else [])]
    )


def test_init_without_a_yes_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "") / "pyproject.toml"
    assert cli.main(["init", str(tmp_path)]) == 1
    assert capsys.readouterr().out.endswith(f"nothing was changed; --yes changes {path}\n")
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    for answer, status in (("n", 1), ("", 1), (EOFError, 1), ("Yes", 0)):

        def read(prompt: str, answer: object = answer) -> object:
            if answer is EOFError:
                raise EOFError
            return answer

        monkeypatch.setattr("builtins.input", read)
        assert path.read_text() == ""
        assert cli.main(["init", str(tmp_path)]) == status
    assert path.read_text() == ADDED


@pytest.mark.parametrize(
    ("pyproject", "told"),
    [
        (None, "is no Python project"),
        (PLAIN.replace("setuptools.build_meta", "flit_core.buildapi"), "is built by flit_core"),
        (PLAIN + 'backend-path = ["own"]\n', "by setuptools.build_meta in own, not by setuptools"),
        (PLAIN.replace(">=78", "<70"), "requires setuptools<70; parallel_backend works with"),
        (PLAIN.replace(">=78", "==60.*"), "works with setuptools 77 or newer"),
        (PLAIN.replace(">=78", ">1,<77"), "works with setuptools 77 or newer"),
    ],
)
def test_init_says_in_one_line_what_it_cannot_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pyproject: str | None, told: str
) -> None:
    write(tmp_path, pyproject)
    assert cli.main(["init", "-y", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert told in captured.err
    assert captured.err.count("\n") == 1
    if pyproject is not None:
        assert (tmp_path / "pyproject.toml").read_text() == pyproject


def test_init_without_tomlkit_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    write(tmp_path, PLAIN)
    assert cli.main(["init", "-y", str(tmp_path)]) == 2
    told = "parallel-backend: error: init needs tomlkit: pip install 'parallel-backend[build]'\n"
    assert capsys.readouterr().err == told


# --- vendor


def test_a_vendored_copy_builds_the_project_with_the_lines_that_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_project(tmp_path / "project", build_system='requires = ["setuptools>=77"]')
    assert cli.main(["vendor", str(folder / "tools/backend")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"# in {folder / 'pyproject.toml'}",
        "[build-system]",
        'requires = ["setuptools>=77"]',
        'build-backend = "parallel_backend"',
        'backend-path = ["tools/backend"]',
        f"# in {folder / 'MANIFEST.in'}, so that an sdist has it too",
        "recursive-include tools/backend *.py *.html *.css *.js py.typed",
    ]
    assert not [*folder.rglob("*.pyc")]
    make_project(folder, build_system="\n".join(lines[2:5]))
    assert (
        build_wheel(folder, path=[folder / "tools/backend"]).name == "sample-1.0-py3-none-any.whl"
    )
    assert cli.main(["vendor", str(folder / "tools/backend")]) == 0
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(
    ("place", "pattern"), [(".", "parallel_backend"), ("odd dir \u00e9", "odd?dir?\u00e9")]
)
def test_the_line_for_an_sdist_takes_the_copy_and_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, pattern: str
) -> None:
    """Its words are split at spaces."""
    folder = make_project(tmp_path / "project")
    assert cli.main(["vendor", str(folder / place)]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == f"recursive-include {pattern} *.py *.html *.css *.js py.typed"


def test_check_says_if_a_copy_is_current(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["vendor", "--check", str(tmp_path)]
    package = tmp_path / "parallel_backend"
    assert cli.main(words) == 2
    assert capsys.readouterr().err.endswith(f"{package} is no copy of parallel_backend\n")
    assert cli.main(["vendor", str(tmp_path)]) == 0
    (package / "__pycache__").mkdir()
    (package / "__pycache__/hooks.cpython-312.pyc").write_bytes(b"x")
    assert cli.main(words) == 0
    (package / "hooks.py").write_text("changed")
    (package / "rust.py").unlink()
    (package / "more.py").write_text("")
    capsys.readouterr()
    assert cli.main(words) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{package / 'hooks.py'} differs",
        f"{package / 'more.py'} is not ours",
        f"{package / 'rust.py'} is missing",
    ]
    assert cli.main(["vendor", str(tmp_path)]) == 0
    assert cli.main(words) == 0
    assert os.listdir(tmp_path) == ["parallel_backend"]


def test_vendor_overwrites_nothing_but_a_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "parallel_backend"
    package.mkdir()
    assert cli.main(["vendor", str(tmp_path)]) == 2
    assert "is no copy of parallel_backend; it stays as it is" in capsys.readouterr().err
    shutil.rmtree(package)
    assert cli.main(["vendor", str(SOURCE)]) == 2
    assert "is the package that runs" in capsys.readouterr().err


def test_a_copy_for_a_project_that_names_us_already_keeps_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        tmp_path,
        '[build-system]\nrequires = ["setuptools>=80", "parallel-backend"]\n'
        'build-backend = "parallel_backend:legacy"\n',
    )
    assert cli.main(["vendor", str(tmp_path / "own")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == [
        'requires = ["setuptools>=80"]',
        'build-backend = "parallel_backend:legacy"',
    ]
