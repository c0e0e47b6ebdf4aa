"""For whom something is compiled: what is cancelled starts no more, and where its objects go."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from parallel_backend.engine.output import Cancelled, capturing
from parallel_backend.engine.scope import Scope


def a_scope(*, publish: bool = True) -> Scope:
    return Scope(name="extension 'a'", command=None, slots=cast("Any", None), publish=publish)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_job_of_a_scope_that_was_cancelled_starts_nothing(tmp_path: Path) -> None:
    scope = a_scope()
    with capturing(tmp_path):
        with scope.job() as job:
            assert not job.cancelled
        scope.cancel(signal.SIGTERM)
        before = open_descriptors()
        with scope.job() as job, pytest.raises(Cancelled):
            subprocess.Popen(["sh", "-c", f"echo >{tmp_path / 'ran'}"])
        assert job.cancelled
        assert open_descriptors() == before
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("links", [True, False], ids=["", "no hard links"])
def test_an_object_is_published_where_setuptools_has_it(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, plain = tmp_path / "made.o", tmp_path / "a.o"
    made.write_text("new")
    plain.write_text("of an earlier build")
    if not links:  # as on another file system than the private folder's

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
    scope = a_scope()
    scope.place(str(plain), str(made))
    assert scope.objects == {str(plain): str(made)}
    assert plain.read_text() == "new"
    assert os.path.samefile(plain, made) == links
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.o", "made.o"]


def test_an_earlier_object_is_gone_where_none_is_published(tmp_path: Path) -> None:
    made, plain = tmp_path / "made.o", tmp_path / "a.o"
    made.write_text("new")
    plain.write_text("of an earlier build")
    scope = a_scope(publish=False)
    scope.place(str(plain), str(made))
    scope.place(str(plain), str(made))
    assert scope.objects == {str(plain): str(made)}
    assert not plain.exists()
