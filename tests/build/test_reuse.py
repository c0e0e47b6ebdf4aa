"""Whether a command has to run: by what it has read, wherever that lies."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_backend.records import fingerprints, record
from parallel_backend.records.fingerprints import time_of
from parallel_backend.records.record import CompileRecord, Records
from parallel_backend.records.store import open_store

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc compiles, and tells")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source, a header of its own, and one that is installed, in the second of two folders."""
    installed = (*fingerprints._INSTALLED, f"{tmp_path}/installed/")
    monkeypatch.setattr(fingerprints, "_INSTALLED", installed)
    project = tmp_path / "project"
    for folder in (project, tmp_path / "installed/first", tmp_path / "installed/second"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(project)
    (tmp_path / "installed/second/far.h").write_text("#define FAR 1\n")
    Path("near.h").write_text("#define NEAR 1\n")
    Path("a.c").write_text('#include "near.h"\n#include <far.h>\nint a = NEAR + FAR;\n')
    Path("private").mkdir()


_number = itertools.count()


def nothing() -> None:
    pass


def compiled(
    meanwhile: Callable[[], object] = nothing,
    adjusted: Callable[[CompileRecord], object] = lambda _: None,
) -> bool:
    """Compile as a build of its own does; whether the compiler ran.

    `meanwhile`: what happens while it runs. `adjusted`: is given the record before it ends.
    """
    store = open_store(Path("build"), Path("private"), limit=1 << 30, fresh=False)
    records = Records(store, folder=os.getcwd(), temporary="", build="this")
    directory = Path(f"private/{next(_number)}").absolute()
    directory.mkdir()
    output = str(directory / "a.o")
    folders = [f"-I{Path.cwd().parent}/installed/{name}" for name in ("first", "second")]
    words = ["gcc", "-O0", *folders, "-c", "a.c", "-o", ""]
    known = CompileRecord(records, words, os.environ, output=output, label="a.o", source="a.c")
    if known.take():
        assert known.holds()
        return False
    known.begin()
    subprocess.run([*words[:-1], output, *known.options()], check=True)
    meanwhile()
    adjusted(known)
    known.finish()
    assert [path.name for path in directory.iterdir()] == ["a.o"]
    return True


def installed(name: str) -> Path:
    return Path("../installed") / name


def test_nothing_changed_and_nothing_runs() -> None:
    assert compiled()
    assert not compiled()


@pytest.mark.parametrize("path", ["a.c", "near.h", "../installed/second/far.h"])
def test_times_do_not_count_and_contents_do(path: str) -> None:
    assert compiled()
    os.utime(path, (1, 1))
    assert not compiled()
    text = Path(path).read_text()
    Path(path).unlink()
    Path(path).write_text(text)
    assert not compiled()
    Path(path).write_text(text.replace("1", "2").replace("int a", "int b"))
    assert compiled()
    assert not compiled()


def test_an_installed_header_that_would_be_found_first_counts() -> None:
    assert compiled()
    installed("first/far.h").write_text("#define FAR 2\n")
    assert compiled()
    installed("first/far.h").unlink()
    assert compiled()


@pytest.mark.parametrize("path", ["a.c", "near.h"])
def test_what_changed_while_it_was_compiled_is_not_kept(path: str) -> None:
    text = Path(path).read_text()
    assert compiled(lambda: Path(path).write_text(f"{text}\n"))
    assert compiled()
    assert not compiled()


def test_a_header_that_was_read_and_is_gone_is_not_taken_for_one_that_is_as_it_was() -> None:
    seen: list[CompileRecord] = []
    assert compiled(Path("near.h").unlink, seen.append)
    assert not seen[0].holds()
    assert not list(Path("build/parallel-backend/objects").iterdir())


def test_a_header_of_the_very_moment_in_which_it_began_is_not_kept() -> None:
    def same_moment(known: CompileRecord) -> None:
        known._began = time_of("near.h")

    assert compiled(adjusted=same_moment)
    assert compiled()
    assert not compiled()


# What make escapes, and what Unicode takes for a space and make does not.
@pytest.mark.parametrize(
    "name", ["a b", "a\u3000b", "a\u00a0b", "a#b", "a$b", "a:b", "a\\b", "\xe4"]
)
def test_a_header_of_any_name_counts(name: str) -> None:
    Path(name).mkdir()
    Path(name, "odd.h").write_text("#define ODD 1\n")
    Path("a.c").write_text(f'#include "{name}/odd.h"\nint a = ODD;\n')
    assert compiled()
    Path(name, "odd.h").write_text("#define ODD 2\n")
    assert compiled()


def test_the_folder_counts_by_the_name_that_debug_information_gives_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(Path.cwd())
    link = str(tmp_path / "link")
    assert record._folder({"PWD": link}, os.getcwd()) == link
    assert record._folder({"PWD": str(tmp_path)}, os.getcwd()) == ""
    assert record._folder({"PWD": os.getcwd()}, os.getcwd()) == ""
    assert record._folder({}, os.getcwd()) == ""
