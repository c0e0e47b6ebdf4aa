"""Which files a command has read, where others would have come first, and whether they changed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import strategies as st

from parallel_backend.records import fingerprints
from parallel_backend.records.fingerprints import (
    Input,
    digest,
    has_changed,
    installed,
    look_at,
    now_at,
    time_of,
)
from parallel_backend.records.headers import Search, absent_of, read_rule, told_apart

GCC = shutil.which("gcc")
PAST = 10**9  # nanoseconds after 1970


@pytest.fixture(autouse=True)
def _in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# --- rules


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.o: a.c\n", ["a.c"]),
        ("a.o: a.c a.h\n", ["a.c", "a.h"]),
        ("a.o: a.c \\\n a.h \\\n b.h\n", ["a.c", "a.h", "b.h"]),
        ("a.o: a.c \\\r\n a.h\r\n", ["a.c", "a.h"]),
        ("a.o: \\\n a.c\n", ["a.c"]),
        ("a.o: a\\ b.c\n", ["a b.c"]),
        ("a.o: a\\#b.c\n", ["a#b.c"]),
        ("a.o: a$$b.c\n", ["a$b.c"]),
        ("a.o: a$$$$b.c\n", ["a$$b.c"]),
        ("a.o: a\\b.c\n", ["a\\b.c"]),
        ("a.o: C:\\inc\\a.h d:/b.h\n", ["C:\\inc\\a.h", "d:/b.h"]),
        ("C:/out/a.o: a.c\n", ["a.c"]),
        ("dir:with/colon.o: a.c\n", ["a.c"]),
        ("a.o: a.c\n\na.h:\nb.h:\n", ["a.c"]),
        ("a.o:\ta.c\n", ["a.c"]),
        ("a.o:\n", []),
        ("", []),
    ],
)
def test_the_prerequisites_of_a_rule_are_read(text: str, names: list[str]) -> None:
    assert read_rule(text.encode()) == names


# Whatever may stand in a name but what no compiler can tell in a rule: a line's end, and a
# backslash, which gcc doubles only before some characters.
NAMES = st.text(
    st.sampled_from("ab.-_+=,~@%^&()[]{}!'`;<>|*?\"é€ #$:"), min_size=1, max_size=12
).filter(lambda name: name.strip() == name and name not in (".", ".."))


# --- files


def test_a_file_that_stays_has_not_changed(tmp_path: Path) -> None:
    (tmp_path / "a.h").write_text("1")
    for content in (True, False):
        assert not has_changed(look_at("a.h", content=content))


def test_a_file_with_other_content_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.h"
    path.write_text("1")
    before = look_at("a.h")
    path.write_text("2")
    os.utime(path, ns=(PAST, PAST))
    assert has_changed(before)


def test_the_same_content_written_again_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "a.h"
    path.write_text("1")
    known, unhashed = look_at("a.h"), look_at("a.h", content=False)
    path.unlink()
    path.write_text("1")
    os.utime(path, ns=(PAST, PAST))
    assert not has_changed(known)
    assert has_changed(unhashed)


def test_a_file_that_appears_or_goes_has_changed(tmp_path: Path) -> None:
    missing = look_at("a.h")
    assert missing == Input("a.h", [], "")
    assert not has_changed(missing)
    (tmp_path / "a.h").write_text("1")
    present = look_at("a.h")
    assert has_changed(missing)
    (tmp_path / "a.h").unlink()
    assert has_changed(present)


def test_a_file_that_may_have_changed_meanwhile_counts_as_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.h"
    path.write_text("1")
    changed = time_of(str(path))
    assert look_at("a.h", since=changed).stamp is not None
    late = look_at("a.h", since=changed - 1)
    assert late.stamp is None
    assert late.content == digest(b"1")
    assert has_changed(late)


def test_a_large_file_has_no_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_LARGE", 10)
    (tmp_path / "large").write_bytes(b"0" * 10)
    assert look_at("large").content
    (tmp_path / "large").write_bytes(b"0" * 11)
    assert look_at("large").stamp
    assert not look_at("large").content


def test_the_names_in_a_folder_are_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.h").touch()
    known = look_at("folder")
    (tmp_path / "folder" / "a.h").write_text("other text")
    (tmp_path / "folder" / "b.h").touch()
    assert has_changed(known)
    (tmp_path / "folder" / "b.h").unlink()
    assert not has_changed(known)


def test_a_link_that_leads_elsewhere_has_changed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    (tmp_path / "a.h").symlink_to("one")
    before = look_at("a.h")
    (tmp_path / "a.h").unlink()
    (tmp_path / "a.h").symlink_to("two")
    assert has_changed(before)


def test_the_time_of_a_folder_is_never_later_than_what_is_written_next(tmp_path: Path) -> None:
    for _ in range(20):
        now = now_at("new/deep")
        (tmp_path / "later").write_text("x")
        assert time_of("later") >= now


# --- what is installed


def test_the_interpreter_and_the_system_are_installed() -> None:
    is_installed = installed()
    for folder in (sys.prefix, sys.base_prefix, "/usr/include"):
        assert is_installed(os.path.join(folder, "Python.h"))
    assert not is_installed("/usrlocal/a.h")
    assert not is_installed(f"{sys.prefix}-other/a.h")


def test_the_project_s_files_are_not_installed(tmp_path: Path) -> None:
    is_installed = installed()
    for name in ("a.h", "usr/include/a.h", str(tmp_path / "a.h")):
        assert not is_installed(name)


def test_a_project_inside_an_interpreter_s_folder_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "_INSTALLED", (str(tmp_path) + os.sep,))
    project = tmp_path / "src" / "project"
    project.mkdir(parents=True)
    monkeypatch.chdir(project)
    is_installed = installed()
    assert is_installed(str(tmp_path / "include" / "a.h"))
    assert is_installed(str(tmp_path / "src" / "project-other" / "a.h"))
    assert not is_installed(str(project / "a.h"))


# --- what would come first


def search(names: list[str], command: Sequence[str]) -> Search:
    return Search(*told_apart(names, installed()), command, installed())


def shadowing(names: list[str], *command: str) -> set[str]:
    return {os.path.normpath(path) for path in search(names, command).shadows()}


@pytest.fixture
def headers(tmp_path: Path) -> None:
    """Folders ``one`` and ``two`` with a header each, and an empty one."""
    for folder in ("src", "one", "two", "empty"):
        (tmp_path / folder).mkdir()
    (tmp_path / "src" / "a.c").touch()
    (tmp_path / "one" / "one.h").touch()
    (tmp_path / "two" / "two.h").touch()


@pytest.mark.usefixtures("headers")
@pytest.mark.parametrize("form", ["-Iempty", "-I empty", "-isystem empty", "-iquote empty"])
def test_a_header_could_appear_in_every_folder_before_its_own(form: str) -> None:
    command = ["cc", *form.split(), "-Itwo", "-c", "src/a.c"]
    assert shadowing(["src/a.c", "two/two.h"], *command) >= {"empty/two.h", "src/two.h"}


@pytest.mark.usefixtures("headers")
def test_a_header_that_was_read_is_no_rival_of_its_own() -> None:
    paths = shadowing(["src/a.c", "one/one.h"], "cc", "-Ione/", "-I./one", "-Iempty")
    assert {"src/one.h", "empty/one.h"} <= paths
    assert "one/one.h" not in paths


@pytest.mark.usefixtures("headers")
def test_a_folder_that_is_not_there_stands_for_all_that_could_be_in_it() -> None:
    paths = shadowing(["src/a.c", "two/two.h"], "cc", "-Igenerated", "-Itwo")
    assert "generated" in paths
    assert "generated/two.h" not in paths


@pytest.mark.usefixtures("headers")
def test_what_follows_a_search_folder_is_looked_for_in_the_others(tmp_path: Path) -> None:
    (tmp_path / "two" / "deep").mkdir()
    (tmp_path / "two" / "deep" / "d.h").touch()
    command = ["cc", "-Ione", "-Itwo"]
    # ``one/deep`` is not there: it would have to come first.
    assert "one/deep" in shadowing(["src/a.c", "two/deep/d.h"], *command)
    (tmp_path / "one" / "deep").mkdir()
    assert "one/deep/d.h" in shadowing(["src/a.c", "two/deep/d.h"], *command)


@pytest.mark.usefixtures("headers")
def test_an_installed_header_can_be_shadowed_by_the_project() -> None:
    paths = shadowing(["src/a.c", "/usr/include/stdio.h"], "cc", "-Ione")
    assert {"one/stdio.h", "src/stdio.h"} <= paths


@pytest.mark.usefixtures("headers")
def test_nothing_installed_is_expected_to_appear() -> None:
    paths = shadowing(["src/a.c", "two/two.h"], "cc", f"-I{sys.prefix}", "-I/usr/lib", "-Itwo")
    assert not [path for path in paths if path.startswith((sys.prefix, "/usr"))]


@pytest.mark.usefixtures("headers")
def test_a_source_without_headers_has_no_rival() -> None:
    assert shadowing(["a.c"], "cc", "-Ione") == set()
    assert shadowing([], "cc", "-Ione") == set()


def test_paths_that_could_shadow_are_told_apart_by_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    paths = ["missing", "there", "missing", "dangling"]
    absent, present = absent_of(paths, time_of("there"))
    assert absent == ["missing"]
    assert [known.path for known in present] == ["there", "dangling"]
    assert present[0].stamp
