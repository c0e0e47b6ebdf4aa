"""The small parts: options that do not go together, paths in code, the report, signals."""

from __future__ import annotations

import marshal
import os
import selectors
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_backend.errors import SettingsError
from parallel_backend.tools.bytecode import Failure, Options, Report, compile_tree
from parallel_backend.tools.bytecode import handle as handle_module
from parallel_backend.tools.bytecode import pool as pool_module
from parallel_backend.tools.bytecode.interpreter import Interpreter
from parallel_backend.tools.cli import bytecode as command

OLD = Interpreter((3, 12), b"old.", "cpython-312")
NEW = Interpreter((3, 13), b"new.", "cpython-313")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(levels=()), "levels"),
        (Options(levels=(3,)), "allowed are -1, 0, 1 and 2"),
        (Options(levels=(0, 0), hardlink_dupes=True), "name several"),
        (Options(destination="/x", strip="y"), "destination"),
        (Options(timeout=0), "above 0"),
        (Options(mode="hash"), "'hash' is not allowed; allowed are timestamp, checked-hash"),
    ],
)
def test_a_wrong_option_is_named(options: Options, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        compile_tree(tmp_path, options)


@pytest.mark.parametrize(
    ("path", "options", "old", "new"),
    [
        ("/a/b/c.py", Options(), None, None),
        ("/a/b/c.py", Options(strip="/a"), "b/c.py", "b/c.py"),
        ("/a/b/c.py", Options(strip="/a", prepend="/z"), "/z/b/c.py", "/z/b/c.py"),
        ("/a/b/c.py", Options(strip="/x/b"), "a/c.py", None),
        ("/a/b/c.py", Options(strip="/a/"), "b/c.py", None),
        ("a/b/c.py", Options(strip="x", prepend="/z"), "/z/a/b/c.py", "/z/a/b/c.py"),
        ("top/b/c.py", Options(destination="/d"), "/d/b/c.py", "/d/b/c.py"),
        ("top", Options(destination="/d"), "/d/top", "/d/top"),
    ],
)
def test_the_path_in_the_code_is_that_of_the_interpreters_compileall(
    path: str, options: Options, old: str | None, new: str | None
) -> None:
    # Until 3.12 parts were stripped wherever they stood: python/cpython#105931.
    assert OLD.shown(path, "top", options) == old
    assert NEW.shown(path, "top", options) == new


def test_the_closing_line_counts_what_there_is() -> None:
    report = Report(
        files=4,
        compiled=1,
        up_to_date=2,
        failures=(Failure("a.py", None, "gone"),),
        records=("RECORD",),
        jobs=3,
        seconds=1.26,
    )
    assert report.closing_line() == (
        "parallel-backend: 1 compiled, 2 up to date, 1 failed, 1 RECORD changed in 1.3 s on 3 jobs"
    )


def test_an_answer_that_came_in_parts_is_read_whole() -> None:
    answers, into = os.pipe()
    orders, printed = os.pipe()
    message = marshal.dumps((1, 2, "three"), 2)
    data = len(message).to_bytes(4, "little") + message
    with open(orders, "rb") as stdout:
        process = SimpleNamespace(stdout=stdout)
        ends = (-1, answers, -1)
        handle = handle_module.Handle(process=process, fds=ends, token=None, mark=b"")  # type: ignore[arg-type]
        for part, expected in ((data[:3], []), (data[3:9], []), (data[9:], [(1, 2, "three")])):
            os.write(into, part)
            assert [*handle.read()] == expected
        os.set_blocking(orders, False)
        assert not handle.read_output()
        os.write(printed, b"words")
        assert handle.read_output()
    for fd in (answers, into, printed):
        os.close(fd)


def test_what_a_worker_that_has_closed_its_output_prints_is_not_waited_for() -> None:
    printed, into = os.pipe()
    os.close(into)
    pool: Any = pool_module.Pool.__new__(pool_module.Pool)
    with selectors.DefaultSelector() as pool._selector, open(printed, "rb", buffering=0) as stream:
        pool._selector.register(stream, selectors.EVENT_READ)
        handle = SimpleNamespace(output=stream.fileno(), read_output=lambda: bool(stream.read(1)))
        pool._listen(handle)
        assert not pool._selector.get_map()
        pool._listen(handle)  # and once is enough


@pytest.fixture
def _handlers_are_put_back() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    saved = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in saved.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers_are_put_back")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_command_ends_by_the_signal_that_ended_its_work(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sent = []
    monkeypatch.setattr(os, "kill", lambda *args: sent.append(args))
    monkeypatch.setattr(command, "compile_tree", lambda *_, **__: signal.raise_signal(number))
    assert command.main(["tree"]) == 128 + number
    assert sent == [(os.getpid(), number)]
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.usefixtures("_handlers_are_put_back")
def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    seen = []

    def compile_tree(*_: object, **__: object) -> Report:
        seen.append(signal.getsignal(signal.SIGHUP))
        return Report(0, 0, 0, (), (), 0, 0.0)

    monkeypatch.setattr(command, "compile_tree", compile_tree)
    assert command.main(["-q", "tree"]) == 0
    assert seen == [signal.SIG_IGN]
