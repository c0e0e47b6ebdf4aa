"""Promise P5: a hook's process leaves nothing behind in the process that called it."""

from __future__ import annotations

import atexit
import io
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from harness import wheel_bytes_equal
from parallel_backend.errors import HookProcessError
from parallel_backend.process_state import Terminated, fork_is_safe, note_group, run_hook
from projects import TINY_C, make_project
from scripts import run_script, started_script

MORE_THAN_A_PIPE = 1 << 20


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where private folders are made; none may be there after a test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    # A thread that an earlier test has joined may be there for a moment yet, as the system sees it.
    until = time.monotonic() + 30
    while not fork_is_safe():
        assert time.monotonic() < until, threading.enumerate()
        time.sleep(0.001)
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture(autouse=True)
def nothing_left(temporary: Path) -> Iterator[None]:
    """No test may leave a descriptor or a child process."""
    before = descriptors()
    yield
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def descriptors() -> dict[str, str]:
    """This process' descriptors, and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


def raising(error: BaseException) -> Callable[[Path], NoReturn]:
    def hook(_private: Path) -> NoReturn:
        raise error

    return hook


# --- what comes back


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
    with pytest.raises(HookProcessError, match="the result cannot be sent back"):
        run_hook(lambda _: threading.Lock())


class OwnError(Exception):
    """An exception as a project defines it."""


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


def test_the_traceback_in_the_hooks_process_is_the_cause() -> None:
    with pytest.raises(OwnError) as caught:
        run_hook(lambda _: fail_deep_inside())
    text = str(caught.value.__cause__)
    assert "in fail_deep_inside" in text
    assert 'raise KeyError("the first")' in text
    assert "direct cause" in text
    assert text.index("KeyError: 'the first'") < text.index("OwnError: the second")


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
        (LocalKinds.of_a_local_class(), "LocalError: local"),
        (LocalKinds.with_a_lock(), "test_process_state.OwnError: ('holds a lock', <unlocked"),
        (ForgetfulError("forgetful", 3), "test_process_state.ForgetfulError: forgetful"),
        (UnprintableError("unprintable"), "test_process_state.UnprintableError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_exception_that_cannot_be_sent_is_told_with_class_text_notes_and_traceback(
    error: BaseException, told: str
) -> None:
    error.add_note("a note")
    with pytest.raises(HookProcessError) as caught:
        run_hook(raising(error))
    assert told in str(caught.value)
    assert caught.value.__notes__ == ["a note"]
    assert "in hook" in str(caught.value.__cause__)


def test_an_exception_whose_class_only_the_hook_can_import_is_told(tmp_path: Path) -> None:
    (tmp_path / "projects_own_module.py").write_text("class LocalError(Exception): pass\n")

    def hook(_private: Path) -> None:
        sys.path.insert(0, str(tmp_path))
        module: Any = __import__("projects_own_module")
        raise module.LocalError("said the project")

    with pytest.raises(HookProcessError, match="LocalError: said the project") as caught:
        run_hook(hook)
    assert "in hook" in str(caught.value.__cause__)


def test_raising_an_exception_imports_no_module_for_good(
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


# --- streams


class Written:
    """A stream of a kind of its own, as a frontend may have."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def talk(_private: Path) -> str:
    print("to stdout: Grüße")
    print("to stderr: Grüße", file=sys.stderr)
    print("no line end", end="")
    return "result"


@pytest.mark.parametrize("kind", [io.StringIO, Written])
def test_what_a_hook_prints_reaches_streams_that_the_caller_has_replaced(
    kind: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = kind(), kind()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        assert run_hook(talk) == "result"
    texts = [each.getvalue() if isinstance(each, io.StringIO) else each.text for each in (out, err)]
    assert texts == ["to stdout: Grüße\nno line end", "to stderr: Grüße\n"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_byte_that_a_replaced_stream_cannot_take_loses_none_of_the_others(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)

    def hook(_private: Path) -> None:
        sys.stdout.buffer.write(b"before\n\xff\xfe\n")
        sys.stdout.write("caf\N{LATIN SMALL LETTER E WITH ACUTE}\nafter\n")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        run_hook(hook)
    out.seek(0)
    lines = out.read().splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"


def test_a_hook_that_prints_more_than_a_pipe_holds_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()

    def hook(_private: Path) -> bytes:
        for stream, letter in ((sys.stderr, "e"), (sys.stdout, "o")):
            stream.write(letter * MORE_THAN_A_PIPE + "\n")
        return b"r" * MORE_THAN_A_PIPE

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        assert len(run_hook(hook)) == MORE_THAN_A_PIPE
    assert out.getvalue() == "o" * MORE_THAN_A_PIPE + "\n"
    assert err.getvalue() == "e" * MORE_THAN_A_PIPE + "\n"


def test_what_a_hook_printed_before_it_died_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()

    def hook(_private: Path) -> None:
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        with pytest.raises(HookProcessError):
            run_hook(hook)
    assert out.getvalue() == "last words\n"


def closed_stream() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, closed_stream()], ids=["missing", "closed"])
def test_a_hook_may_print_where_the_callers_streams_are_closed_or_missing(
    stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        assert run_hook(talk) == "result"


def test_what_a_hook_and_its_commands_write_reaches_the_callers_descriptors(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def hook(_private: Path) -> None:
        print("printed")
        sys.stdout.flush()
        for number in (1, 2):
            os.write(number, b"written\n")
            subprocess.run(["sh", "-c", f"echo from a command >&{number}"], check=True)

    run_hook(hook)
    assert capfd.readouterr() == (
        "printed\nwritten\nfrom a command\n",
        "written\nfrom a command\n",
    )


def test_text_that_the_caller_has_not_flushed_appears_once_and_first(tmp_path: Path) -> None:
    script = (
        "from parallel_backend.process_state import run_hook\n"
        "print('before')\nrun_hook(lambda _: print('hook'))\nprint('after')\n"
    )
    done = run_script(script, cwd=tmp_path, env={"PYTHONUNBUFFERED": ""})
    assert done.stdout == "before\nhook\nafter\n"


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (1, 2), (0, 1, 2)], ids=str)
def test_a_hook_runs_where_standard_descriptors_are_closed(
    closed: tuple[int, ...], tmp_path: Path
) -> None:
    script = (
        "import os, sys\n"
        f"for number in {closed}: os.close(number)\n"
        "for name in [('stdin', 'stdout', 'stderr')[number] for number in "
        f"{closed}]: setattr(sys, name, None)\n"
        "from parallel_backend.process_state import run_hook\n"
        "def hook(private):\n"
        "    print('printed')\n"
        "    os.system('echo from a command; echo from a command >&2')\n"
        "    return os.getpid()\n"
        "open('result', 'w').write(str(run_hook(hook) != os.getpid()))\n"
    )
    done = run_script(script, cwd=tmp_path)
    assert (done.returncode, (tmp_path / "result").read_text()) == (0, "True"), done.stderr


# --- atexit handlers


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
        "from parallel_backend.process_state import run_hook\n"
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


# --- a hook's process that dies


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT", "SIGRTMIN"])
def test_a_hook_that_is_killed_is_an_error_that_names_the_signal(name: str) -> None:
    number = signal.Signals[name]
    with pytest.raises(HookProcessError, match=rf"was killed by {name}\b"):
        run_hook(lambda _: os.kill(os.getpid(), number))


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    number = signal.SIGRTMIN + 1
    with pytest.raises(HookProcessError, match=rf"was killed by .*\b{number}\b"):
        run_hook(lambda _: os.kill(os.getpid(), number))


@pytest.mark.parametrize("status", [0, 3])
def test_a_hook_that_calls_os_exit_is_an_error_that_says_so(status: int) -> None:
    with pytest.raises(HookProcessError, match=rf"exit status {status} .*os\._exit"):
        run_hook(lambda _: os._exit(status))


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["heeds", "ignores SIGTERM"])
def test_commands_that_a_dead_hook_has_left_are_ended(trap: str) -> None:
    ended, alive = os.pipe()
    hold, release = os.pipe()

    def hook(private: Path) -> None:
        process = subprocess.Popen(
            ["sh", "-c", f"{trap}echo ready; read line"],
            process_group=0,
            stdin=hold,
            stdout=subprocess.PIPE,
            pass_fds=[alive],
        )
        note_group(private, process.pid)
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(HookProcessError):
        run_hook(hook)
    os.close(alive)
    readable, _, _ = select.select([ended], [], [], 30)
    for descriptor in (release, hold, ended):
        os.close(descriptor)
    assert readable


def test_commands_of_a_dead_hook_that_have_ended_already_are_no_matter() -> None:
    def hook(private: Path) -> None:
        process = subprocess.Popen(["true"], process_group=0)
        note_group(private, process.pid)
        process.wait()
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(HookProcessError, match="SIGKILL"):
        run_hook(hook)


def test_a_process_that_a_hook_leaves_behind_does_not_keep_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO()
    ended, alive = os.pipe()
    hold, release = os.pipe()

    def hook(_private: Path) -> str:
        subprocess.Popen(
            ["sh", "-c", "read line"],
            stdin=hold,
            stdout=sys.stdout.fileno(),
            stderr=subprocess.DEVNULL,
            pass_fds=[alive],
        )
        print("printed")
        return "result"

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert run_hook(hook) == "result"
    assert out.getvalue() == "printed\n"
    os.close(alive)
    assert select.select([ended], [], [], 0)[0] == []  # it is there yet
    for descriptor in (release, hold):
        os.close(descriptor)
    assert os.read(ended, 1) == b""
    os.close(ended)


def test_a_hooks_end_is_seen_where_the_system_has_no_descriptors_for_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    out = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert run_hook(talk) == "result"
    assert out.getvalue() == "to stdout: Grüße\nno line end"
    with pytest.raises(HookProcessError):
        run_hook(lambda _: os.kill(os.getpid(), signal.SIGKILL))


# --- the caller's state


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


def test_a_hundred_hooks_leave_no_descriptor_no_process_and_no_folder(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_hook(lambda _: None)
    before = descriptors()
    with monkeypatch.context() as patch:
        for number in range(100):
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


# --- signals

# Its hook says when it waits, and waits for ever; what it prints tells what came of it. In a loop:
# a signal that comes just before a long wait would be noticed after it.
WAITING = """
import os, signal, sys, time
from parallel_backend.process_state import run_hook

# Whatever this process has inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def hook(private):
    try:
        print("ready", os.getpid(), private, flush=True)
        while True:
            time.sleep(0.01)
    finally:
        print("cleaned up", flush=True)

{setup}
try:
    run_hook(hook)
except BaseException as error:
    print("raised", type(error).__name__, error, flush=True)
    raise
"""


# A hook that does not heed Ctrl-C.
STUBBORN = """
heeding = hook
def hook(private):
    try:
        heeding(private)
    except KeyboardInterrupt:
        print("going on", flush=True)
        while True:
            time.sleep(0.01)
"""


def read_ready(process: subprocess.Popen[str]) -> tuple[int, Path]:
    assert process.stdout is not None
    word, pid, private = process.stdout.readline().split()
    assert word == "ready"
    assert Path(private).is_dir()
    return int(pid), Path(private)


def finished(process: subprocess.Popen[str]) -> str:
    """All that was printed; the pipe's end shows that the hook's process is gone, too."""
    return process.communicate(timeout=30)[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("whole_group", [False, True], ids=["caller", "group"])
def test_a_signal_that_ends_the_caller_ends_the_hook_first(
    number: signal.Signals, whole_group: bool, tmp_path: Path
) -> None:
    with started_script(WAITING.format(setup=""), cwd=tmp_path) as process:
        pid, private = read_ready(process)
        (os.killpg if whole_group else os.kill)(process.pid, number)
        output = finished(process)
        assert process.returncode == -number, output
    assert output.count("cleaned up") == 1
    assert not private.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def wait_for_ever() -> NoReturn:
    while True:
        time.sleep(0.01)


class TellingStream(Written):
    """A stream that sends this process SIGHUP when it is written to."""

    def write(self, text: str) -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        return super().write(text)


@pytest.mark.parametrize("when", ["at the fork", "while it waits"])
def test_the_signal_that_ended_the_hook_ends_the_caller_when_all_is_cleaned_up(
    when: str, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = []
    fork = os.fork

    def raise_signal(number: int) -> None:
        assert not list(temporary.iterdir())
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        raised.append(number)

    def fork_and_tell() -> int:
        pid = fork()
        if pid:
            os.kill(os.getpid(), signal.SIGHUP)
        return pid

    def hook(_private: Path) -> None:
        print("printed", flush=True)
        wait_for_ever()

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(signal, "raise_signal", raise_signal)
            if when == "at the fork":
                patch.setattr(os, "fork", fork_and_tell)
            else:
                patch.setattr(sys, "stdout", TellingStream())
            with pytest.raises(Terminated):
                run_hook(hook)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert raised == [signal.SIGHUP]


class RefusingStream(Written):
    """A stream that breaks, as a pipe without a reader does."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("heeds", [True, False], ids=["heeds", "ignores SIGTERM"])
def test_a_stream_that_breaks_ends_the_hook_and_its_error_is_raised(
    heeds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hook(_private: Path) -> None:
        if not heeds:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("printed", flush=True)
        wait_for_ever()

    if not heeds:
        monkeypatch.setattr("parallel_backend.process_state.caller._PATIENCE", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", RefusingStream())
        with pytest.raises(BrokenPipeError):
            run_hook(hook)


@pytest.mark.parametrize("whole_group", [False, True], ids=["caller", "group"])
def test_ctrl_c_ends_the_hook_and_is_a_keyboard_interrupt_in_the_caller(
    whole_group: bool, tmp_path: Path
) -> None:
    with started_script(WAITING.format(setup=""), cwd=tmp_path) as process:
        _, private = read_ready(process)
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
        output = finished(process)
    assert "raised KeyboardInterrupt" in output
    assert output.count("cleaned up") == 1
    assert not private.exists()


def test_a_second_ctrl_c_ends_a_hook_that_does_not_heed_the_first(tmp_path: Path) -> None:
    with started_script(WAITING.format(setup=STUBBORN), cwd=tmp_path) as process:
        _, private = read_ready(process)
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["cleaned up\n", "going on\n"]
        os.kill(process.pid, signal.SIGINT)
        assert "raised KeyboardInterrupt" in finished(process)
    assert not private.exists()


# Sends the caller a signal at once after it has called `os.NAME`, the worst of moments.
AT_ONCE = """
original = os.{name}
def patched(*arguments):
    result = original(*arguments)
    if os.getpid() == caller and os.{name} is patched:
        os.{name} = original
        signal.raise_signal(signal.{number})
    return result
caller, os.{name} = os.getpid(), patched
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_that_comes_as_soon_as_the_hook_is_there_ends_it(
    number: str, tmp_path: Path
) -> None:
    setup = "signal.signal(signal.SIGUSR1, lambda *_: sys.exit('stopped by my own handler'))\n"
    setup += AT_ONCE.format(name="fork", number=number)
    env = {"TMPDIR": str(tmp_path)}
    with started_script(WAITING.format(setup=setup), cwd=tmp_path, env=env) as process:
        output = finished(process)
        assert process.returncode != 0, output
    assert not list(tmp_path.glob("parallel-backend-*"))


def test_a_second_ctrl_c_at_once_ends_the_hook_too(tmp_path: Path) -> None:
    setup = AT_ONCE.format(name="kill", number="SIGINT")
    with started_script(WAITING.format(setup=STUBBORN + setup), cwd=tmp_path) as process:
        _, private = read_ready(process)
        os.kill(process.pid, signal.SIGINT)
        assert "raised KeyboardInterrupt" in finished(process)
    assert not private.exists()


def test_the_callers_own_way_with_a_signal_is_kept(tmp_path: Path) -> None:
    setup = "signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped by my own handler'))"
    with started_script(WAITING.format(setup=setup), cwd=tmp_path) as process:
        _, private = read_ready(process)
        os.kill(process.pid, signal.SIGTERM)
        output = finished(process)
        assert process.returncode == 1, output
    assert "raised SystemExit stopped by my own handler" in output
    assert "cleaned up" in output
    assert not private.exists()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_that_the_caller_ignores_does_not_end_the_hook(name: str, tmp_path: Path) -> None:
    # As under nohup, which ignores SIGHUP for all that it starts.
    script = (
        "import os, signal\n"
        "from parallel_backend.process_state import run_hook\n"
        f"signal.signal(signal.{name}, signal.SIG_IGN)\n"
        f"print(run_hook(lambda _: os.kill(os.getpid(), signal.{name}) or 'went on'))\n"
    )
    done = run_script(script, cwd=tmp_path)
    assert done.stdout == "went on\n", done.stderr


def test_a_hook_that_alone_is_told_to_end_is_an_error_that_names_the_signal() -> None:
    with pytest.raises(HookProcessError, match="SIGTERM"):
        run_hook(lambda _: os.kill(os.getpid(), signal.SIGTERM))


def test_a_hook_that_is_told_to_end_as_soon_as_it_is_there_ends(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from parallel_backend.process_state import run_hook\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGTERM)\n"
        "os.register_at_fork(after_in_child=kill)\n"
        "print(run_hook(lambda _: 'went on'))\n"
    )
    done = run_script(script, cwd=tmp_path)
    assert "went on" not in done.stdout
    assert "SIGTERM" in done.stderr


# --- in the caller's own process: where it has several threads

THREADED = """
import threading
end = threading.Event()
other = threading.Thread(target=end.wait)
other.start()
try:
    main()
finally:
    end.set()
    other.join()
"""

IN_PLACE = (
    """
import json, os, sys
from parallel_backend.process_state import fork_is_safe, run_hook

def state():
    mask = os.umask(0)
    os.umask(mask)
    path, argv = (id(sys.path), sys.path[:]), (id(sys.argv), sys.argv[:])
    return {"environ": dict(os.environ), "cwd": os.getcwd(), "path": path, "argv": argv,
            "umask": mask}

def hook(private):
    os.environ["ADDED"] = "1"
    os.environ["CHANGED"] = "after"
    del os.environ["REMOVED"]
    os.chdir(private)
    sys.path.insert(0, "added")
    if sys.argv[1] == "rebinds":
        sys.path, sys.argv = ["changed"], ["changed"]
    sys.argv[:] = ["changed"]
    os.umask(0o077)
    if fails:
        raise SystemExit("error: it fails")
    return os.getpid()

def main():
    assert not fork_is_safe()
    before = state()
    try:
        result = run_hook(hook)
    except SystemExit as error:
        result = str(error)
    after = state()
    changed = [name for name in before if before[name] != after[name]]
    print(json.dumps({"result": result, "pid": os.getpid(), "changed": changed}))

fails = sys.argv[2] == "raises"
"""
    + THREADED
)


@pytest.mark.parametrize("outcome", ["returns", "raises"])
@pytest.mark.parametrize("how", ["changes", "rebinds"])
def test_in_the_callers_own_process_its_state_is_put_back(
    how: str, outcome: str, tmp_path: Path
) -> None:
    env = {"CHANGED": "before", "REMOVED": "1", "TMPDIR": str(tmp_path)}
    done = run_script(IN_PLACE, how, outcome, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["changed"] == []
    assert told["result"] == (told["pid"] if outcome == "returns" else "error: it fails")
    assert not list(tmp_path.glob("parallel-backend-*"))


TWO_WHEELS = (
    """
import os, shutil, sys
import parallel_backend
from parallel_backend.process_state import fork_is_safe

def main():
    assert not fork_is_safe()
    print(parallel_backend.build_wheel(sys.argv[1], {"jobs": "2"}))
    print(parallel_backend.build_wheel(sys.argv[2], {"jobs": "2"}))
    shutil.rmtree("build")
    print(parallel_backend.build_wheel(sys.argv[3], {"jobs": "2"}))
"""
    + THREADED
)


def test_in_the_callers_own_process_wheel_after_wheel_is_built(tmp_path: Path) -> None:
    names = ["first", "second"]
    folder = make_project(
        tmp_path / "project",
        setup="from setuptools import Extension, setup\n"
        f"setup(ext_modules=[Extension(name, [name + '.c']) for name in {names}])\n",
        files={f"{name}.c": TINY_C.format(name=name) for name in names},
    )
    outs = [tmp_path / str(number) for number in range(3)]
    done = run_script(TWO_WHEELS, *outs, cwd=folder)
    assert done.returncode == 0, done.stderr
    wheels = [wheel for out in outs for wheel in out.iterdir()]
    assert len(wheels) == 3
    assert all(wheel_bytes_equal(wheels[0], wheel) for wheel in wheels[1:])


def test_exceptions_of_the_backend_itself_can_be_sent() -> None:
    error = HookProcessError("one line")
    assert str(pickle.loads(pickle.dumps(error))) == "one line"
