"""What gcc reads, and writes into its rules, is what was expected of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_backend.records.fingerprints import installed
from parallel_backend.records.headers import Search, absent_of, read_rule, told_apart

GCC = shutil.which("gcc")


@pytest.fixture(autouse=True)
def _in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# Whatever may stand in a name but what no compiler can tell in a rule: a line's end, and a
# backslash, which gcc doubles only before some characters.
NAMES = st.text(
    st.sampled_from("ab.-_+=,~@%^&()[]{}!'`;<>|*?\"é€ #$:"), min_size=1, max_size=12
).filter(lambda name: name.strip() == name and name not in (".", ".."))


@pytest.mark.skipif(GCC is None, reason="gcc is what writes the rules")
@settings(max_examples=25, deadline=None)
@given(header=NAMES.filter(lambda name: '"' not in name), source=NAMES, target=NAMES)
def test_a_rule_that_gcc_wrote_gives_the_names_that_it_read(
    header: str, source: str, target: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="rule-") as folder:
        place = Path(folder)
        (place / "in").mkdir()
        (place / "in" / header).write_text("int i;\n")
        (place / f"{source}.c").write_text(f'#include "in/{header}"\n')
        done = subprocess.run(
            ["gcc", "-c", f"./{source}.c", "-o", f"./{target}.o", "-MD", "-MF", "rule"],
            cwd=place,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        rule = (place / "rule").read_bytes()
        names = read_rule(rule)
        own = [name for name in names if not name.startswith("/usr")]
        expected = {place / f"{source}.c", place / "in" / header}
        assert {place / name for name in own} == expected, rule


def search(names: list[str], command: Sequence[str]) -> Search:
    return Search(*told_apart(names, installed()), command, installed())


@pytest.fixture
def headers(tmp_path: Path) -> None:
    """Folders ``one`` and ``two`` with a header each, and an empty one."""
    for folder in ("src", "one", "two", "empty"):
        (tmp_path / folder).mkdir()
    (tmp_path / "src" / "a.c").touch()
    (tmp_path / "one" / "one.h").touch()
    (tmp_path / "two" / "two.h").touch()


@pytest.mark.usefixtures("headers")
@pytest.mark.skipif(GCC is None, reason="gcc is what finds the headers")
@pytest.mark.parametrize("include", ['"h.h"', "<h.h>", '"deep/h.h"', "<deep/h.h>"])
@pytest.mark.parametrize("late", ["src", "one", "two", "three"])
def test_every_header_that_would_be_found_first_was_expected(
    include: str, late: str, tmp_path: Path
) -> None:
    name = include.strip('<">')
    (tmp_path / "src" / "a.c").write_text(f"#include {include}\n")
    header = tmp_path / "three" / name
    header.parent.mkdir(parents=True)
    header.touch()
    command = ["gcc", "-E", "-M", "-iquote", "one", "-I", "two", "-isystem", "three", "src/a.c"]

    def reads() -> list[str]:
        done = subprocess.run(command, capture_output=True, check=True)
        return read_rule(done.stdout)

    before = reads()
    absent, _ = absent_of(search(before, command).shadows(), sys.maxsize)
    (tmp_path / late / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / late / name).touch()
    after = [os.path.normpath(path) for path in reads()]
    if [os.path.normpath(path) for path in before] != after:
        assert any(map(os.path.lexists, absent)), absent
