"""Promise P5: hooks in every order, for two projects in turn, in one process."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

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
from projects import TINY_C
from standard_hooks import HOOKS

SEEDS = [1, 2]

# Each changes what the other would see, and would see its own change, and both have a `helper`.
SETUP = """\
import os, sys
sys.path.insert(0, os.getcwd())
from setuptools import Extension, setup
from setuptools.command.build_py import build_py
import helper

os.environ["COUNT"] = str(int(os.environ.get("COUNT", "0")) + 1)
build_py.user_options.append(("own=", None, "own"))
told = f"{{helper.NAME}} {{os.environ['COUNT']}} {{len(build_py.user_options)}}"
setup(name="{name}", version="1.0", py_modules=["{name}"], description=told, {more})
"""


@cache
def _sample(seed: int) -> Sample:
    """All hooks of two projects, each project's in an order of its own."""
    files: dict[str, str] = {}
    for name, more in (("one", ""), ("two", 'ext_modules=[Extension("tiny", ["tiny.c"])]')):
        texts = {"helper.py": f"NAME = '{name}'\n", "tiny.c": TINY_C.format(name="tiny")}
        files |= project(name, setup=SETUP.format(name=name, more=more), files=texts)
    chance = random.Random(seed)
    orders = [chance.sample(HOOKS, len(HOOKS)) for _ in range(2)]
    steps = [
        call(hook, name)
        for pair in zip(*orders, strict=True)
        for hook, name in zip(pair, ("one", "two"), strict=True)
    ]
    return Sample(files=files, steps=steps, env={"CFLAGS": "-O0"})


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all runs: equal bytes need equal paths."""
    return tmp_path_factory.mktemp("orders")


@cache
def _fresh(seed: int, workshop: Path) -> list[Outcome]:
    return run_fresh(_sample(seed), workshop / str(seed))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", SEEDS)
def test_all_hooks_in_a_shuffled_order_give_what_fresh_processes_give(
    seed: int, way: str, workshop: Path
) -> None:
    fresh = _fresh(seed, workshop)
    assert len(fresh) == 2 * len(HOOKS)
    assert all("result" in outcome for outcome in fresh)
    together = run_together(_sample(seed), workshop / str(seed), way=way)
    if together != fresh:
        pytest.fail("\n".join(differing_lines(fresh, together)), pytrace=False)
