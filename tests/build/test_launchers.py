"""Compile caches find what was compiled in another environment, and in another folder."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import wheel_bytes_equal
from launcher_harness import SOURCES, Cache, Shim, environment, make_tree


@pytest.fixture(params=["ccache", "sccache"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cache]:
    if shutil.which(request.param) is None:
        pytest.skip(f"program {request.param}")
    cache = Cache(request.param, tmp_path / "cache")
    try:
        yield cache
    finally:
        cache.close()


@pytest.mark.slow
def test_a_new_environment_and_another_folder_have_only_hits_and_the_uncached_result(
    cache: Cache, tmp_path: Path
) -> None:
    first = environment(tmp_path / "env-Xa")
    second = environment(tmp_path / "environment-b")
    here = make_tree(tmp_path / "here" / "sample", first)
    elsewhere = make_tree(tmp_path / "elsewhere" / "deeper" / "sample", second)

    wheel = here.wheel(launcher=cache.name, env=cache.env)
    assert cache.counted() == (0, SOURCES)

    for tree, python in ((here, second), (elsewhere, first), (elsewhere, second)):
        shutil.rmtree(tree.folder / "build", ignore_errors=True)
        again = dataclasses.replace(tree, python=python).wheel(launcher=cache.name, env=cache.env)
        assert wheel_bytes_equal(wheel, again)
        assert cache.counted() == (SOURCES, 0)

    shutil.rmtree(here.folder / "build")
    passes_on = Shim(tmp_path / "bin", cache.name)
    uncached = here.wheel(launcher=str(passes_on.path))
    assert len(passes_on.commands()) == SOURCES
    assert wheel_bytes_equal(uncached, wheel)


def test_a_cache_in_the_users_own_compiler_is_treated_alike(cache: Cache, tmp_path: Path) -> None:
    first = make_tree(tmp_path / "a" / "sample", environment(tmp_path / "one"))
    second = make_tree(tmp_path / "b" / "sample", environment(tmp_path / "two"))
    wheel = first.wheel(launcher=cache.name, env=cache.env)
    cache.counted()

    compilers = {"CC": f"{cache.program} gcc", "CXX": f"{cache.name} g++"}
    again = second.wheel(env={**cache.env, **compilers})

    assert cache.counted() == (SOURCES, 0)
    assert wheel_bytes_equal(wheel, again)


@pytest.mark.slow
def test_a_changed_header_of_the_environment_is_compiled_anew(cache: Cache, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "sample", environment(tmp_path / "one"))
    tree.wheel(launcher=cache.name, env=cache.env)
    cache.counted()

    shutil.rmtree(tree.folder / "build")
    changed = environment(tmp_path / "two")
    header = tmp_path / "two" / "include" / "theirs.h"
    header.write_text(header.read_text("utf-8").replace("__FILE__", '"changed"'), encoding="utf-8")
    wheel = dataclasses.replace(tree, python=changed).wheel(launcher=cache.name, env=cache.env)

    assert cache.counted() == (1, SOURCES - 1)  # src/two.c does not read it
    shutil.rmtree(tree.folder / "build")
    passes_on = Shim(tmp_path / "bin", cache.name)
    uncached = dataclasses.replace(tree, python=changed).wheel(launcher=str(passes_on.path))
    assert wheel_bytes_equal(uncached, wheel)


@pytest.mark.slow
def test_builds_at_once_in_one_tree_read_each_its_own_environment(tmp_path: Path) -> None:
    one = environment(tmp_path / "one")
    two = environment(tmp_path / "two")
    header = tmp_path / "two" / "include" / "theirs.h"
    header.write_text(header.read_text("utf-8").replace("__FILE__", '"two"'), encoding="utf-8")
    plain = Shim(tmp_path / "plain", "ccache")
    tree = make_tree(tmp_path / "sample", one)
    expected = {}
    for python in (one, two):
        lone = dataclasses.replace(tree, python=python)
        expected[python] = lone.wheel(launcher=str(plain.path))
        shutil.rmtree(tree.folder / "build")

    # Of what builds share in a tree, this is about the links alone.
    apart = tmp_path / "apart.cfg"
    apart.write_text("[build]\nbuild_base = other\n", encoding="utf-8")
    # The first build is held before its first compile until the second one is done.
    arrived, go = tmp_path / "arrived", tmp_path / "go"
    os.mkfifo(arrived)
    os.mkfifo(go)
    held = Shim(
        tmp_path / "held", "ccache", text=f'case "$*" in *one.c*) : >{arrived}; : <{go};; esac'
    )
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(tree.wheel, launcher=str(held.path))
        arrived.read_bytes()
        second = dataclasses.replace(tree, python=two).wheel(
            launcher=str(plain.path), env={"DIST_EXTRA_CONFIG": str(apart)}
        )
        go.write_bytes(b"")
        assert wheel_bytes_equal(expected[two], second)
        assert wheel_bytes_equal(expected[one], first.result())
    links = list(tree.folder.glob("build/parallel-backend/env.*/*"))
    assert links == []
