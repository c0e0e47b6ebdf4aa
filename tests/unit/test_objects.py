"""Objects: names made from commands, each path given once."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from parallel_backend.engine.objects import Objects, object_key

COMMAND = ["cc", "-O2", "-DA=1", "-Iinclude", "-c", "a.c", "-o", ""]


@pytest.fixture(autouse=True)
def _in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    (tmp_path / "private").mkdir()
    return Objects(tmp_path / "private")


# --- names


@pytest.mark.parametrize("position", range(len(COMMAND)))
def test_a_command_that_differs_in_one_word_has_another_key(position: int) -> None:
    other = list(COMMAND)
    other[position] += "x"
    assert object_key(other) != object_key(COMMAND)


@pytest.mark.parametrize(
    "other",
    [
        [*COMMAND, ""],
        COMMAND[:-1],
        COMMAND[::-1],
        ["cc -O2", *COMMAND[2:]],
        ["cc", "-O2-DA=1", *COMMAND[3:]],
    ],
    ids=["longer", "shorter", "order", "joined by a space", "joined"],
)
def test_where_words_begin_and_end_counts(other: list[str]) -> None:
    assert object_key(other) != object_key(COMMAND)


def test_equal_commands_have_one_key() -> None:
    assert object_key(COMMAND) == object_key(tuple(COMMAND))
    assert len(object_key(COMMAND)) == 20


def test_the_scope_and_the_folder_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {object_key(COMMAND), object_key(COMMAND, scope="a"), object_key(COMMAND, scope="b")}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    keys |= {object_key(COMMAND), object_key(COMMAND, scope="a")}
    assert len(keys) == 5


def test_the_prefix_of_an_isolated_environment_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = set()
    for prefix in ("/tmp/env-1", "/tmp/env-2"):
        monkeypatch.setattr(sys, "prefix", prefix)
        keys.add(object_key([*COMMAND, f"-I{prefix}/include"]))
    assert len(keys) == 1


def test_the_prefix_of_an_interpreter_of_its_own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = set()
    for prefix in ("/opt/1", "/opt/2"):
        monkeypatch.setattr(sys, "prefix", prefix)
        monkeypatch.setattr(sys, "base_prefix", prefix)
        keys.add(object_key([*COMMAND, f"-I{prefix}/include"]))
    assert len(keys) == 2


def test_words_that_are_no_text_have_a_key() -> None:
    assert object_key([os.fsdecode(b"caf\xe9.c")]) != object_key(["café.c"])


# --- paths


def test_a_path_keeps_its_base_name_in_a_folder_of_its_own(objects: Objects) -> None:
    with objects.entry("key") as entry:
        path = entry.new_path("build/temp/src/a.o")
        other = entry.new_path("build/temp/src/a.o")
        below = entry.new_path("src/a.o", below="private")
    assert Path(path).name == Path(other).name == Path(below).name == "a.o"
    assert Path(path).parent.parent == Path("build/temp/src")
    assert Path(below).parent.parent == Path("private")
    assert len({path, other, below}) == 3
    assert all(Path(each).parent.is_dir() for each in (path, other, below))


def test_threads_never_get_one_path(objects: Objects) -> None:
    paths: list[str] = []
    inside: list[int] = []

    def take() -> None:
        for _ in range(25):
            with objects.entry("key") as entry:
                inside.append(1)
                assert len(inside) == 1
                paths.append(entry.new_path("build/a.o"))
                inside.pop()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == len(paths) == 100
