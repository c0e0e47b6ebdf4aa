"""Options that make the compiler write files named after an object: it tells setuptools' path."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from harness import build_wheel, copy_package, serial_wheel, understood, wheel_bytes_equal

# What the option writes beside an object, by the file's suffix.
OPTIONS = {
    "-fstack-usage": ".su",
    "--coverage -frandom-seed=1": ".gcno",
    "-g -gsplit-dwarf": ".dwo",
    "-save-temps=obj": ".i",
    "-MD": ".d",
}


def held_to_a_serial_build(options: str, tmp_path: Path) -> Path:
    """The project's folder, once its wheel is seen to be that of a serial build."""
    if not understood(options, tmp_path):
        pytest.skip(f"the compiler here does not know {options}")
    folder = copy_package("shared_source", tmp_path)
    env = {"CFLAGS": f"-O0 {options}"}
    expected = serial_wheel(folder, env=env)
    wheel = build_wheel(folder, jobs=4, env=env)
    assert wheel_bytes_equal(wheel, expected)
    return folder


@pytest.mark.parametrize("options", OPTIONS)
def test_an_object_that_tells_its_own_path_is_as_in_a_serial_build(
    options: str, tmp_path: Path
) -> None:
    folder = held_to_a_serial_build(options, tmp_path)
    # They are where setuptools has them, by the names that it gives to objects.
    written = {path.name for path in folder.glob(f"build/temp*/*{OPTIONS[options]}")}
    stems = {name.partition(".")[0].partition("-")[0] for name in written}
    assert stems == {"common", "north", "east", "south", "west"}


@pytest.mark.parametrize("options", ["-frecord-gcc-switches", "-g -grecord-gcc-switches"])
def test_an_object_that_tells_its_command_is_as_in_a_serial_build(
    options: str, tmp_path: Path
) -> None:
    held_to_a_serial_build(options, tmp_path)


def test_a_rule_file_of_somebody_else_beside_such_an_object_stays(tmp_path: Path) -> None:
    folder = copy_package("shared_source", tmp_path)
    platform = f"{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    rule = folder / "build" / f"temp.{platform}" / "common.o.d"
    rule.parent.mkdir(parents=True)
    rule.write_text("whose it is\n")
    build_wheel(folder, jobs=4, env={"CFLAGS": "-O0 -fstack-usage"})
    assert list(rule.parent.glob("*.su"))
    assert rule.read_text() == "whose it is\n"
