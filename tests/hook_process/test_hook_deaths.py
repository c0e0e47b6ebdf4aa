"""A hook that dies or is told to end leaves nothing running, and is reported."""

from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import hook_process_fixtures
from hook_process_fixtures import (
    Written,
    talk,
    wait_for_ever,
)
from parallel_backend.errors import HookProcessError
from parallel_backend.hook_process import Terminated, note_group, run_hook
from scripts import run_script, started_script

temporary, nothing_left = hook_process_fixtures.temporary, hook_process_fixtures.nothing_left
pytestmark = [pytest.mark.single_threaded, pytest.mark.usefixtures("nothing_left")]


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


# Its hook says when it waits, and waits for ever; what it prints tells what came of it. In a loop:
# a signal that comes just before a long wait would be noticed after it.
WAITING = """
import os, signal, sys, time
from parallel_backend.hook_process import run_hook

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
        monkeypatch.setattr("parallel_backend.hook_process.parent._PATIENCE", 0.01)
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
        "from parallel_backend.hook_process import run_hook\n"
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
        "from parallel_backend.hook_process import run_hook\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGTERM)\n"
        "os.register_at_fork(after_in_child=kill)\n"
        "print(run_hook(lambda _: 'went on'))\n"
    )
    done = run_script(script, cwd=tmp_path)
    assert "went on" not in done.stdout
    assert "SIGTERM" in done.stderr
