"""A jobserver that goes away while a build runs: that is told once, and the build goes on."""

from __future__ import annotations

import os
import tty
from pathlib import Path

import pytest

from watched_builds import (
    eventually,
    most_at_once,
    running_build,
    write_compiler,
    write_extensions,
)

GOING_ON = "; going on with one job"


def test_a_jobserver_that_has_ended_leaves_one_job(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 3, "b": 2, "c": 1})
    env = write_compiler(tmp_path / "cc", 'log "+"\nsleep 0.02\nfake\nlog "-"')
    flags = {"MAKEFLAGS": " -j --jobserver-auth=fifo:/dev/null"}
    with running_build(folder, env={**env, **flags}) as build:
        done = build.finish()
        assert done.returncode == 0, done.output
        build.assert_nothing_is_left()
    told = f"parallel-backend: the jobserver at /dev/null has ended{GOING_ON}"
    assert done.stderr.splitlines().count(told) == 1, done.output
    assert most_at_once(tmp_path / "cc.log") == 1


def test_a_jobserver_that_goes_away_in_mid_build_takes_no_token_back(tmp_path: Path) -> None:
    try:
        master, slave = os.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal here: {error}")
    tty.setraw(slave)
    os.write(master, b"x")
    folder = write_extensions(tmp_path / "parts", {"a": 3, "b": 1, "c": 1})
    log, go = tmp_path / "cc.log", tmp_path / "go"
    env = write_compiler(tmp_path / "cc", f"log '+'\npatiently test -e '{go}'\nfake")
    flags = {"MAKEFLAGS": f" -j --jobserver-auth=fifo:{os.ttyname(slave)}"}
    with running_build(folder, env={**env, **flags}) as build:
        eventually(lambda: log.read_text().count("+") == 2, "its token is in use")
        for descriptor in (slave, master):
            os.close(descriptor)
        go.touch()
        done = build.finish()
        assert done.returncode == 0, done.output
        build.assert_nothing_is_left()
    told = [line for line in done.stderr.splitlines() if line.endswith(GOING_ON)]
    assert len(told) == 1, done.output
