"""A full or read-only disk is a clear error, and half a file is never taken for whole."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness import build_wheel, serial_wheel, wheel_bytes_equal
from watched_builds import (
    NO_OPTIMISATION,
    can_mount,
    eventually,
    running_build,
    write_compiler,
    write_extensions,
)


def a_project(folder: Path) -> Path:
    return write_extensions(folder / "parts", {"a": 1, "b": 12, "c": 1})


def mounted(command: str) -> list[str]:
    """A launcher that runs `command`, which may mount, before what it launches."""
    launcher = can_mount()
    if not launcher:
        pytest.skip("mounting a file system is not allowed here")
    return [*launcher, "sh", "-c", f'{command} && exec "$@"', "sh"]


def test_a_full_disk_is_told_in_the_compiler_s_words(tmp_path: Path) -> None:
    folder = a_project(tmp_path)
    (folder / "build").mkdir()
    launcher = mounted(f"mount -t tmpfs -o size=48k tmpfs '{folder}/build'")
    with running_build(folder, env=NO_OPTIMISATION, launcher=launcher, jobs=3) as build:
        done = build.finish()
        assert done.returncode == 1, done.output
        build.assert_nothing_is_left()
    assert "No space left on device" in done.stderr[-1000:]
    assert "Traceback" not in done.stderr, done.output


@pytest.mark.slow
@pytest.mark.parametrize("inodes", [2, 4, 8])
def test_a_full_disk_for_temporary_files_is_a_clear_error(inodes: int, tmp_path: Path) -> None:
    folder = a_project(tmp_path)
    full = tmp_path / "full"
    full.mkdir()
    launcher = mounted(f"mount -t tmpfs -o nr_inodes={inodes} tmpfs '{full}'")
    env = {**NO_OPTIMISATION, "TMPDIR": str(full)}
    with running_build(folder, env=env, launcher=launcher, jobs=3) as build:
        done = build.finish()
        assert done.returncode == 1, done.output
        build.assert_nothing_is_left()
    assert "No space left on device" in done.stderr[-1000:], done.output
    assert "Traceback" not in done.stderr, done.output


@pytest.mark.parametrize("missing", ["/dev", "/proc"])
def test_a_build_goes_on_without(missing: str, tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 1, "b": 2})
    expected = serial_wheel(folder, env=NO_OPTIMISATION)
    launcher = mounted(f"mount -t tmpfs tmpfs {missing}")
    with running_build(folder, env=NO_OPTIMISATION, launcher=launcher, jobs=3) as build:
        done = build.finish()
        assert done.returncode == 0, done.output
        build.assert_nothing_is_left()
    assert wheel_bytes_equal(next(build.out.glob("*.whl")), expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["compile", "link"])
def test_a_file_that_was_cut_short_is_not_taken_for_whole(kind: str, tmp_path: Path) -> None:
    folder = a_project(tmp_path)
    expected = serial_wheel(folder, env=NO_OPTIMISATION)
    body = f'[ $kind = {kind} ] && ulimit -f 1\nreal "$@"'
    env = write_compiler(tmp_path / "cc", body)
    with running_build(folder, env=env, jobs=2) as build:
        done = build.finish()
        assert done.returncode == 1, done.output
        build.assert_nothing_is_left()
    built = build_wheel(folder, jobs=2, env=NO_OPTIMISATION)
    assert wheel_bytes_equal(built, expected)


def test_a_read_only_source_tree_is_a_clear_error(tmp_path: Path) -> None:
    folder = a_project(tmp_path)
    again = f"mount -o remount,bind,ro '{folder}'"
    launcher = mounted(f"mount --bind '{folder}' '{folder}' && {again} && cd '{folder}'")
    with running_build(folder, env=NO_OPTIMISATION, launcher=launcher, jobs=2) as build:
        done = build.finish()
        assert done.returncode == 1, done.output
        build.assert_nothing_is_left()
    assert "Read-only file system" in done.stderr.splitlines()[-1], done.output
    assert "Traceback" not in done.stderr, done.output


def test_a_source_tree_without_permission_to_write_is_a_clear_error(tmp_path: Path) -> None:
    launcher: list[str] = []
    if os.getuid() == 0:  # who may write everywhere, unless this power is taken away
        less = "-dac_override,-dac_read_search"
        launcher = ["setpriv", f"--inh-caps={less}", f"--bounding-set={less}"]
        try:
            subprocess.run([*launcher, "true"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("root may write everywhere, and setpriv cannot take this away here")
    folder = a_project(tmp_path)
    folder.chmod(0o555)
    try:
        with running_build(folder, env=NO_OPTIMISATION, launcher=launcher, jobs=2) as build:
            done = build.finish()
            assert done.returncode == 1, done.output
            build.assert_nothing_is_left()
    finally:
        folder.chmod(0o755)
    assert "Permission denied" in done.stderr.splitlines()[-1], done.output
    assert "Traceback" not in done.stderr, done.output


HALF = """
if [ $kind = {kind} ]; then
    log "$$"
    real "$@" && head -c 500 "$target" >"$target.half" && mv "$target.half" "$target"
    log half
    exec sleep 1000
fi
real "$@"
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["compile", "link"])
def test_half_an_object_or_library_is_not_taken_for_whole_after_a_kill(
    kind: str, tmp_path: Path
) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 1, "b": 3, "c": 1})
    expected = serial_wheel(folder, env=NO_OPTIMISATION)
    log = tmp_path / "cc.log"
    env = write_compiler(tmp_path / "cc", HALF.format(kind=kind))
    with running_build(folder, env=env, jobs=2) as build:
        eventually(lambda: "half" in log.read_text(), "half a file was written")
        build.kill()
    built = build_wheel(folder, jobs=2, env=NO_OPTIMISATION)
    assert wheel_bytes_equal(built, expected)


@pytest.mark.slow
@pytest.mark.parametrize("events", [1, 4, 7, 10])
def test_a_build_after_a_kill_at_any_moment_gives_the_whole_wheel(
    events: int, tmp_path: Path
) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 1, "b": 3, "c": 1})
    expected = serial_wheel(folder, env=NO_OPTIMISATION)
    log = tmp_path / "cc.log"
    env = write_compiler(tmp_path / "cc", 'log begin\nreal "$@"')
    with running_build(folder, env=env, jobs=2) as build:
        eventually(
            lambda: len(log.read_text()) >= 6 * events or build.process.poll() is not None,
            f"{events} commands have begun",
        )
        build.kill()
    built = build_wheel(folder, jobs=2, env=NO_OPTIMISATION)
    assert wheel_bytes_equal(built, expected)
