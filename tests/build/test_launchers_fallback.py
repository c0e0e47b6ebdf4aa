"""What a launcher does without where it cannot have it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from parallel_backend.launchers.stable_paths import stable_paths, wrapped


def test_a_program_of_ours_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with stable_paths(str(tmp_path)) as paths:
        shutil.rmtree(tmp_path / "build")
        assert wrapped("gcc", paths) == []
        assert wrapped("no-such-compiler", paths) == []
