"""What the tests of settings share: settings read in an empty folder, and their errors."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from parallel_backend.errors import SettingsError
from parallel_backend.settings import Settings, read_settings

__all__ = ["Read", "fails", "read", "write"]

Read: TypeAlias = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(config_settings: dict[str, Any] | None = None, **environ: str) -> Settings:
        return read_settings(config_settings=config_settings, environ=environ, folder=tmp_path)

    return read


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def fails(call: Callable[[], object]) -> str:
    with pytest.raises(SettingsError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message
