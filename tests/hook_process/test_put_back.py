"""A hook in the caller's own process: what else is put back, and the signals that end it."""

from __future__ import annotations

import importlib
import io
import locale
import logging
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from parallel_backend.process_state import Terminated, imports, namespaces, process, runtime
from parallel_backend.process_state.in_place import terminable
from scripts import run_script, started_script


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_would_end_the_process_breaks_off_what_runs(number: signal.Signals) -> None:
    received: list[int] = []
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(Terminated) as caught, terminable(received):
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert caught.value.number == number
    assert received == [number]


TOLD_TO_END = """
import os, signal, sys, time
from parallel_backend.process_state import run_hook

signal.signal(signal.SIGHUP, signal.SIG_DFL)

def hook(private):
    print(private, flush=True)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)

run_hook(hook, in_place=True)
"""


def test_a_signal_ends_the_process_when_the_hook_is_cleaned_up(tmp_path: Path) -> None:
    with started_script(TOLD_TO_END, cwd=tmp_path, env={"TMPDIR": str(tmp_path)}) as script:
        output = script.communicate(timeout=30)[0]
        assert script.returncode == -signal.SIGHUP, output
    private, said = output.splitlines()
    assert said == "cleaned up"
    assert not Path(private).exists()


@pytest.mark.parametrize("before", [None, "UTC0"], ids=["none", "UTC"])
def test_the_time_zone_is_put_back_with_its_variable(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is None:
        monkeypatch.delenv("TZ", raising=False)
    else:
        monkeypatch.setenv("TZ", before)
    try:
        time.tzset()
        names = time.tzname
        put_back = process.environment()
        os.environ["TZ"] = "XYZ-7"
        time.tzset()
        assert time.tzname != names
        put_back()
        assert time.tzname == names
        assert os.environ.get("TZ") == before
    finally:
        monkeypatch.undo()
        time.tzset()


def test_descriptors_that_a_hook_closed_are_open_again(tmp_path: Path) -> None:
    script = (
        "import os\n"
        "from parallel_backend.process_state import run_hook\n"
        "def hook(private):\n"
        "    for number in range(3): os.close(number)\n"
        "run_hook(hook, in_place=True)\n"
        "os.write(1, b'out')\n"
        "os.write(2, b'err')\n"
        "assert os.read(0, 1) == b''\n"
    )
    done = run_script(script, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out", "err")


HELPER = """
import atexit

def register():
    atexit.register(print, "the first", flush=True)
    atexit.register(fail)
    atexit.register(print, "the last", flush=True)
    atexit.register(unwanted)
    atexit.unregister(unwanted)

def fail():
    raise RuntimeError("it fails at exit")

def unwanted():
    print("unwanted", flush=True)
"""


def test_exit_handlers_of_a_hook_run_at_its_end_and_one_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    script = (
        "from parallel_backend.process_state import run_hook\n"
        "def hook(private):\n"
        "    import helper\n"
        "    helper.register()\n"
        "    print('hook', flush=True)\n"
        "run_hook(hook, in_place=True)\n"
        "print('after', flush=True)\n"
    )
    done = run_script(script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["hook", "the last", "the first", "after", ""]
    assert done.stderr.count("RuntimeError: it fails at exit") == 1


@pytest.mark.parametrize("change", ["nothing", "written", "gone"])
def test_a_package_that_was_set_aside_is_taken_again_only_as_it_was(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept_package").mkdir()
    for name in ("__init__", "part"):
        (tmp_path / "kept_package" / f"{name}.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    names = ["kept_package", "kept_package.part"]
    modules = {name: importlib.import_module(name) for name in names}
    monkeypatch.setitem(imports._set_aside, "kept_package", imports._Package(modules))
    for name in names:
        del sys.modules[name]
    part = tmp_path / "kept_package" / "part.py"
    if change == "written":
        part.write_text("VALUE = 10\n")
    elif change == "gone":
        part.unlink()
    spec = imports._SetAside().find_spec("kept_package")
    assert (spec is not None) == (change == "nothing")


@pytest.mark.parametrize("value", [{"one": 1}, ["one"], {"one"}], ids=["dict", "list", "set"])
def test_a_container_is_put_back_in_place(value: Any) -> None:
    before = value.copy()
    taken: dict[int, Any] = {}
    namespaces._take_contents(value, taken)
    [put_back] = taken.values()
    value.clear()
    put_back()
    assert value == before


def test_signal_masks_handlers_and_timers_are_put_back() -> None:
    own = signal.getsignal(signal.SIGUSR1)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    put_back = process.signals()
    try:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        signal.setitimer(signal.ITIMER_VIRTUAL, 1000)
    finally:
        put_back()
    assert signal.getsignal(signal.SIGUSR1) is own
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0


def test_soft_limits_are_put_back() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    put_back = process.limits()
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0 if soft else min(hard, 1 << 20), hard))
        assert resource.getrlimit(resource.RLIMIT_CORE) != (soft, hard) or hard == 0
    finally:
        put_back()
    assert resource.getrlimit(resource.RLIMIT_CORE) == (soft, hard)


def test_the_locale_is_put_back() -> None:
    before = locale.setlocale(locale.LC_NUMERIC)
    other = "C.UTF-8" if before == "C" else "C"
    put_back = process.locales()
    try:
        locale.setlocale(locale.LC_NUMERIC, other)
    finally:
        put_back()
    assert locale.setlocale(locale.LC_NUMERIC) == before


def test_streams_are_put_back_with_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", text)
    put_back = process.streams()
    text.reconfigure(errors="replace", line_buffering=True)
    replaced = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    replaced.write("not written out yet")
    sys.stdout = replaced
    put_back()
    assert sys.stdout is text
    assert (text.errors, text.line_buffering) == ("strict", False)
    assert replaced.buffer.getvalue() == b"not written out yet"


def test_what_is_set_in_the_interpreter_is_put_back() -> None:
    before = sys.getrecursionlimit(), sys.getswitchinterval(), socket.getdefaulttimeout()
    put_back, timeout = runtime.interpreter(), runtime._socket_timeout()
    sys.setrecursionlimit(before[0] + 10)
    sys.setswitchinterval(before[1] * 2)
    sys.tracebacklimit = 3
    socket.setdefaulttimeout(1000)
    put_back()
    timeout()
    assert (sys.getrecursionlimit(), sys.getswitchinterval(), socket.getdefaulttimeout()) == before
    assert not hasattr(sys, "tracebacklimit")


def test_modules_that_a_hook_has_replaced_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ModuleType("kept_module")
    monkeypatch.setitem(sys.modules, "kept_module", before)
    modules = dict(sys.modules)
    monkeypatch.setitem(sys.modules, "kept_module", ModuleType("kept_module"))
    monkeypatch.setitem(sys.modules, "new_module", ModuleType("new_module"))
    imports._forget(modules)
    assert sys.modules["kept_module"] is before
    assert "new_module" not in sys.modules


def test_a_package_that_is_not_the_one_set_aside_is_imported_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = {"gone_package": ModuleType("gone_package")}
    monkeypatch.setitem(imports._set_aside, "gone_package", imports._Package(modules))
    assert imports._SetAside().find_spec("gone_package") is None


def test_a_logger_of_a_class_that_a_hook_has_set_is_made_anew() -> None:
    class Own(logging.Logger):
        pass

    kind = logging.getLoggerClass()
    put_back = runtime.logs()
    try:
        logging.setLoggerClass(Own)
        logging.getLogger("of_its_own_class")
        logging.setLoggerClass(kind)
        logging.getLogger("of_no_own_class")
    finally:
        logging.setLoggerClass(kind)
        put_back()
    assert type(logging.getLogger("of_its_own_class")) is kind
    assert "of_no_own_class" in logging.Logger.manager.loggerDict
