"""Settings in files: setup.cfg, what DIST_EXTRA_CONFIG names, and pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

import settings_harness
from parallel_backend.errors import ParallelBackendError, SettingsError
from parallel_backend.settings import Settings
from settings_harness import Read, fails, write

read = settings_harness.read


def test_build_ext_comes_before_build(read: Read, tmp_path: Path) -> None:
    write(tmp_path / "setup.cfg", "[build]\nparallel = 3\n[build_ext]\nparallel = 2\n")
    assert read().jobs == 2


def test_setup_cfg_is_read_as_setuptools_reads_it(read: Read, tmp_path: Path) -> None:
    write(
        tmp_path / "setup.cfg",
        """\
        [DEFAULT]
        n = 3
        [build]
        PARALLEL : 9
        Parallel =
            %(n)s
        """,
    )
    assert read().jobs == 3


@pytest.mark.parametrize("value", ["0", "auto", "", "true", "two"])
def test_a_wrong_parallel_in_setup_cfg_names_the_file(
    read: Read, tmp_path: Path, value: object
) -> None:
    write(tmp_path / "setup.cfg", f"[build_ext]\nparallel = {value}\n")
    assert fails(read) == (
        f"[build_ext] parallel in setup.cfg: {value!r} is not allowed; "
        "allowed is a whole number from 1"
    )


@pytest.mark.parametrize(
    "text",
    [
        "parallel = 3",
        "[build_ext]\nparallel = %(",
        "[build_ext]\ndebug = 1\n",
        "[metadata]\nname = parallel\n",
    ],
)
def test_a_setup_cfg_that_tells_nothing_or_is_broken_is_left_to_setuptools(
    read: Read, tmp_path: Path, text: str
) -> None:
    write(tmp_path / "setup.cfg", text)
    assert read() == Settings()


def test_a_setup_cfg_that_is_not_utf_8_is_left_to_setuptools(read: Read, tmp_path: Path) -> None:
    (tmp_path / "setup.cfg").write_bytes(b"[build_ext]\nparallel = 3\n# \xe4\n")
    assert read().jobs is None


def test_a_broken_extra_config_is_one_line_that_names_it(read: Read, tmp_path: Path) -> None:
    path = write(tmp_path / "x.cfg", "[build]\n[build]\n")
    message = fails(lambda: read(DIST_EXTRA_CONFIG="x.cfg"))
    assert message.startswith(
        f"DIST_EXTRA_CONFIG names {path}, which cannot be read: While reading"
    )


def test_an_extra_config_that_is_not_utf_8_is_one_line_that_names_it(
    read: Read, tmp_path: Path
) -> None:
    path = tmp_path / "x.cfg"
    path.write_bytes(b"# \xe4\n")
    assert str(path) in fails(lambda: read(DIST_EXTRA_CONFIG=str(path)))


@pytest.mark.parametrize("name", ["missing.cfg", "."])
def test_an_extra_config_that_is_not_a_file_is_passed_over(
    read: Read, tmp_path: Path, name: str
) -> None:
    assert read(DIST_EXTRA_CONFIG=str(tmp_path / name)) == Settings()


def test_an_empty_dist_extra_config_is_not_set(read: Read) -> None:
    assert read(DIST_EXTRA_CONFIG="") == Settings()


def test_pyproject_tells_every_key(read: Read, tmp_path: Path) -> None:
    write(
        tmp_path / "pyproject.toml",
        """\
        [tool.parallel-backend]
        jobs = 3
        lock-timeout = 60
        memory-per-job = "1GiB"
        keep-going = true
        """,
    )
    assert read() == Settings(
        jobs=3,
        jobs_source="[tool.parallel-backend] jobs in pyproject.toml",
        memory_per_job=2**30,
        keep_going=True,
        lock_timeout=60,
    )


def test_an_unknown_key_in_pyproject_names_the_nearest(read: Read, tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool.parallel-backend]\nmemory = 3\n")
    assert fails(lambda: read({"jobs": "4"})) == (
        "[tool.parallel-backend] in pyproject.toml: unknown key 'memory'; "
        "the nearest is 'memory-per-job', "
        "known are jobs, memory-per-job, keep-going, fresh, store-size, "
        "lock-timeout, launcher, local-jobs, timings"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[tool.parallel-backend]\njobs = -1",
            (
                "[tool.parallel-backend] jobs in pyproject.toml: -1 is not allowed; "
                'allowed is a whole number from 1, or "auto"'
            ),
        ),
        (
            "[tool.parallel-backend]\ntimings = 1.5",
            (
                "[tool.parallel-backend] timings in pyproject.toml: 1.5 is not allowed; "
                "allowed is the path of a folder"
            ),
        ),
        (
            "[tool.parallel-backend]\ntimings = 3",
            (
                "[tool.parallel-backend] timings in pyproject.toml: 3 is not allowed; "
                "allowed is the path of a folder"
            ),
        ),
        (
            '[tool.parallel-backend]\ntimings = ""',
            (
                "[tool.parallel-backend] timings in pyproject.toml: '' is not allowed; "
                "allowed is the path of a folder"
            ),
        ),
        (
            "tool.parallel-backend = 4",
            (
                "[tool.parallel-backend] in pyproject.toml: 4 is not allowed; "
                "allowed is a table of jobs, memory-per-job, keep-going, fresh, "
                "store-size, lock-timeout, launcher, local-jobs, timings"
            ),
        ),
        (
            "[tool.parallel_backend]\njobs = 1",
            "[tool.parallel_backend] in pyproject.toml: the table is [tool.parallel-backend]",
        ),
    ],
)
def test_a_wrong_value_in_pyproject_names_place_and_key(
    read: Read, tmp_path: Path, text: str, message: str
) -> None:
    write(tmp_path / "pyproject.toml", text)
    assert fails(read) == message


@pytest.mark.parametrize("data", [b"[tool", b"\xff", b"x = " + b"[" * 100_000, b"tool = 3", b""])
def test_a_broken_pyproject_is_left_to_setuptools(read: Read, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "pyproject.toml").write_bytes(data)
    assert read() == Settings()


def test_every_error_has_one_base() -> None:
    assert issubclass(SettingsError, ParallelBackendError)
