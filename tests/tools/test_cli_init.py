"""``parallel-backend init``: what changes in a project, and nothing else."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

import pytest

from parallel_backend.tools import cli
from parallel_backend.tools.cli.copies import Copy

PLAIN = '[build-system]\nrequires = ["setuptools>=78"]\nbuild-backend = "setuptools.build_meta"\n'
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

# what follows
[tool.other]
a = {b = 1}
"""
OURS = COMMENTED.replace('"setuptools.build_meta"', '"parallel_backend"')
REQUIRED = OURS.replace('"Cython",\n', '"Cython",\n    "parallel-backend",\n')
IN_TREE = OURS.replace(
    "  # the backend\n", '  # the backend\nbackend-path = ["_backend.vendored"]\n'
)
NAMED = '[build-system]\nrequires = ["{}", "{}"]\nbuild-backend = "parallel_backend{}"\n'
ADDED = '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "parallel_backend"\n'
ADDED_REQUIRED = ADDED.replace('77"', '77", "parallel-backend"')
PATH = 'backend-path = ["_backend.vendored"]\n'
LINE = Copy(project=Path(), place="_backend.vendored").manifest_line


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a module that a ``setup.py`` may import."""
    pytest.importorskip("tomlkit", reason="tomlkit is not installed")
    (tmp_path / "own.py").write_text("")
    return tmp_path


def write(project: Path, pyproject: str | None, setup: str | None = None) -> Path:
    """Write both files; the path of the former."""
    path = project / "pyproject.toml"
    if pyproject is not None:
        path.write_bytes(pyproject.encode())
        path.chmod(0o640)
    if setup is not None:
        (project / "setup.py").write_text(setup)
    return path


def windows(text: str) -> str:
    return text.replace("\n", "\r\n")


BARE = '[build-system]\nrequires = ["setuptools", "Cython"]\n\n# what follows\n[project]\n'


@pytest.mark.parametrize(
    ("before", "setup", "after"),
    [
        (COMMENTED, None, IN_TREE),
        (windows(COMMENTED), None, windows(IN_TREE)),
        (REQUIRED, None, IN_TREE),
        (OURS, None, IN_TREE),
        (
            PLAIN.rstrip().replace("meta", "meta:__legacy__"),
            None,
            PLAIN.replace("setuptools.build_meta", "parallel_backend:legacy") + PATH,
        ),
        (BARE, None, BARE.replace('n"]\n', f'n"]\nbuild-backend = "parallel_backend"\n{PATH}')),
        ('[project]\nname = "x"\n', None, f'[project]\nname = "x"\n\n{ADDED}{PATH}'),
        ('[project]\nname = "x"', None, f'[project]\nname = "x"\n\n{ADDED}{PATH}'),
        ("x = 1\r\n", None, windows(f"x = 1\n\n{ADDED}{PATH}")),
        (None, "import setuptools", ADDED + PATH),
        (None, "import own", ADDED.replace('backend"\n', 'backend:legacy"\n') + PATH),
    ],
)
def test_init_puts_a_copy_into_the_tree_and_names_it(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    before: str | None,
    setup: str | None,
    after: str,
) -> None:
    path = write(project, before, setup)
    names = {*os.listdir(project), "pyproject.toml"}
    assert cli.main(["init", "--in-tree", "--yes", str(project)]) == 0
    assert path.read_bytes().decode() == after
    assert path.stat().st_mode & 0o777 == (0o640 if before is not None else 0o644)
    assert (project / "MANIFEST.in").read_text() == f"{LINE}\n"
    assert {*os.listdir(project)} == {*names, "MANIFEST.in", "_backend.vendored"}
    assert (project / "_backend.vendored/parallel_backend/hooks.py").is_file()
    out = capsys.readouterr().out
    assert f"+++ {path}\n" in out
    assert "\r" not in out
    assert cli.main(["vendor", "--check", str(project / "_backend.vendored")]) == 0


@pytest.mark.parametrize(
    "before",
    [
        'build-system = {requires = ["setuptools"]}\n',
        'build-system.requires = ["setuptools"]\n[project]\nname = "x"\n',
        'build-system = {requires = ["setuptools"], build-backend = "setuptools.build_meta"}\n',
    ],
)
def test_a_table_in_an_unusual_form_is_changed_too(project: Path, before: str) -> None:
    path = write(project, before)
    assert cli.main(["init", "--yes", str(project)]) == 0
    whole = tomllib.loads(path.read_text())
    assert whole == tomllib.loads(before) | {
        "build-system": {
            "requires": ["setuptools"],
            "build-backend": "parallel_backend",
            "backend-path": ["_backend.vendored"],
        }
    }


@pytest.mark.parametrize(
    ("before", "setup", "after"),
    [
        (COMMENTED, None, REQUIRED),
        (windows(COMMENTED), None, windows(REQUIRED)),
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
        ('[project]\nname = "x"', None, f'[project]\nname = "x"\n\n{ADDED_REQUIRED}'),
        (None, "import setuptools", ADDED_REQUIRED),
    ],
)
def test_with_require_the_package_is_required_by_name(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    before: str | None,
    setup: str | None,
    after: str,
) -> None:
    path = write(project, before, setup)
    names = {*os.listdir(project), "pyproject.toml"}
    assert cli.main(["init", "--require", "--yes", str(project)]) == 0
    assert path.read_bytes().decode() == after
    assert {*os.listdir(project)} == names
    assert "no package index has parallel-backend" in capsys.readouterr().out
    # What is required already is not replaced by a copy, unless that is asked for.
    for words in (["init"], ["init", "--require"]):
        assert cli.main([*words, str(project)]) == 0
        assert capsys.readouterr().out == f"{path} names parallel_backend already\n"
    assert cli.main(["init", "--in-tree", str(project)]) == 1


def test_a_second_init_changes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(project, COMMENTED)
    assert cli.main(["init", "--yes", str(project)]) == 0
    before = {file: file.stat().st_ino for file in project.rglob("*")}
    capsys.readouterr()
    for words in (["--yes"], ["--in-tree"], ["--require"], []):
        assert cli.main(["init", *words, str(project)]) == 0
        assert capsys.readouterr().out == f"{path} names parallel_backend already\n"
    assert {file: file.stat().st_ino for file in project.rglob("*")} == before


def test_a_copy_that_is_not_current_is_made_so_where_it_stands(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PLAIN.replace("setuptools.build_meta", "parallel_backend")
    path = write(project, f'{text}backend-path = ["others", "own"]\n')
    assert cli.main(["vendor", str(project / "own")]) == 0
    (project / "own/parallel_backend/rust.py").unlink()
    (project / "MANIFEST.in").write_text(capsys.readouterr().out.splitlines()[-1] + "\n")
    assert cli.main(["init", "--yes", str(project)]) == 0
    assert "+++" not in capsys.readouterr().out
    assert cli.main(["vendor", "--check", str(project / "own")]) == 0
    assert path.read_text() == f'{text}backend-path = ["others", "own"]\n'
    assert not (project / "_backend.vendored").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", f"{LINE}\n"),
        (b"include a.txt", f"include a.txt\n{LINE}\n"),
        (b"include a.txt\r\n", f"include a.txt\r\n{LINE}\r\n"),
        (f"{LINE}\ninclude a.txt\n".encode(), f"{LINE}\ninclude a.txt\n"),
        (b"recursive-include  _backend.vendored *.py\ninclude a.txt\n", f"{LINE}\ninclude a.txt\n"),
        (b"recursive-include _backend *.py\n", f"recursive-include _backend *.py\n{LINE}\n"),
    ],
)
def test_manifest_in_gets_the_line_once(project: Path, before: bytes, after: str) -> None:
    write(project, PLAIN)
    (project / "MANIFEST.in").write_bytes(before)
    assert cli.main(["init", "--yes", str(project)]) == 0
    assert (project / "MANIFEST.in").read_bytes().decode() == after


def test_a_manifest_in_any_encoding_keeps_its_bytes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, PLAIN)
    (project / "MANIFEST.in").write_bytes(b"include caf\xe9.txt\n")
    assert cli.main(["init", "--yes", str(project)]) == 0
    assert (project / "MANIFEST.in").read_bytes() == f"include caf\xe9.txt\n{LINE}\n".encode(
        "latin-1"
    )
    assert "caf?.txt" in capsys.readouterr().out


def test_init_without_a_yes_changes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(project, "")
    names = os.listdir(project)
    assert cli.main(["init", str(project)]) == 1
    assert capsys.readouterr().out.endswith("nothing was changed; --yes makes these changes\n")
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    for answer, status in (("n", 1), ("", 1), (EOFError, 1), ("Yes", 0)):

        def read(prompt: str, answer: object = answer) -> object:
            if answer is EOFError:
                raise EOFError
            return answer

        monkeypatch.setattr("builtins.input", read)
        assert path.read_text() == ""
        assert os.listdir(project) == names
        assert cli.main(["init", str(project)]) == status
    assert path.read_text() == ADDED + PATH


@pytest.mark.parametrize(
    ("required", "note"),
    [
        (">=3.11", "the copy needs Python 3.11 or newer to build; the project requires >=3.11"),
        (">=3.8", "but the project lets in older ones (>=3.8): a build with one of those ends in"),
        ("", "the project does not say what it requires (requires-python)"),
    ],
)
def test_init_says_which_pythons_can_build_the_project(
    project: Path, capsys: pytest.CaptureFixture[str], required: str, note: str
) -> None:
    table = f'[project]\nrequires-python = "{required}"\n' if required else ""
    write(project, f"{PLAIN}{table}")
    assert cli.main(["init", str(project)]) == 1
    assert note in capsys.readouterr().out


@pytest.mark.parametrize("how", [["--in-tree"], ["--require"]])
@pytest.mark.parametrize(
    ("pyproject", "said"),
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
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    how: list[str],
    pyproject: str | None,
    said: str,
) -> None:
    write(tmp_path, pyproject)
    names = os.listdir(tmp_path)
    assert cli.main(["init", "-y", *how, str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert os.listdir(tmp_path) == names
    if pyproject is not None:
        assert (tmp_path / "pyproject.toml").read_text() == pyproject


def test_what_stands_in_the_copys_place_stays(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(project, PLAIN)
    (project / "_backend.vendored").write_text("a file")
    assert cli.main(["init", "-y", str(project)]) == 2
    assert capsys.readouterr().err == (
        f"parallel-backend: error: {project / '_backend.vendored'} is not a directory; "
        "name another one for the copy\n"
    )
    assert path.read_text() == PLAIN
    assert (project / "_backend.vendored").read_text() == "a file"
    assert not (project / "MANIFEST.in").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any directory")
def test_a_directory_that_cannot_be_written_is_one_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(project, PLAIN)
    project.chmod(0o555)
    try:
        assert cli.main(["init", "-y", str(project)]) == 2
    finally:
        project.chmod(0o755)
    assert capsys.readouterr().err == (
        f"parallel-backend: error: nothing can be written to {project}; the copy belongs there\n"
    )
    assert path.read_text() == PLAIN


def test_init_without_tomlkit_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    write(tmp_path, PLAIN)
    assert cli.main(["init", "-y", str(tmp_path)]) == 2
    said = "parallel-backend: error: init needs tomlkit: pip install tomlkit\n"
    assert capsys.readouterr().err == said
    # Where no formatting has to be kept it is not needed.
    write(tmp_path, f"{ADDED}{PATH}")
    assert cli.main(["init", "-y", str(tmp_path)]) == 0
