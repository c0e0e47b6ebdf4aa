"""However a project's own code starts a compiler, it gets what `subprocess` promises."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from harness import QUICK_COMPILE, run_hook, serial_wheel, wheel_bytes_equal
from scripts import run_script
from watched_builds import running_build, write_extensions

OWN = """
import asyncio, os, subprocess, time
from setuptools.command.build_ext import build_ext

HOOK = os.getpid()

class Own(build_ext):
    def build_extension(self, ext):
        words = ["gcc", "-O0", "-fPIC", "-c", "own.c", "-o", ext.name + "-own.o"]
        {way}
        ext.extra_objects = [ext.name + "-own.o"]
        super().build_extension(ext)
"""

# What a `Popen` object has to do where its process has ended with status 0.
WAYS = {
    "run": "subprocess.run(words, check=True)",
    "call": "assert subprocess.call(words) == 0",
    "communicate": "p = subprocess.Popen(words); assert p.communicate() == (None, None); "
    "assert p.returncode == 0 and p.stdin is p.stdout is p.stderr is None",
    "with": "\n        with subprocess.Popen(words) as p:\n"
    "            assert p.wait(60) == 0 == p.poll()",
    "signals": "p = subprocess.Popen(words); p.wait(); p.kill(); p.terminate(); p.send_signal(2); "
    "assert p.pid > 1; assert p.args == words; assert not p.text_mode; repr(p)",
    "class": "\n        class Mine(subprocess.Popen): pass\n        assert Mine(words).wait() == 0",
}
# These wait for the process by its number.
BY_NUMBER = {
    "asyncio": "\n        async def go():\n"
    "            p = await asyncio.create_subprocess_exec(*words)\n"
    "            assert await p.wait() == 0\n"
    "        asyncio.run(go())",
    "pipes": "p = subprocess.Popen(words, stdout=-1); assert p.communicate()[0] == b''",
    "shell": "subprocess.check_call(' '.join(words), shell=True)",
}


def a_project(tmp_path: Path, way: str) -> Path:
    folder = write_extensions(
        tmp_path / "parts",
        {"a": 1, "b": 2},
        code=OWN.replace("{way}", way),
        arguments="{'cmdclass': {'build_ext': Own}}",
    )
    (folder / "own.c").write_text("int own(void) { return 1; }\n")
    return folder


@pytest.mark.parametrize("way", [*WAYS, *BY_NUMBER])
def test_a_compiler_of_the_projects_own_gives_the_serial_wheel(way: str, tmp_path: Path) -> None:
    folder = a_project(tmp_path, (WAYS | BY_NUMBER)[way])
    expected = serial_wheel(folder, env=QUICK_COMPILE)
    with running_build(folder, env=QUICK_COMPILE, jobs=4, verbose="1") as build:
        done = build.finish()
        assert done.returncode == 0, done.output
        build.assert_nothing_is_left()
    assert wheel_bytes_equal(next(build.out.glob("*.whl")), expected)
    if way in WAYS:
        assert "; stopped: " not in done.output  # though it may have been overtaken


def test_what_is_reused_has_the_permissions_of_now(tmp_path: Path) -> None:
    # It is taken ahead, before the project has set the mask.
    way = "time.sleep(0.5); os.umask(int(os.environ['MASK'], 8)); " + WAYS["run"]
    folder = a_project(tmp_path, way)
    modes = []
    for mask in ("022", "077"):
        done = run_hook(folder, "build_wheel", tmp_path / mask, env={**QUICK_COMPILE, "MASK": mask})
        assert done.returncode == 0, done.output
        [wheel] = (tmp_path / mask).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            libraries = [each for each in archive.infolist() if each.filename.endswith(".so")]
        modes.append([library.external_attr >> 16 & 0o777 for library in libraries])
    assert " 0 compiled, 0 linked, 7 reused" in done.stdout
    assert modes == [[0o755, 0o755], [0o700, 0o700]]


SHOW = """
import os, threading, time
from parallel_backend.build.replay import show

inlet, outlet = os.pipe()
os.set_blocking(outlet, False)
os.dup2(outlet, 1)
os.close(outlet)
found = bytearray()

def read():
    while len(found) < 1_000_000:
        time.sleep(0.001)
        found.extend(os.read(inlet, 1 << 14))

reader = threading.Thread(target=read)
reader.start()
show((b"x" * 1_000_000, b""))
reader.join()
"""


def test_what_a_command_printed_is_shown_whole_where_the_reader_is_slow(tmp_path: Path) -> None:
    """A caller may have given a pipe that does not block, as Node.js does."""
    done = run_script(SHOW, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", ["os.mkfifo('pipe')", "os.mknod('node')"])
def test_the_recorder_makes_nothing_that_is_no_plain_file(code: str, tmp_path: Path) -> None:
    """The serial build would find it there."""
    # The recorder comes to it first: it is the fork.
    way = f"time.sleep(HOOK == os.getpid()); {code} if ext.name == 'a' else 0; {WAYS['run']}"
    folder = a_project(tmp_path, way)
    with running_build(folder, env=QUICK_COMPILE, jobs=4, verbose="1") as build:
        done = build.finish()
    assert done.returncode == 0, done.output


def test_a_program_that_is_no_compiler_runs_in_its_turn_and_is_not_counted(tmp_path: Path) -> None:
    tool = "subprocess.check_call(['sh', 'tool', '-o', ext.name + '-made.c'])"
    folder = a_project(tmp_path, f"{tool}; ext.sources.append(ext.name + '-made.c'); {WAYS['run']}")
    (folder / "tool").write_text('echo "int made(void) { return 1; }" >"$2"\n')
    expected = serial_wheel(folder, env=QUICK_COMPILE)
    done = run_hook(folder, "build_wheel", tmp_path / "out", env=QUICK_COMPILE)
    assert done.returncode == 0, done.output
    [wheel] = (tmp_path / "out").glob("*.whl")
    assert wheel_bytes_equal(wheel, expected)
    assert " 7 compiled, 2 linked, 0 reused" in done.stdout
