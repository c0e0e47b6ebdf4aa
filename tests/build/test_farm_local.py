"""While jobs count the slots of other hosts, what runs here holds to this machine's."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from harness import build_wheel
from launcher_harness import Shim
from parallel_backend.engine.local_slots import LocalSlots
from projects import TINY_C, make_project

EXTENSIONS = 6
_PATIENCE = 30  # seconds


def fork(work: object) -> int:
    """A child that runs `work` and ends."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()  # type: ignore[operator]
            status = 0
        finally:
            os._exit(status)
    return pid


def test_there_are_never_more_at_once_than_slots(tmp_path: Path) -> None:
    log = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def work() -> None:
        slots = LocalSlots(tmp_path, number=3)

        def hold_often() -> None:
            for _ in range(20):
                with slots.held():
                    os.write(log, b"+")
                    os.write(log, b"-")

        threads = [threading.Thread(target=hold_often) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    children = [fork(work) for _ in range(4)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    at_once = [0]
    for mark in (tmp_path / "log").read_bytes():
        at_once.append(at_once[-1] + (1 if mark == ord("+") else -1))
    os.close(log)
    assert len(at_once) == 1 + 2 * 4 * 3 * 20
    assert max(at_once) <= 3
    assert at_once[-1] == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_slot_of_a_process_that_dies_is_free(tmp_path: Path, number: int) -> None:
    reader, writer = os.pipe()

    def hold() -> None:
        with LocalSlots(tmp_path, number=1).held():
            os.write(writer, b"!")
            signal.pause()

    child = fork(hold)
    os.read(reader, 1)
    waits = threading.Thread(target=take, args=(tmp_path,))
    waits.start()
    os.kill(child, number)
    os.waitpid(child, 0)
    waits.join(_PATIENCE)
    assert not waits.is_alive()
    os.close(reader)
    os.close(writer)


def take(folder: Path) -> None:
    with LocalSlots(folder, number=1).held():
        pass


def test_a_slot_is_given_back_after_an_exception(tmp_path: Path) -> None:
    slots = LocalSlots(tmp_path, number=1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), slots.held():
            raise ZeroDivisionError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Extensions of one source each."""
    names = [f"ext{i}" for i in range(EXTENSIONS)]
    setup = f"""
from setuptools import Extension, setup
setup(ext_modules=[Extension(name, [name + ".c"]) for name in {names!r}])
"""
    files = {f"{name}.c": TINY_C.format(name=name) for name in names}
    return make_project(tmp_path / "sample", setup=setup, files=files)


def linker(folder: Path) -> tuple[dict[str, str], Path]:
    """A linker that notes when it runs beside another one, which it gives time to come."""
    notes, script = folder / "notes", folder / "linker"
    script.write_text(
        "#!/bin/sh\n"
        # What it is, it may be asked besides.
        'case "$*" in *" -o "*) ;; *) exec gcc -shared "$@";; esac\n'
        f'if mkdir {folder}/one; then sleep 0.1; gcc -shared "$@"; s=$?; rmdir {folder}/one\n'
        f'else echo overlap >> {notes}; gcc -shared "$@"; s=$?; fi\n'
        f"echo linked >> {notes}; exit $s\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return {"LDSHARED": str(script)}, notes


@pytest.mark.parametrize(
    "told", [{"local-jobs": "1", "launcher": "none"}, {"launcher": "distcc"}], ids=["set", "farm"]
)
def test_links_hold_to_the_local_jobs(project: Path, tmp_path: Path, told: dict[str, str]) -> None:
    shim = Shim(tmp_path / "bin", "distcc")
    env, notes = linker(tmp_path)
    env |= {
        "PATH": f"{shim.path.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHON_CPU_COUNT": "1",  # the machine's offer
    }
    build_wheel(project, jobs=EXTENSIONS, config_settings=told, env=env)
    assert notes.read_text("utf-8").split() == ["linked"] * EXTENSIONS
    assert len(shim.commands()) == (EXTENSIONS if told["launcher"] == "distcc" else 0)
