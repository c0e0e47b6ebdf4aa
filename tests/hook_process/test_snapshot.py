"""Promise P5: after a hook all that one can see of the interpreter is as it was before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from harness import PACKAGES, QUICK_COMPILE, expectation
from hook_sequences import WAYS, Outcome, Sample, call, run_together
from snapshots import faults
from standard_hooks import HOOKS
from state_samples.telling import METADATA, WHEEL

PACKAGE_NAMES = sorted(folder.name for folder in PACKAGES.iterdir() if folder.is_dir())
ALL_HOOKS = "shared_source"
# Of each package in one process. A fork first, that finds the caller as it was imported; then twice
# in place, the first of them compiles; then a fork again, with all that has been imported by now.
TURNS = [("fork", METADATA), ("in-place", WHEEL), ("in-place", WHEEL), ("fork", WHEEL)]


def _outcomes(name: str, turns: Sequence[tuple[str, str]], work: Path) -> list[Outcome]:
    here = name if (PACKAGES / name / "pyproject.toml").exists() else f"{name}/project"
    steps = [call(hook, here, settings={"jobs": "2", "hooks": way}) for way, hook in turns]
    sample = Sample(trees={name: PACKAGES / name}, steps=steps, env=dict(QUICK_COMPILE))
    outcomes = run_together(sample, work, looks=True)
    assert len(outcomes) == len(turns)
    return outcomes


@cache
def _package(name: str, workshop: Path) -> list[Outcome]:
    return _outcomes(name, TURNS, workshop / name)


def _faults(
    outcomes: Sequence[Outcome], turns: Sequence[tuple[str, str]], *, way: str
) -> Iterator[str]:
    """What hooks of one way have left that they may not leave."""
    seen: set[tuple[str, str]] = set()
    for turn, outcome in zip(turns, outcomes, strict=True):
        if turn[0] == way:
            for fault in faults(outcome["left"], way=way, again=turn in seen):
                yield f"{turn[1]}{', again' if turn in seen else ''}: {fault}"
        seen.add(turn)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where packages are built, once for all tests."""
    return tmp_path_factory.mktemp("snapshots")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PACKAGE_NAMES)
def test_the_caller_is_as_it_was_after_hooks_of_a_package(
    name: str, way: str, workshop: Path
) -> None:
    expected = expectation(name)
    if expected.missing:
        pytest.skip(f"this machine has no {expected.missing}")
    outcomes = _package(name, workshop)
    for (turn, hook), outcome in zip(TURNS, outcomes, strict=True):
        fails = bool(expected.fails and hook == WHEEL)
        assert turn != way or ("error" in outcome) == fails, outcome
    found = list(_faults(outcomes, TURNS, way=way))
    if found:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.mark.parametrize("way", WAYS)
def test_the_caller_is_as_it_was_after_each_of_all_hooks(way: str, tmp_path: Path) -> None:
    turns = [(way, hook) for hook in HOOKS * 2]
    outcomes = _outcomes(ALL_HOOKS, turns, tmp_path)
    assert all("result" in outcome for outcome in outcomes)
    found = list(_faults(outcomes, turns, way=way))
    if found:
        pytest.fail("\n".join(found), pytrace=False)
