"""Where the objects of an extension go."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, cast

import pytest

from parallel_backend.engine.scope import Scope


def a_scope(*, publish: bool = True) -> Scope:
    return Scope(name="extension 'a'", command=None, slots=cast("Any", None), publish=publish)


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
