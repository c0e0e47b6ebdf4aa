"""Promise P5: a hook's process leaves nothing behind in the process that called it."""

from __future__ import annotations

import atexit
import errno
import io
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
import weakref
from pathlib import Path
from typing import Any, NoReturn

import pytest

import hook_process_fixtures
from hook_process_fixtures import (
    MORE_THAN_A_PIPE,
    OwnError,
    descriptors,
    raising,
)
from parallel_backend.errors import HookProcessError
from parallel_backend.hook_process import run_hook
from scripts import run_script

temporary, nothing_left = hook_process_fixtures.temporary, hook_process_fixtures.nothing_left
pytestmark = [pytest.mark.single_threaded, pytest.mark.usefixtures("nothing_left")]


@pytest.mark.parametrize(
    "value",
    [None, "sample-1.0-py3-none-any.whl", "Grüße \udcff", [], ["one", {"two": (3, b"\0")}], 1.5],
    ids=repr,
)
def test_what_a_hook_returns_is_returned(value: object) -> None:
    assert run_hook(lambda _: value) == value


def test_a_result_larger_than_a_pipe_is_returned_whole() -> None:
    assert run_hook(lambda _: b"x" * MORE_THAN_A_PIPE) == b"x" * MORE_THAN_A_PIPE


def test_a_hook_runs_in_another_process_with_a_private_folder() -> None:
    def hook(private: Path) -> tuple[int, Path, bool]:
        (private / "some").mkdir()
        (private / "some" / "file").write_text("text")
        return os.getpid(), private, private.is_dir()

    pid, private, was_there = run_hook(hook)
    assert pid != os.getpid()
    assert was_there
    assert not private.exists()


def test_a_hook_may_remove_its_private_folder_itself(tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    assert run_hook(lambda private: str(private.rename(moved))) == str(moved)


def test_a_result_that_cannot_be_sent_is_an_error_that_says_so() -> None:
    with pytest.raises(TypeError, match="result of the build hook cannot be sent back"):
        run_hook(lambda _: threading.Lock())


class OwnBaseError(BaseException):
    """One that `except Exception` does not catch."""


class ForgetfulError(Exception):
    """It pickles, and its `__init__` refuses what comes back."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class UnprintableError(Exception):
    """Neither does it pickle, nor has it a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("no pickle")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wrong", 3),
        FileNotFoundError(2, "No such file or directory", "a file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ExceptionGroup("both", [ValueError(1), OwnError(2)]),
        SystemExit("error: no such file"),
        SystemExit(3),
        SystemExit(),
        KeyboardInterrupt(),
        GeneratorExit("left"),
        StopIteration(7),
        OwnError("own", 1),
        OwnBaseError("own base"),
        HookProcessError("another hook's process"),
    ],
    ids=lambda error: f"{type(error).__name__}-{error}",
)
def test_an_exception_of_any_class_is_raised_as_it_was(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        run_hook(raising(error))
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert repr(caught.value.args) == repr(error.args)


@pytest.mark.parametrize("code", [None, 0, 3, "error: no such file"])
def test_a_system_exit_keeps_its_code(code: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        run_hook(lambda _: sys.exit(code))
    assert caught.value.code == code


def test_setuptools_own_errors_are_raised_as_they_were() -> None:
    def hook(_private: Path) -> None:
        from setuptools.errors import CompileError

        raise CompileError("command 'cc' failed")

    with pytest.raises(BaseException, match=r"^command 'cc' failed$") as caught:
        run_hook(hook)
    assert type(caught.value).__name__ == "CompileError"


def test_notes_and_attributes_of_an_exception_are_kept() -> None:
    error = OwnError("own")
    error.add_note("the first note")
    error.add_note("the second note")
    vars(error)["status"] = 7
    with pytest.raises(OwnError) as caught:
        run_hook(raising(error))
    assert caught.value.__notes__ == ["the first note", "the second note"]
    assert vars(caught.value)["status"] == 7


def fail_deep_inside() -> NoReturn:
    try:
        raise KeyError("the first")
    except KeyError as error:
        raise OwnError("the second") from error


def shown(error: BaseException) -> list[str]:
    """What Python prints of an exception that nobody catches, line by line."""
    return "".join(traceback.format_exception(error)).splitlines()


def test_an_exception_is_shown_as_it_was_raised_with_its_own_frames_last() -> None:
    with pytest.raises(OwnError) as caught:
        run_hook(lambda _: fail_deep_inside())
    lines = shown(caught.value)
    assert lines[-1] == "hook_process_fixtures.OwnError: the second"
    assert lines[-2].strip() == 'raise OwnError("the second") from error'
    assert lines[-3].endswith(", in fail_deep_inside")
    first = lines.index("KeyError: 'the first'")
    assert lines[first - 1].strip() == 'raise KeyError("the first")'
    # Nothing but what the project itself has chained.
    assert len([line for line in lines if "direct cause" in line]) == 1
    assert not [line for line in lines[: first + 1] if "/parallel_backend/" in line]


class LocalKinds:
    """Exceptions that do not pickle."""

    @staticmethod
    def of_a_local_class() -> BaseException:
        class LocalError(Exception):
            pass

        return LocalError("local")

    @staticmethod
    def with_a_lock() -> BaseException:
        return OwnError("holds a lock", threading.Lock())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LocalKinds.of_a_local_class(), "LocalKinds.of_a_local_class.<locals>.LocalError: local"),
        (LocalKinds.with_a_lock(), "hook_process_fixtures.OwnError: ('holds a lock', <unlocked"),
        (ForgetfulError("forgetful", 3), "test_process_state.ForgetfulError: forgetful"),
        (UnprintableError("unprintable"), "test_process_state.UnprintableError: (it has no text)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_exception_that_does_not_pickle_is_shown_as_if_it_did(
    error: BaseException, told: str
) -> None:
    error.add_note("a note")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of a class made on the way
        run_hook(raising(error))
    assert type(caught.value).__name__ == type(error).__name__
    lines = shown(caught.value)
    assert lines[-1] == "a note"
    assert told in lines[-2]
    assert lines[-4].endswith(", in hook")


def test_an_exception_of_a_class_that_only_the_hook_can_import_keeps_its_name(
    tmp_path: Path,
) -> None:
    (tmp_path / "projects_own_module.py").write_text("class LocalError(ValueError): pass\n")

    def hook(_private: Path) -> None:
        sys.path.insert(0, str(tmp_path))
        module: Any = __import__("projects_own_module")
        raise module.LocalError("said the project")

    with pytest.raises(ValueError, match="said the project") as caught:
        run_hook(hook)
    assert shown(caught.value)[-1] == "projects_own_module.LocalError: said the project"


def test_raising_an_exception_imports_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seldom_imported.py").write_text("class SeldomError(Exception): pass\n")
    monkeypatch.syspath_prepend(tmp_path)

    def hook(_private: Path) -> None:
        module: Any = __import__("seldom_imported")
        raise module.SeldomError("seldom")

    with pytest.raises(Exception, match=r"seldom$"):
        run_hook(hook)
    assert "seldom_imported" not in sys.modules


def test_exceptions_of_the_backend_itself_can_be_sent() -> None:
    error = HookProcessError("one line")
    assert str(pickle.loads(pickle.dumps(error))) == "one line"


def test_what_a_hook_registers_to_run_at_exit_runs_at_its_end(tmp_path: Path) -> None:
    class Thing:
        pass

    kept = Thing()

    def hook(_private: Path) -> None:
        atexit.register((tmp_path / "atexit").touch)
        weakref.finalize(kept, (tmp_path / "finalize").touch)
        threading.Thread(target=finish_late).start()

    def finish_late() -> None:
        time.sleep(0.1)
        (tmp_path / "thread").touch()

    run_hook(hook)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "atexit",
        "finalize",
        "thread",
    ]


def test_what_the_caller_has_registered_runs_at_its_own_exit_alone(tmp_path: Path) -> None:
    script = (
        "import atexit, os, weakref\n"
        "from parallel_backend.hook_process import run_hook\n"
        "class Thing: pass\n"
        "kept = Thing()\n"
        "atexit.register(lambda: print('atexit', os.getpid() == caller))\n"
        "weakref.finalize(kept, lambda: print('finalize', os.getpid() == caller))\n"
        "caller = os.getpid()\n"
        "run_hook(lambda _: (atexit.register(print, 'hook'), None)[1])\n"
        "run_hook(lambda _: (weakref.finalize(kept, print, 'hook finalize'), None)[1])\n"
        "try: run_hook(lambda _: 1 / 0)\n"
        "except ZeroDivisionError: print('caught')\n"
    )
    done = run_script(script, cwd=tmp_path)
    assert sorted(done.stdout.splitlines()) == [
        "atexit True",
        "caught",
        "finalize True",
        "hook",
        "hook finalize",
    ]


def caller_state() -> dict[str, object]:
    mask = os.umask(0)
    os.umask(mask)
    return {
        "os.environ": dict(os.environ),
        "folder": os.getcwd(),
        "sys.path": (id(sys.path), list(sys.path)),
        "sys.argv": (id(sys.argv), list(sys.argv)),
        "sys.modules": (id(sys.modules), set(sys.modules)),
        "streams": (id(sys.stdout), id(sys.stderr)),
        "umask": mask,
        "tempfile.tempdir": tempfile.tempdir,
        "signals": {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)},
        "recursion": sys.getrecursionlimit(),
        "excepthook": sys.excepthook,
    }


def change_everything(private: Path) -> None:
    os.environ["ADDED"] = "1"
    del os.environ["PATH"]
    os.chdir(private)
    sys.path.insert(0, "added")
    sys.argv[:] = ["changed"]
    sys.modules["added"] = types.ModuleType("added")
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    os.umask(0o077)
    tempfile.tempdir = "changed"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.setrecursionlimit(5000)
    sys.excepthook = print


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
def test_the_callers_state_is_what_it_was(fails: bool) -> None:
    def hook(private: Path) -> None:
        change_everything(private)
        if fails:
            raise OwnError

    run_hook(lambda _: None)  # what the first call imports is there before the second
    before = caller_state()
    try:
        run_hook(hook)
    except OwnError:
        assert fails
    assert caller_state() == before


def test_a_thousand_hooks_leave_no_descriptor_no_process_and_no_folder(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_hook(lambda _: None)
    before = descriptors()
    with monkeypatch.context() as patch:
        for number in range(1000):
            patch.setattr(sys, "stdout", io.StringIO() if number % 2 else sys.__stdout__)
            if number % 10 == 0:
                with pytest.raises(OwnError):
                    run_hook(raising(OwnError()))
            elif number % 10 == 5:
                with pytest.raises(HookProcessError):
                    run_hook(lambda _: os._exit(1))
            else:
                assert run_hook(lambda _, number=number: number) == number  # type: ignore[misc]
    assert descriptors() == before
    assert not list(temporary.iterdir())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_signals_are_heard_again_where_no_process_can_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_fork() -> int:
        raise BlockingIOError("too many processes")

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    monkeypatch.setattr(os, "fork", no_fork)
    with pytest.raises(HookProcessError, match="cannot be started: too many"):
        run_hook(lambda _private: None)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_where_no_private_folder_can_be_made_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(**_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(HookProcessError, match=r"No space left on device; make room there, or"):
        run_hook(lambda _private: None)
