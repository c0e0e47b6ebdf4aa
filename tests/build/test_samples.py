"""Every sample project, one a defect, gives the wheel of a serial build by plain setuptools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import (
    PACKAGES,
    PLAIN_BACKEND,
    QUICK_COMPILE,
    build_wheel,
    copy_package,
    expectation,
    load_extension_values,
    run_hook,
    serial_wheel,
    wheel_bytes_equal,
)

SAMPLES = sorted(folder.name for folder in PACKAGES.iterdir() if folder.is_dir())
BUILT = [name for name in SAMPLES if not expectation(name).fails]
BROKEN = [name for name in SAMPLES if expectation(name).fails]

# With how many jobs every sample is built.
JOBS = (1, 2, 8)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all builds: equal bytes need equal paths."""
    return tmp_path_factory.mktemp("samples")


def _fresh(name: str, workshop: Path) -> Path:
    missing = expectation(name).missing
    if missing:
        pytest.skip(f"this machine has no {missing}")
    return copy_package(name, workshop)


def _values(name: str, wheel: Path) -> dict[str, Any]:
    """The sample's expressions with what `wheel` makes of them."""
    expressions = expectation(name).values
    return dict(
        zip(expressions, load_extension_values(wheel, f"[{', '.join(expressions)}]"), strict=True)
    )


@pytest.mark.parametrize("name", BUILT)
def test_plain_setuptools_gives_the_expected_values(name: str, workshop: Path) -> None:
    """The samples themselves are right: what follows compares with this wheel."""
    wheel = serial_wheel(_fresh(name, workshop), env=QUICK_COMPILE)
    assert _values(name, wheel) == expectation(name).values


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize("name", BUILT)
def test_a_sample_gives_the_serial_wheel(name: str, jobs: int, workshop: Path) -> None:
    folder = _fresh(name, workshop)
    serial = serial_wheel(folder, env=QUICK_COMPILE)
    wheel = build_wheel(folder, jobs=jobs, env=QUICK_COMPILE)
    if wheel.read_bytes() != serial.read_bytes():
        # Wrong values tell more than a list of members; right ones leave the bytes to be shown.
        assert _values(name, wheel) == expectation(name).values
    assert wheel_bytes_equal(wheel, serial)


@pytest.mark.parametrize("backend", [PLAIN_BACKEND, "parallel_backend"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_source_that_does_not_compile_fails_the_build_and_is_named(
    name: str, backend: str, tmp_path: Path
) -> None:
    folder = copy_package(name, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    done = run_hook(folder, "build_wheel", out, backend=backend, env=QUICK_COMPILE)
    assert done.returncode != 0, done.output
    assert expectation(name).fails in done.stderr, done.output
    assert not list(out.iterdir())
