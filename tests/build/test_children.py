"""What a project's own Python code does while its extensions are built: processes, and print()."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from harness import HookRun
from watched_builds import (
    NO_OPTIMISATION,
    running_build,
    write_compiler,
    write_extensions,
)

OWN = """
import os, signal, subprocess, sys, time
from setuptools.command.build_ext import build_ext
class Own(build_ext):
    def build_extension(self, ext):
{body}
        super().build_extension(ext)
"""


def build_with(body: str, tmp_path: Path, *, status: int = 0) -> HookRun:
    """Build two extensions, each by `body` first; nothing may be left running."""
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 1, "b": 1},
        code=OWN.format(body=lines),
        arguments="{'cmdclass': {'build_ext': Own}}",
    )
    with running_build(folder, env=NO_OPTIMISATION, jobs=2) as build:
        done = build.finish()
        assert done.returncode == status, done.output
        build.assert_nothing_is_left()
    return done


ENDED = """\
options = {options}
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], **options)
child.{end}
print(ext.name, "was ended by", -child.wait(30))
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", ["{}", "{'start_new_session': True}"], ids=["", "session"])
@pytest.mark.parametrize(
    ("end", "number"),
    [
        ("terminate()", signal.SIGTERM),
        ("kill()", signal.SIGKILL),
        ("send_signal(signal.SIGUSR1)", signal.SIGUSR1),
    ],
    ids=["terminate", "kill", "send_signal"],
)
def test_a_project_can_end_what_it_has_started(
    end: str, number: int, options: str, tmp_path: Path
) -> None:
    done = build_with(ENDED.format(end=end, options=options), tmp_path)
    for name in "ab":
        assert f"{name} was ended by {int(number)}\n" in done.stdout, done.output


LEFT = """\
says = "import os, sys, time\\n"
says += "for number in 1, 2, int(sys.argv[2]): os.write(number, sys.argv[1].encode())\\n"
says += "time.sleep(1000)"
ready, there = os.pipe()
command = [sys.executable, "-c", says, f"{ext.name} says\\n", str(there)]
subprocess.Popen(command, pass_fds=[there])
os.read(ready, 1)
"""


def test_what_a_project_leaves_running_is_ended_and_what_it_said_is_shown(tmp_path: Path) -> None:
    done = build_with(LEFT, tmp_path)
    for name in "ab":
        assert done.stdout.count(f"{name} says\n") == 1, done.output
        assert done.stderr.count(f"{name} says\n") == 1, done.output


def test_lines_that_are_written_at_once_are_shown(tmp_path: Path) -> None:
    body = 'sys.stdout.writelines([f"{ext.name} one\\n", f"{ext.name} two\\n"])\n'
    body += 'sys.stderr.writelines(iter([f"{ext.name} three\\n"]))'
    done = build_with(body, tmp_path)
    for name in "ab":
        assert f"{name} one\n{name} two\n" in done.stdout, done.output
        assert f"{name} three\n" in done.stderr, done.output


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_an_output_that_is_no_text_is_shown_whatever_way_python_writes(
    unbuffered: str, tmp_path: Path
) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 2, "b": 1})
    env = write_compiler(tmp_path / "cc", 'printf "caf\\351 %s\\n" "$source"; fake')
    env["PYTHONUNBUFFERED"] = unbuffered
    with running_build(folder, env=env, jobs=2) as build:
        done = build.finish()
        assert done.returncode == 0, done.output
        written = build.temporary.with_name(f"{build.temporary.name}.1").read_bytes()
    for source in (b"a_0.c", b"a_1.c", b"b_0.c"):
        assert written.count(b"caf\xe9 " + source + b"\n") == 1, written


def test_ctrl_c_while_a_project_s_own_code_runs_ends_the_build_in_distutils_word(
    tmp_path: Path,
) -> None:
    # As if it came then: the hook's own process runs this code.
    body = "print(ext.name, 'begins')\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(1000)"
    done = build_with(body, tmp_path, status=1)
    assert done.stderr == "interrupted\n", done.output
    assert "b begins" not in done.stdout
