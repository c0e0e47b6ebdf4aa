"""What a hook prints is seen, whatever streams and descriptors its caller has."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hook_process_fixtures
from hook_process_fixtures import (
    MORE_THAN_A_PIPE,
    Written,
    talk,
)
from parallel_backend.errors import HookProcessError
from parallel_backend.hook_process import run_hook
from scripts import run_script

temporary, nothing_left = hook_process_fixtures.temporary, hook_process_fixtures.nothing_left
pytestmark = [pytest.mark.single_threaded, pytest.mark.usefixtures("nothing_left")]


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
        "from parallel_backend.hook_process import run_hook\n"
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
        "from parallel_backend.hook_process import run_hook\n"
        "def hook(private):\n"
        "    print('printed')\n"
        "    os.system('echo from a command; echo from a command >&2')\n"
        "    return os.getpid()\n"
        "open('result', 'w').write(str(run_hook(hook) != os.getpid()))\n"
    )
    done = run_script(script, cwd=tmp_path)
    assert (done.returncode, (tmp_path / "result").read_text()) == (0, "True"), done.stderr
