"""The short form of tests/long/long_race.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from long_race import race


@pytest.mark.slow
def test_every_build_of_the_shared_source_project_is_right_under_load(tmp_path: Path) -> None:
    faults = race(builds=3, jobs=8, load=3, folder=tmp_path, backend="parallel_backend")
    assert list(faults) == [""] * 3


def test_a_wrong_result_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the racing build gives, when it does: whether it does is chance.
    monkeypatch.setattr("long_race.load_extension_values", lambda wheel, expression: [2, 2, 2, 2])
    [fault] = race(builds=1, jobs=4, load=0, folder=tmp_path, backend="extra-config")
    assert "is [2, 2, 2, 2], not [" in fault
