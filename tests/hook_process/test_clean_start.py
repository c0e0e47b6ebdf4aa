"""A hook's process starts from a known state, and ends with its caller, whatever the caller is."""

from __future__ import annotations

import os
import re
import select
import signal
from pathlib import Path

import pytest

from scripts import run_script, started_script

# Calls a hook by a fork, or beside a thread, where it is a fresh interpreter.
CALLER = """
import os, signal, sys, threading
from pathlib import Path
sys.path.insert(0, os.getcwd())
import hooks_of_the_test as hooks
from parallel_backend.hook_process import run_hook

if sys.argv[1] == "fresh":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
{setup}
print("result", run_hook(hooks.hook))
"""

WAYS = pytest.mark.parametrize("way", ["fork", "fresh"])


def call(way: str, hook: str, folder: Path, *, setup: str = "") -> list[str]:
    """Run `hook` as the body of a hook, `setup` before in the caller; the lines printed."""
    write_hook(folder, hook)
    done = run_script(CALLER.format(setup=setup), way, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def write_hook(folder: Path, body: str) -> None:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    text = f"import os, signal, subprocess, sys, time\ndef hook(private):\n{lines}"
    (folder / "hooks_of_the_test.py").write_text(text, encoding="utf-8")


@WAYS
@pytest.mark.parametrize(
    "setup",
    [
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, 0))",
    ],
    ids=["ignored", "reaped"],
)
def test_a_caller_that_leaves_no_child_to_be_waited_for_gets_the_result(
    way: str, setup: str, tmp_path: Path
) -> None:
    hook = "return subprocess.run([sys.executable, '-c', 'raise SystemExit(7)']).returncode"
    assert call(way, hook, tmp_path, setup=setup)[-1] == "result 7"


@WAYS
@pytest.mark.parametrize("closed", [(0,), (1, 2), (0, 1, 2)], ids=str)
def test_no_descriptor_of_ours_is_taken_for_a_standard_one(
    way: str, closed: tuple[int, ...], tmp_path: Path
) -> None:
    hook = (
        "kinds = [os.readlink(f'/proc/self/fd/{n}') for n in range(3)]\n"
        f"return [kinds[n] for n in {closed}]"
    )
    setup = (
        "sys.stdout = open('said', 'w', encoding='utf-8')\n"
        f"for number in {closed}: os.close(number)"
    )
    write_hook(tmp_path, hook)
    done = run_script(CALLER.format(setup=setup), way, cwd=tmp_path)
    assert done.returncode == 0
    kinds = ["/dev/null"] * len(closed)
    text = (tmp_path / "said").read_text(encoding="utf-8")
    if way == "fresh" and 1 in closed:
        # The caller's stream is no standard one: what is printed goes to it by a pipe.
        kinds[closed.index(1)] = re.findall(r"pipe:\[\d+\]", text)[0]
    assert text == f"result {kinds}\n"


@WAYS
@pytest.mark.parametrize("last", [256, 4096])
def test_a_hook_may_close_every_descriptor(way: str, last: int, tmp_path: Path) -> None:
    assert call(way, f"os.closerange(3, {last})\nreturn 'whole'", tmp_path) == ["result whole"]


@WAYS
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1, signal.SIGTERM])
def test_a_hook_ends_when_its_caller_dies_and_leaves_no_directory(
    way: str, number: signal.Signals, tmp_path: Path
) -> None:
    write_hook(
        tmp_path,
        "process = subprocess.Popen(['sleep', '600'], process_group=0)\n"
        "try:\n"
        "    print('ready', os.getpid(), private, flush=True)\n"
        "    process.wait()\n"
        "finally:\n"
        "    process.kill()\n"
        "    process.wait()",
    )
    with started_script(CALLER.format(setup=""), way, cwd=tmp_path) as process:
        assert process.stdout is not None
        _, pid, private = process.stdout.readline().split()
        hook = os.pidfd_open(int(pid))
        os.kill(process.pid, number)
        assert select.select([hook], [], [], 60)[0]
        os.close(hook)
        process.communicate(timeout=60)
    assert not Path(private).exists()


@pytest.mark.parametrize("caller_ignores", [False, True])
def test_processes_that_a_hook_forks_end_by_sigterm_as_python_does_it(
    caller_ignores: bool, tmp_path: Path
) -> None:
    setup = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if caller_ignores else ""
    hook = (
        "import multiprocessing\n"
        "for _ in range(20):\n"
        "    with multiprocessing.get_context('fork').Pool(4) as pool:\n"
        "        pool.map(abs, range(9))\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]\n"
        "    plain = [signal.SIG_DFL, signal.default_int_handler]\n"
        "    os._exit(handlers != plain)\n"
        "return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])"
    )
    if caller_ignores:  # and so, as without us, do those
        hook = "return signal.getsignal(signal.SIGTERM).name"
    expected = "SIG_IGN" if caller_ignores else "0"
    assert call("fork", hook, tmp_path, setup=setup)[-1] == f"result {expected}"


def test_an_error_of_the_start_names_itself(tmp_path: Path) -> None:
    setup = (
        "from parallel_backend.hook_process import child\n"
        "def broken(): raise PermissionError(13, 'not today')\n"
        "child.open_standard_descriptors = broken"
    )
    write_hook(tmp_path, "return 1")
    done = run_script(CALLER.format(setup=setup), "fork", cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.endswith(
        "the process of the build hook cannot start: PermissionError: [Errno 13] not today"
    )
    assert "os._exit" not in last


@WAYS
def test_an_exception_is_shown_by_its_own_frames(way: str, tmp_path: Path) -> None:
    write_hook(tmp_path, "def deep(): raise ValueError('mine')\ndeep()")
    done = run_script(CALLER.format(setup=""), way, cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert lines[-1] == "ValueError: mine"
    assert lines[-3].endswith(", in deep")
    assert lines[-5].endswith(", in hook")
    assert "cause" not in done.stderr


def test_arguments_that_no_other_interpreter_can_take_are_an_error(tmp_path: Path) -> None:
    script = CALLER.replace("run_hook(hooks.hook)", "run_hook(lambda _: 1)")
    write_hook(tmp_path, "return 1")
    done = run_script(script.format(setup=""), "fresh", cwd=tmp_path)
    assert done.returncode == 1
    assert "HookProcessError: the arguments of the build hook cannot be sent" in done.stderr


def test_a_fresh_interpreter_is_as_the_fork_would_be(tmp_path: Path) -> None:
    hook = (
        "values = sys.argv, sys.path[:2], os.getcwd(), os.environ['KEPT'], sys.flags.dev_mode\n"
        "print('to the caller')\n"
        "os.write(1, b'to the descriptor\\n')\n"
        "return values"
    )
    setup = "os.environ['KEPT'] = 'yes'; sys.path[:0] = ['first']"
    fork, fresh = (call(way, hook, tmp_path, setup=setup) for way in ("fork", "fresh"))
    assert sorted(fork) == sorted(line.replace("'fresh'", "'fork'") for line in fresh)


# What Windows does: no descriptor is inherited, and pipes cannot be selected.
AS_ON_WINDOWS = """
from parallel_backend.hook_process import fresh
fresh.inherits_descriptors = lambda: False
import io
sys.stdout, out = io.StringIO(), sys.stdout
"""


def test_a_hook_runs_where_descriptors_are_not_inherited(tmp_path: Path) -> None:
    hook = "print('Grüße')\nreturn 'x' * 100_000"
    write_hook(tmp_path, hook)
    script = CALLER.format(setup=AS_ON_WINDOWS) + "\nout.write(sys.stdout.getvalue())"
    done = run_script(script, "fresh", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Grüße\nresult {'x' * 100_000}\n"
