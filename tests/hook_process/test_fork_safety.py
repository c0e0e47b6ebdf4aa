"""When a fork is safe, and what becomes of a caller's streams and signals around it."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from pathlib import Path

import pytest

import hook_process_fixtures
from hook_process_fixtures import descriptors
from parallel_backend.errors import HookProcessError
from parallel_backend.hook_process import Terminated, run_hook
from scripts import run_script
from watched_builds import write_compiler, write_extensions

temporary, nothing_left = hook_process_fixtures.temporary, hook_process_fixtures.nothing_left
pytestmark = [pytest.mark.single_threaded, pytest.mark.usefixtures("nothing_left")]

# A thread that Python knows nothing of, as those of BLAS or of gRPC.
THREAD = """
import ctypes, threading
from parallel_backend.hook_process import fork_is_safe

print(fork_is_safe())
library = ctypes.CDLL(None)
if library.pthread_create(ctypes.byref(ctypes.c_ulong()), None, library.pause, None):
    raise SystemExit("no thread can be made")
print(threading.active_count(), fork_is_safe())
"""


def test_a_fork_is_not_safe_beside_a_thread_that_python_does_not_know(tmp_path: Path) -> None:
    done = run_script(THREAD, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "1", "False"]


def test_where_no_process_can_be_made_no_descriptor_of_a_replaced_stream_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_fork() -> int:
        raise BlockingIOError("too many processes")

    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", no_fork)
        for name in ("stdout", "stderr"):
            patch.setattr(sys, name, io.StringIO())
        with pytest.raises(HookProcessError, match="cannot be started: too many processes"):
            run_hook(lambda _private: None)
    assert descriptors() == before


def test_a_signal_that_comes_just_before_the_fork_ends_the_hook_and_then_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[int] = []
    mask = signal.pthread_sigmask

    def tell_and_mask(how: int, numbers: set[signal.Signals]) -> set[int | signal.Signals]:
        monkeypatch.setattr(signal, "pthread_sigmask", mask)
        os.kill(os.getpid(), signal.SIGHUP)
        return mask(how, numbers)

    def hook(_private: Path) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            time.sleep(0.01)
        (tmp_path / "was not told").touch()

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        monkeypatch.setattr(signal, "raise_signal", raised.append)
        monkeypatch.setattr(signal, "pthread_sigmask", tell_and_mask)
        with pytest.raises(Terminated):
            run_hook(hook)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert raised == [signal.SIGHUP]
    assert not (tmp_path / "was not told").exists()


# Beside another thread the hook runs in a fresh interpreter.
BESIDE_A_THREAD = """
import io, os, sys, threading
import parallel_backend
from parallel_backend.hook_process import fork_is_safe

end = threading.Event()
other = threading.Thread(target=end.wait)
other.start()
assert not fork_is_safe()
kind, out = sys.argv[1:]
streams = sys.stdout, sys.stderr
sys.stdout, sys.stderr = io.StringIO(), None if kind == "missing" else io.StringIO()
mine = sys.stdout, sys.stderr
try:
    parallel_backend.build_wheel(out, {"jobs": "2"})
    assert (sys.stdout, sys.stderr) == mine
finally:
    sys.stdout, sys.stderr = streams
    end.set()
    other.join()
for stream, text in zip(streams, mine):
    stream.write(text.getvalue() if text else "")
"""


@pytest.mark.parametrize("kind", ["replaced", "missing"], ids=["", "no stderr"])
def test_a_build_beside_a_thread_prints_to_the_streams_that_the_caller_has(
    kind: str, tmp_path: Path
) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 2, "b": 1})
    env = write_compiler(tmp_path / "cc", 'echo "out $source"; echo "err $source" >&2; fake')
    done = run_script(BESIDE_A_THREAD, kind, tmp_path / "out", cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.whl"))) == 1
    for source in ("a_0.c", "a_1.c", "b_0.c"):
        assert done.stdout.count(f"out {source}\n") == 1
        assert done.stderr.count(f"err {source}\n") == (kind == "replaced")
    assert done.stdout.count("parallel-backend: 3 compiled, 2 linked, 0 reused in ") == 1
