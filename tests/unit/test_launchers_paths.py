"""Names that are the same in every build, and commands in pieces; without a build."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path

import pytest

from parallel_backend.launchers import Launcher
from parallel_backend.launchers.stable_paths import StablePaths, mapped, stable_paths, wrapped
from parallel_backend.settings import Settings

PROJECT, ENVIRONMENT = "/srv/project", "/tmp/env-x"
PATHS = StablePaths(PROJECT, "build/f", {ENVIRONMENT: "build/f/environment"})


@pytest.mark.parametrize(
    ("given", "renamed"),
    [
        ("-I/srv/project/include", "-Iinclude"),
        ("-I/srv/project", "-I."),
        ("-I/srv/project/", "-I./"),
        ("-I/srv/project//include", "-Iinclude"),
        ("-I/srv/project/-odd", "-I./-odd"),
        ("-I/srv/projects/include", "-I/srv/projects/include"),
        ("-I /tmp/env-x/include", "-I build/f/environment/include"),
        ("-isystem/tmp/env-x/a -c", "-isystembuild/f/environment/a -c"),
        ("-isystem /tmp/env-x -c", "-isystem build/f/environment -c"),
        ("-include /srv/project/all.h", "-include all.h"),
        ("-c /srv/project/src/a.c", "-c src/a.c"),
        ("-o /srv/project/build/a.o", "-o /srv/project/build/a.o"),
        ("-MF /srv/project/a.d -MD", "-MF /srv/project/a.d -MD"),
        ("-DHERE=/srv/project/x -D /srv/project/y", "-DHERE=/srv/project/x -D /srv/project/y"),
        ("-Wp,-v -L/srv/project/lib", "-Wp,-v -L/srv/project/lib"),
        ("-Iinclude -I../other a.c", "-Iinclude -I../other a.c"),
    ],
)  # fmt: skip
def test_what_a_command_reads_is_renamed_and_nothing_else(given: str, renamed: str) -> None:
    assert PATHS.renamed(given.split()) == renamed.split()


def test_an_environment_inside_the_project_is_called_by_its_link() -> None:
    paths = StablePaths("/p", "build/f", {"/p/.venv": "build/f/environment"})
    assert paths.renamed(["-I/p/.venv/include", "-I/p/inc"]) == [
        "-Ibuild/f/environment/include",
        "-Iinc",
    ]


def test_names_hold_in_the_projects_folder_as_long_as_links_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "overlay" / "site-packages")])
    with stable_paths(str(tmp_path)) as paths:
        assert paths.hold(str(tmp_path))
        assert paths.folder
        assert not paths.hold(str(tmp_path / "sub"))
        names = [link.name for link in Path(paths.folder).iterdir()]
        assert any(name.startswith("packages") for name in names)
        shutil.rmtree("build")
        assert not paths.hold(str(tmp_path))


def test_builds_at_once_have_different_links_and_too_many_have_none(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(stable_paths(str(tmp_path))).folder for _ in range(17)]
    assert many[-1] is None
    assert len(set(many)) == 17
    with stable_paths(str(tmp_path)) as paths:
        assert paths.folder == many[0]
    assert not list(tmp_path.glob("build/parallel-backend/*/*"))


def test_without_a_build_folder_there_are_no_links(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("a file\n", encoding="utf-8")
    with stable_paths(str(tmp_path)) as paths:
        assert paths.folder is None
        assert wrapped("gcc", paths) == []


def test_headers_of_another_version_have_links_of_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages)])
    names: list[str | None] = []
    for version, file in (("1", "a.h"), ("2", "a.h"), ("2", "a.h")):
        info = packages / f"pkg-{version}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "RECORD").write_text(f"pkg/{file},,\n", encoding="utf-8")
        (packages / f"other-{len(names)}.dist-info").mkdir()
        (packages / f"other-{len(names)}.dist-info" / "RECORD").write_text("other.py,,\n", "utf-8")
        with stable_paths(str(tmp_path)) as paths:
            names.append(paths.folder)
        if version == "1":
            shutil.rmtree(info)
    assert names[0] != names[1]
    assert names[1] == names[2]


def test_paths_that_no_map_can_tell_are_not_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "a=b"
    odd.mkdir()
    monkeypatch.chdir(odd)
    with stable_paths(str(odd)) as paths:
        assert mapped(["gcc"], paths) == []
        assert wrapped("gcc", paths) == []


def launcher(*words: str, setting: str | None = None) -> Launcher:
    return Launcher(Settings(launcher=setting), list(words), [])


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("gcc -c a.c", "/bin/mine gcc -c a.c"),
        ("ccache gcc -c a.c", "ccache gcc -c a.c"),
        ("/usr/bin/sccache wrapper gcc -c a.c", "/usr/bin/sccache wrapper gcc -c a.c"),
        ("mine gcc -c a.c", "mine gcc -c a.c"),
        ("", ""),
    ],
)
def test_a_launcher_is_put_before_what_has_none(
    tmp_path: Path, command: str, expected: str
) -> None:
    words, variables = launcher("/bin/mine").launched(command.split(), "/project")
    assert (" ".join(words), variables) == (expected, {})


def test_a_farm_is_recognized_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CC", "CXX", "CCACHE_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    none = launcher()
    assert not none.names(["distcc"])
    assert none.names(["distcc"], ["/opt/distcc", "gcc"])
    assert launcher("/usr/bin/distcc").names(["distcc"])
    for name, value in (("CC", "distcc gcc"), ("CXX", "x/distcc g++"), ("CCACHE_PREFIX", "distcc")):
        with monkeypatch.context() as told:
            told.setenv(name, value)
            assert none.names(["distcc"])
    monkeypatch.setenv("CC", "gcc 'unfinished")
    assert not none.names(["distcc"])


def test_nothing_is_launched_where_the_user_says_none(tmp_path: Path) -> None:
    words = ["ccache", "gcc", "-I/x", "-c", "a.c"]
    assert launcher(setting="none").launched(words, "/project") == (words, {})
