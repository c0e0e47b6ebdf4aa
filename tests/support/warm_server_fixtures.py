"""A pytest plugin for the tests of a warm hook server: one, and a backend that tells of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hook_server_harness import FAKE, Wire, made_up_environment, open_wire


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def warm_environment(tmp_path: Path, site: Path) -> dict[str, str]:
    return made_up_environment(
        site, STARTS=str(tmp_path / "starts"), IMPORTS=str(tmp_path / "imports")
    )


@pytest.fixture
def fake(environment: dict[str, str], site: Path) -> Path:
    """In place of setuptools, in the environment."""
    package = site / "setuptools"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "build_meta.py").write_text(FAKE)
    return package / "build_meta.py"


@pytest.fixture
def warm(environment: dict[str, str]) -> Iterator[Wire]:
    with open_wire(environment=environment) as wire:
        yield wire
