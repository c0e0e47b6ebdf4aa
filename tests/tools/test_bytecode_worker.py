"""The worker, in this process: what it is told, and what it answers."""

from __future__ import annotations

import gc
import marshal
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bytecode_harness import written
from parallel_backend.tools.bytecode import worker

TASK = ([(0, b".pyc"), (1, b".opt-1.pyc"), (2, b".opt-2.pyc")], "timestamp", False, b".mark")


@pytest.fixture(autouse=True)
def _collector_stays_on() -> Iterator[None]:
    yield
    gc.enable()


def serve(*messages: object) -> tuple[list[Any], int]:
    """What a worker answers to messages, and how many files it says were begun."""
    into, orders = os.pipe()
    answers, out = os.pipe()
    begun = os.memfd_create("begun")
    with open(orders, "wb") as stream:
        for message in messages:
            data = marshal.dumps(message, 2)  # type: ignore[arg-type]
            stream.write(len(data).to_bytes(4, "little") + data)
    with open(into, "rb") as stream:
        worker.main(stream, out, begun)
    os.close(out)
    found = []
    with open(answers, "rb") as stream:
        while length := stream.read(4):
            found.append(marshal.loads(stream.read(int.from_bytes(length, "little"))))
    count = int.from_bytes(os.pread(begun, 4, 0), "little")
    os.close(begun)
    return found, count


def test_it_greets_and_ends_without_orders() -> None:
    [greeting], count = serve()
    magic = bytes(greeting[1])
    assert greeting == (sys.version_info[:2], magic, sys.implementation.cache_tag)
    assert (len(magic), count) == (4, 0)


def test_it_answers_each_batch(tmp_path: Path) -> None:
    def file(name: str) -> tuple[bytes, bytes, None]:
        path = os.fsencode(tmp_path / name)
        return path, path + b".tag", None

    (tmp_path / "a.py").write_text("def f():\n  '''text'''\n  assert {f in {'a', 'b'}}\n")
    (tmp_path / "sets.py").write_text("def f(): return {'a_', 1, 2}\ndef g(): return {'a_', 1, 2}")
    (tmp_path / "bad.py").write_text("x = 1\ny = )\n")
    (tmp_path / "mem.py").symlink_to("/proc/self/mem")
    (tmp_path / "limit.py").symlink_to("/proc/self/oom_score_adj")  # a number, of no known size
    batches = [
        [file("a.py"), file("gone.py"), file("limit.py")],
        [file("bad.py"), file("mem.py"), file("sets.py")],
    ]
    [_, *answers], count = serve(TASK, *batches)
    assert answers == [
        (1, None, None),
        3,
        (0, 2, "SyntaxError: unmatched ')'"),
        (1, None, "cannot be read: Input/output error"),
        3,
    ]
    assert count == 6
    names = {os.fsdecode(name) for name in written(tmp_path)}
    endings = (".pyc", ".opt-1.pyc", ".opt-2.pyc")
    assert names == {f"{name}.py.tag{each}" for name in ("a", "limit", "sets") for each in endings}


@pytest.mark.parametrize(
    ("text", "levels", "expected"),
    [
        (b"x = 1\n", (0, 1), True),
        (b"x = 1\n", (0, 2), True),
        (b"assert x\n", (0, 1), False),
        (b"assert x\n", (1, 2), True),
        (b"x = __debug__\n", (0, 2), False),
        (b"'doc'\n", (0, 1), True),
        (b"'doc'\n", (1, 2), False),
        (b'"doc"\n', (0, 2), False),
        ("\uff3f = 1".encode(), (0, 1), False),
        (b"# coding: utf-8\n", (0, 1), True),
        (b"#!x\r# -*- coding: utf-8; -*-\r", (0, 1), True),
        (b"# coding: utf-7\n", (0, 1), False),
        (b"# coding=utf-7 coding: utf-8\n", (0, 1), False),
        (b"# coding\n", (0, 1), True),
        (b"# coding:\n", (0, 1), False),
        (b"\n\n# coding: utf-7\n", (0, 1), True),
    ],
)
def test_levels_are_alike_only_where_that_is_sure(
    text: bytes, levels: tuple[int, int], expected: bool
) -> None:
    assert worker._are_alike(*levels, text) is expected


def test_sets_that_several_functions_have_are_written_alike_whatever_was_compiled_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As from Python 3.12 on. Whether another object is interned for a string is what could differ.
    monkeypatch.setattr(worker, "_KEEPS_STRINGS", True)
    (tmp_path / "a.py").write_text(
        "def f(x): return x in {'once_a', 'once b', 1}\n"
        "def g(x): return x in {'once_a', 'once b', 1}\n"
        "def h(x): return x in {'other_a', 2}\n"
    )
    path = os.fsencode(tmp_path / "a.py")
    worker.Compiler(*TASK).compile(path, path, None)
    first = (tmp_path / "a.py.pyc").read_bytes()
    worker.Compiler(*TASK).compile(path, path, None)
    assert (tmp_path / "a.py.pyc").read_bytes() == first


def test_equal_levels_are_links_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("'doc'\n")
    path = os.fsencode(tmp_path / "a.py")
    for mode, flags in (("checked-hash", 3), ("unchecked-hash", 1)):
        compiler = worker.Compiler(TASK[0], mode, True, b".mark")
        compiler.compile(path, path + b".tag", b"/shown.py")
        files = [tmp_path / f"a.py.tag{ending.decode()}" for _, ending in TASK[0]]
        assert [file.stat().st_nlink for file in files] == [2, 2, 1]
        assert [file.read_bytes()[4] for file in files] == [flags] * 3
        assert marshal.loads(files[0].read_bytes()[16:]).co_filename == "/shown.py"


def test_what_cannot_be_written_is_a_problem_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    path = os.fsencode(tmp_path / "a.py")
    compiler = worker.Compiler(*TASK)
    with pytest.raises(worker.Problem, match=r"a\.py/x\.pyc cannot be written: Not a directory"):
        compiler.compile(path, path + b"/x", None)
    (tmp_path / "x.pyc").mkdir()
    with pytest.raises(worker.Problem, match=r"x\.pyc is not a regular file"):
        compiler.compile(path, os.fsencode(tmp_path / "x"), None)
    linking = worker.Compiler(TASK[0], "timestamp", True, b".mark")
    compiler.compile(path, os.fsencode(tmp_path / "new/folder/y"), None)
    (tmp_path / "new/folder/y.opt-1.pyc.mark").touch()
    with pytest.raises(worker.Problem, match=r"y\.opt-1\.pyc cannot be written: File exists"):
        linking.compile(path, os.fsencode(tmp_path / "new/folder/y"), None)
    assert {os.path.basename(name) for name in written(tmp_path / "new")} == {
        b"y.pyc",
        b"y.opt-1.pyc",
        b"y.opt-2.pyc",
    }
