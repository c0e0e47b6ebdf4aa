"""Whether a command has to run: by what it has read, wherever that lies."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from parallel_backend.engine import inputs, reuse
from parallel_backend.engine.reuse import Compilation, Link

from parallel_backend.records.compilers import Compilers
from parallel_backend.records.fingerprints import time_of
from parallel_backend.records.installation import Installation
from parallel_backend.records.store import open_store

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc compiles, and tells")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source, a header of its own, and one that is installed, in the second of two folders."""
    monkeypatch.setattr(inputs, "_INSTALLED", (*inputs._INSTALLED, f"{tmp_path}/installed/"))
    project = tmp_path / "project"
    for folder in (project, tmp_path / "installed/first", tmp_path / "installed/second"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(project)
    (tmp_path / "installed/second/far.h").write_text("#define FAR 1\n")
    Path("near.h").write_text("#define NEAR 1\n")
    Path("a.c").write_text('#include "near.h"\n#include <far.h>\nint a = NEAR + FAR;\n')
    Path("private").mkdir()


def new_engine() -> Any:
    private = Path("private")
    return SimpleNamespace(
        store=open_store(Path("build"), private, limit=1 << 30, fresh=False),
        compilers=Compilers(),
        installation=Installation(),
        texts={},
        searched={},
        private=private,
    )


def nothing() -> None:
    pass


def compiled(
    meanwhile: Callable[[], object] = nothing, adjusted: Callable[[Any], object] = lambda _: None
) -> bool:
    """Compile as a build of its own does; whether the compiler ran.

    `meanwhile`: what happens while it runs. `adjusted`: is given what is expected before it ends.
    """
    engine = new_engine()
    folders = [f"-I{Path.cwd().parent}/installed/{name}" for name in ("first", "second")]
    expected = Compilation(engine, "a.o", "a.c", rule="a.o.d")
    words = expected.begin(["gcc", "-O0", *folders, "-c", "a.c", "-o", "a.o"], None)
    if words is None:
        assert expected.reused
        return False
    subprocess.run(words, check=True)
    meanwhile()
    adjusted(expected)
    expected.finish()
    expected.clean_up()
    assert not Path("a.o.d").exists()
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
    seen: list[Compilation] = []
    assert compiled(Path("near.h").unlink, seen.append)
    stamps = {known.path: known.stamp for known in seen[0].inputs}
    assert stamps["near.h"] is None
    assert stamps["a.c"]
    assert not list(Path("build/parallel-backend/objects").iterdir())


def test_a_header_of_the_very_moment_in_which_it_began_is_not_kept() -> None:
    def same_moment(expected: Compilation) -> None:
        expected._began = time_of("near.h")

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


@pytest.mark.parametrize(
    "words",
    [["gcc", "-c", "a.c"], ["gcc", "-c", "a.c", "a.o"], ["gcc", "-specs=gone", "-o", "a.o", "a.c"]],
    ids=["no output", "no -o", "unknown specifications"],
)
def test_a_command_that_is_another_one_or_cannot_be_known_runs_as_it_is(words: list[str]) -> None:
    expected = Compilation(new_engine(), "a.o", "a.c", rule="a.o.d")
    assert expected.begin(words, None) == words


@pytest.mark.parametrize(
    ("objects", "target"), [(["gone.o"], "a.so"), (["a.c"], "a,b.so")], ids=["gone", "comma"]
)
def test_a_link_of_objects_that_cannot_be_known_runs_as_it_is(
    objects: list[str], target: str
) -> None:
    expected = Link(new_engine(), target, objects=objects, temporary="")
    words = ["gcc", "-shared", *objects, "-o", target]
    assert expected.begin(words, None) == words


def test_the_folder_counts_by_the_name_that_debug_information_gives_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(Path.cwd())
    link = str(tmp_path / "link")
    assert reuse._folder({"PWD": link}) == link
    assert reuse._folder({"PWD": str(tmp_path)}) == ""
    assert reuse._folder({"PWD": os.getcwd()}) == ""
    assert reuse._folder({}) == ""
