"""Promise P5: hooks in one process give what hooks in fresh processes give, and leave nothing.

Every sample of `state_samples` is a sequence that goes wrong where plain setuptools' hooks share a
process.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hook_sequences import (
    WAYS,
    Outcome,
    Sample,
    call,
    differing_lines,
    project,
    run_fresh,
    run_together,
)
from snapshots import faults
from state_samples import SAMPLES
from state_samples.telling import METADATA, told_by


def _cases() -> list[Any]:
    cases = []
    for name, sample in SAMPLES.items():
        for way in WAYS:
            reason = sample.in_place if way == "in-place" else ""
            marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
            cases.append(pytest.param(name, way, marks=marks, id=f"{name}-{way}"))
    return cases


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all runs: equal bytes need equal paths."""
    return tmp_path_factory.mktemp("sequences")


@cache
def _fresh(name: str, workshop: Path) -> list[Outcome]:
    return run_fresh(SAMPLES[name], workshop / name)


@cache
def _together(name: str, way: str, workshop: Path) -> list[Outcome]:
    return run_together(SAMPLES[name], workshop / name, way=way, looks=True)


@pytest.mark.parametrize(("name", "way"), _cases())
def test_one_process_gives_what_fresh_ones_give(name: str, way: str, workshop: Path) -> None:
    fresh = _fresh(name, workshop)
    together = [
        {key: value for key, value in outcome.items() if key != "left"}
        for outcome in _together(name, way, workshop)
    ]
    if together != fresh:
        pytest.fail("\n".join(differing_lines(fresh, together)), pytrace=False)


@pytest.mark.parametrize(("name", "way"), _cases())
def test_no_hook_leaves_anything_in_its_caller(name: str, way: str, workshop: Path) -> None:
    found = [
        f"{outcome['project']}, {outcome['hook']}: {fault}"
        for outcome in _together(name, way, workshop)
        for fault in faults(outcome["left"], way=way)
    ]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.mark.parametrize(("way", "processes"), [("fork", 2), ("in-place", 1)])
def test_the_two_ways_are_a_process_for_each_hook_and_the_callers_own(
    way: str, processes: int, tmp_path: Path
) -> None:
    files = project("one", setup=told_by("one", tells="os.getpid()"))
    sample = Sample(files=files, steps=[call(METADATA), call(METADATA)])
    outcomes = run_together(sample, tmp_path / "work", way=way)
    texts = {outcome["made"]["one-1.0.dist-info"][1]["METADATA"][1] for outcome in outcomes}
    assert len(texts) == processes
