"""``parallel-backend vendor``: what a copy holds, where it says that it comes from, its check."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cli_harness import PATIENCE, variables
from harness import REPOSITORY, SOURCE
from parallel_backend.tools import cli
from projects import make_project

PACKAGE = SOURCE / "parallel_backend"
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
LICENSE = (REPOSITORY / "LICENSE").read_bytes()


def files_of(package: Path) -> set[str]:
    found = (file for file in package.rglob("*") if file.is_file() and file.suffix != ".pyc")
    return {file.relative_to(package).as_posix() for file in found}


def fields_of(package: Path) -> dict[str, str]:
    lines = (package / "VERSION").read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_a_copy_is_the_package_without_its_tools(tmp_path: Path) -> None:
    assert cli.main(["vendor", str(tmp_path)]) == 0
    package = tmp_path / "parallel_backend"
    ours = {
        name
        for name in files_of(PACKAGE)
        if name.partition("/")[0] not in ("tools", "__main__.py", "hook_server.py")
    }
    assert files_of(package) == ours | {"LICENSE", "REUSE.toml", "VERSION"}
    assert all((package / name).read_bytes() == (PACKAGE / name).read_bytes() for name in ours)
    assert not [*package.rglob("*.pyc")]


def test_a_copy_says_what_it_is_and_what_its_license_is(tmp_path: Path) -> None:
    assert cli.main(["vendor", str(tmp_path)]) == 0
    package = tmp_path / "parallel_backend"
    fields = fields_of(package)
    assert (package / "LICENSE").read_bytes() == LICENSE
    assert fields["Version"] == PYPROJECT["project"]["version"]
    assert fields["SPDX-License-Identifier"] == PYPROJECT["project"]["license"] == "MIT"
    assert fields["Update"] == "parallel-backend vendor " + fields["Check"].rpartition(" ")[2]
    assert ("Commit" in fields) != ("Date" in fields)
    [everything] = tomllib.loads((package / "REUSE.toml").read_text())["annotations"]
    assert everything["path"] == "**"
    assert everything["SPDX-License-Identifier"] == "MIT"
    assert everything["SPDX-FileCopyrightText"] == fields["SPDX-FileCopyrightText"]
    assert everything["SPDX-FileCopyrightText"] in LICENSE.decode()


def test_vendor_prints_what_the_project_must_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_project(tmp_path / "project", build_system='requires = ["setuptools", "Cython"]')
    assert cli.main(["vendor", str(folder / "tools/backend")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"# parallel_backend [\d.]+, \d+ files, \d+ kB", lines[0])
    assert lines[1].startswith("# the copy needs Python 3.11 or newer to build; ")
    assert lines[2:-1] == [
        f"# in {folder / 'pyproject.toml'}",
        "[build-system]",
        'requires = ["setuptools", "Cython"]',
        'build-backend = "parallel_backend"',
        'backend-path = ["tools/backend"]',
        f"# in {folder / 'MANIFEST.in'}, so that an sdist has it too",
    ]
    assert lines[-1].startswith("recursive-include tools/backend *.py ")


@pytest.mark.parametrize(
    ("place", "pattern"), [(".", "parallel_backend"), ("odd dir \u00e9", "odd?dir?\u00e9")]
)
def test_the_line_for_an_sdist_takes_the_whole_copy_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, pattern: str
) -> None:
    """Its words are split at spaces."""
    folder = make_project(tmp_path / "project")
    assert cli.main(["vendor", str(folder / place)]) == 0
    words = capsys.readouterr().out.splitlines()[-1].split()
    assert words[:2] == ["recursive-include", pattern]
    names = [name.rpartition("/")[2] for name in files_of(folder / place / "parallel_backend")]
    assert [name for name in names if not any(fnmatch.fnmatch(name, p) for p in words[2:])] == []
    assert not any(fnmatch.fnmatch("hooks.cpython-312.pyc", p) for p in words[2:])


def test_check_says_if_a_copy_is_current(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["vendor", "--check", str(tmp_path)]
    package = tmp_path / "parallel_backend"
    assert cli.main(words) == 2
    assert capsys.readouterr().err.endswith(f"{package} is not a copy of parallel_backend\n")
    assert cli.main(["vendor", str(tmp_path)]) == 0
    (package / "__pycache__").mkdir()
    (package / "__pycache__/hooks.cpython-312.pyc").write_bytes(b"x")
    assert cli.main(words) == 0
    (package / "hooks.py").write_text("changed")
    (package / "rust.py").unlink()
    (package / "tools").mkdir()
    (package / "tools/more.py").write_text("")
    capsys.readouterr()
    assert cli.main(words) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{package / 'hooks.py'} differs",
        f"{package / 'rust.py'} is missing",
        f"{package / 'tools/more.py'} is not ours",
    ]
    assert cli.main(["vendor", str(tmp_path)]) == 0
    assert cli.main(words) == 0
    assert os.listdir(tmp_path) == ["parallel_backend"]


@pytest.mark.parametrize(
    ("line", "other", "status"),
    [
        ("Commit|Date", "0123456789abcdef", 0),  # the same files may be those of several commits
        ("Version", "0.0.1", 1),
        ("SPDX-License-Identifier", "GPL-3.0-only", 1),
        ("Update", "unknown", 1),
    ],
)
def test_check_compares_what_a_copy_says_of_itself(
    tmp_path: Path, line: str, other: str, status: int
) -> None:
    assert cli.main(["vendor", str(tmp_path)]) == 0
    version = tmp_path / "parallel_backend" / "VERSION"
    text = version.read_text()
    changed = re.sub(rf"(?m)^({line}): .*$", rf"\1: {other}", text)
    assert changed != text
    version.write_text(changed)
    assert cli.main(["vendor", "--check", str(tmp_path)]) == status


def test_a_current_copy_is_left_alone(tmp_path: Path) -> None:
    assert cli.main(["vendor", str(tmp_path)]) == 0
    before = {file: file.stat().st_ino for file in tmp_path.rglob("*")}
    assert cli.main(["vendor", str(tmp_path)]) == 0
    assert {file: file.stat().st_ino for file in tmp_path.rglob("*")} == before


def test_a_copy_that_cannot_be_replaced_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "parallel_backend"
    assert cli.main(["vendor", str(tmp_path)]) == 0
    (package / "rust.py").unlink()
    before = files_of(package)
    replace = os.replace

    def replace_no_new_one(source: Path, target: Path) -> None:
        if source.name == "new":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_no_new_one)
    assert cli.main(["vendor", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "parallel-backend: error: No space left on device\n"
    assert files_of(package) == before
    assert os.listdir(tmp_path) == ["parallel_backend"]


def test_vendor_overwrites_nothing_but_a_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "parallel_backend"
    package.mkdir()
    assert cli.main(["vendor", str(tmp_path)]) == 2
    assert "is not a copy of parallel_backend; it stays as it is" in capsys.readouterr().err
    assert [*package.iterdir()] == []
    assert cli.main(["vendor", str(SOURCE)]) == 2
    assert "is the running package itself" in capsys.readouterr().err


def test_a_project_that_cannot_be_read_gets_no_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text("[build-system")
    assert cli.main(["vendor", str(tmp_path / "own")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "own").exists()


def test_a_copy_for_a_project_that_names_us_already_keeps_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=80", "parallel-backend"]\n'
        'build-backend = "parallel_backend:legacy"\n'
    )
    assert cli.main(["vendor", str(tmp_path / "own")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'requires = ["setuptools>=80"]' in lines
    assert 'build-backend = "parallel_backend:legacy"' in lines


# --- where a copy comes from, by the package that makes it


def copy_package_to(folder: Path) -> Path:
    shutil.copytree(
        PACKAGE, folder / "parallel_backend", ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder


def vendor_from(source: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run the package that lies in `source`."""
    return subprocess.run(
        [sys.executable, "-m", "parallel_backend", "vendor", tmp_path / "made"],
        cwd=tmp_path,
        # As in a hook of git, which names the repository that it runs for.
        env=variables(tmp_path, {"PYTHONPATH": str(source), "GIT_DIR": str(tmp_path / "none")}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_copy_names_the_commit_of_the_repository_that_it_was_made_in(tmp_path: Path) -> None:
    if not shutil.which("git"):
        pytest.skip("there is no git")
    repository = tmp_path / "repository"
    source = copy_package_to(repository / "src")
    for name in (".gitignore", "LICENSE", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, repository)

    def git(*words: str) -> str:
        named = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        command = ["git", "-C", str(repository), *named, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--no-verify", "--message", "all")
    git("remote", "add", "origin", "https://me:secret@example.org/me/parallel_backend.git")
    package = tmp_path / "made" / "parallel_backend"
    assert vendor_from(source, tmp_path).returncode == 0
    fields = fields_of(package)
    assert fields["Commit"] == git("rev-parse", "HEAD")
    assert fields["Origin"].endswith(" https://example.org/me/parallel_backend.git")

    with (source / "parallel_backend" / "rust.py").open("a") as file:
        file.write("# a change\n")
    git("remote", "set-url", "origin", "/home/me/parallel_backend")
    assert vendor_from(source, tmp_path).returncode == 0
    fields = fields_of(package)
    assert fields["Commit"] == f"{git('rev-parse', 'HEAD')}, with changes that are not committed"
    assert fields["Origin"] == "the Python distribution parallel-backend"  # no path of a machine


@pytest.mark.parametrize(
    ("direct_url", "commit"),
    [
        (None, None),
        ({"url": "file:///home/me/parallel_backend", "dir_info": {}}, None),
        (
            {"url": "https://example.org/p.git", "vcs_info": {"vcs": "git", "commit_id": "123"}},
            "123",
        ),
    ],
)
def test_a_copy_made_by_an_installed_package_says_what_its_installer_wrote_down(
    tmp_path: Path, direct_url: dict[str, object] | None, commit: str | None
) -> None:
    site = copy_package_to(tmp_path / "site")
    information = site / "parallel_backend-7.8.9.dist-info"
    (information / "licenses").mkdir(parents=True)
    (information / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: parallel-backend\nVersion: 7.8.9\n"
    )
    (information / "licenses" / "LICENSE").write_text("these terms\n")
    if direct_url is not None:
        (information / "direct_url.json").write_text(json.dumps(direct_url))
    done = vendor_from(site, tmp_path)
    assert done.returncode == 0, done.stderr
    package = tmp_path / "made" / "parallel_backend"
    fields = fields_of(package)
    assert (package / "LICENSE").read_text() == "these terms\n"
    assert fields["Version"] == "7.8.9"
    assert fields.get("Commit") == commit
    assert ("Date" in fields) == (commit is None)
    assert ("https://example.org" in fields["Origin"]) == (commit is not None)
    assert "home" not in (package / "VERSION").read_text()


def test_a_package_without_its_license_makes_no_copy(tmp_path: Path) -> None:
    done = vendor_from(copy_package_to(tmp_path / "site"), tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has no LICENSE and no version beside it; install parallel-backend" in done.stderr
    assert not (tmp_path / "made").exists()
