"""What a compiler is: which results are its own, and where it looks for headers."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from parallel_backend.records import compilers
from parallel_backend.records.compilers import Compilers, program_of
from parallel_backend.records.environment_prefix import from_record, to_record, without_places

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="asks gcc what it is")


def identity(
    command: list[str], *, source: str = "a.c", environ: Mapping[str, str] | None = None
) -> str:
    """As a new build learns it."""
    return Compilers().of_source(command, source, environ or os.environ).identity


def script(path: Path, text: str = "exec gcc") -> list[str]:
    path.write_text(f'#!/bin/sh\n{text} "$@"\n')
    path.chmod(0o755)
    return [os.fspath(path), "-O2"]


@needs_gcc
def test_gcc_is_the_same_in_every_build(monkeypatch: pytest.MonkeyPatch) -> None:
    first = identity(["gcc", "-O2"])
    assert first
    # gcc tells the jobserver that it finds; other variables are new in every terminal.
    monkeypatch.setenv("MAKEFLAGS", " -j3 --jobserver-auth=fifo:/nowhere")
    monkeypatch.setenv("TERM_SESSION_ID", "another")
    monkeypatch.setenv("MY_OWN", "value")
    assert identity(["gcc", "-O0"]) == first


@needs_gcc
@pytest.mark.parametrize("name", ["CPATH", "C_INCLUDE_PATH", "SOURCE_DATE_EPOCH", "GCC_EXEC_X"])
def test_a_variable_that_gcc_reads_counts(name: str) -> None:
    plain = {key: value for key, value in os.environ.items() if key != name}
    one, other = ({**plain, name: value} for value in ("1", "2"))
    found = {identity(["gcc"], environ=each) for each in (plain, one, other)}
    assert len(found) == 3


@needs_gcc
def test_the_language_and_the_processor_count() -> None:
    found = {
        identity(["gcc"]),
        identity(["gcc"], source="a.cpp"),
        identity(["gcc", "-mtune=native"]),
    }
    assert len(found) == 3


@needs_gcc
def test_a_script_counts_by_its_text_and_by_every_variable(tmp_path: Path) -> None:
    command = script(tmp_path / "gcc")
    first = identity(command)
    assert first
    stamp = (tmp_path / "gcc").stat()
    script(tmp_path / "gcc")  # written again: another inode
    os.utime(tmp_path / "gcc", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert identity(command) == first
    script(tmp_path / "gcc", "exec  gcc")
    assert identity(command) != first
    assert identity(command, environ={**os.environ, "MY_OWN": "1"}) != identity(command)
    assert identity(command, environ={**os.environ, "PWD": "/x"}) == identity(command)


@needs_gcc
def test_a_launcher_s_own_settings_do_not_count(tmp_path: Path) -> None:
    script(tmp_path / "ccache", "exec")
    command = [os.fspath(tmp_path / "ccache"), "gcc", "-O2"]
    first = identity(command)
    assert first
    assert identity(command, environ={**os.environ, "CCACHE_DIR": "/elsewhere"}) == first


@pytest.mark.parametrize(
    "command",
    [[], ["no-such-compiler"], ["false"], ["true"], [sys.executable], ["-O2"]],
    ids=["none", "missing", "fails", "silent", "another program", "options alone"],
)
def test_what_does_not_tell_has_no_identity(command: list[str]) -> None:
    assert identity(command) == ""
    assert Compilers().of_link(command, os.environ).identity == ""


@needs_gcc
def test_it_is_asked_once(tmp_path: Path) -> None:
    command = script(tmp_path / "cc", f'echo x >> "{tmp_path}/asked"; exec gcc')
    compilers = Compilers()
    for _ in range(3):
        compilers.of_source(command, "a.c", os.environ)
        compilers.of_source([*command, "-DX"], "b.c", os.environ)
    assert (tmp_path / "asked").read_text() == "x\n"


@needs_gcc
def test_it_tells_where_it_looks_for_headers() -> None:
    compilers = Compilers()
    for source in ("a.c", "a.cpp"):
        folders = compilers.of_source(["gcc"], source, os.environ).folders
        assert folders
        assert all(os.path.isdir(folder) for folder in folders)
    assert "/usr/include" in compilers.of_source(["gcc"], "a.c", os.environ).folders


def test_the_program_is_what_stands_before_the_options() -> None:
    assert program_of(["ccache", "gcc", "-O2", "a.c"]) == ("ccache", "gcc")
    assert program_of(["gcc"]) == ("gcc",)
    assert program_of([]) == ()


# --- places


@pytest.fixture
def isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip makes an isolated environment: folders on the path of the base interpreter."""
    packages = "lib/python3.12/site-packages"
    monkeypatch.setattr(sys, "prefix", "/tmp/env-1")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(
        sys,
        "path",
        [f"/tmp/env-10/overlay/{packages}", f"/tmp/env-10/normal/{packages}", "/usr/lib/python3"],
    )


@pytest.mark.usefixtures("isolated")
def test_a_place_that_is_new_in_every_build_is_a_word() -> None:
    for path in (
        "/tmp/env-1/include/a.h",
        "/tmp/env-10/overlay/lib/python3.12/site-packages/numpy/a.h",
        "/tmp/env-10/normal/include/b.h",
    ):
        recorded = to_record(path)
        assert "/tmp" not in recorded
        assert from_record(recorded) == path
    for path in ("/tmp/env-11/a.h", "/usr/include/a.h", "a.h", "{other}/a.h", ""):
        assert from_record(path) == to_record(path) == path


@pytest.mark.usefixtures("isolated")
def test_a_place_counts_in_no_text() -> None:
    text = without_places("-I/tmp/env-1/include:/tmp/env-1 -I/tmp/env-11 /tmp/env-10/overlay/x")
    assert "/tmp/env-1/" not in text
    assert "overlay" not in text
    assert "-I/tmp/env-11" in text


def test_a_program_that_is_gone_is_known_by_its_path(tmp_path: Path) -> None:
    program = tmp_path / "program"
    assert compilers._stamp_of(str(program)) == str(program)
    program.write_text("1")
    first = compilers._stamp_of(str(program))
    program.write_text("10")
    assert compilers._stamp_of(str(program)) != first
