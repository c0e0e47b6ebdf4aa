"""distcc with real daemons: what is compiled elsewhere, and a build whose host dies."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import build_wheel, serial_wheel, wheel_bytes_equal
from projects import TINY_C, make_project

SOURCES = 8
# No debug information: of what is preprocessed first it has other columns.
FLAGS = {"CFLAGS": "-O1", "CXXFLAGS": "-O1"}
_PATIENCE = 20  # seconds

needs_distcc = pytest.mark.skipif(
    not (shutil.which("distcc") and shutil.which("distccd")), reason="programs distcc, distccd"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two extensions of four sources, one of them C++."""
    names = [f"part{i}.{'cpp' if i == 3 else 'c'}" for i in range(SOURCES)]
    setup = f"""
from setuptools import Extension, setup
names = {names!r}
setup(ext_modules=[Extension("part0", names[:4]), Extension("part4", names[4:])])
"""
    files = {name: f"int f{i}(int n) {{ return n + {i}; }}\n" for i, name in enumerate(names)}
    for name in ("part0", "part4"):
        files[f"{name}.c"] = TINY_C.format(name=name)
    return make_project(tmp_path / "sample", setup=setup, files=files)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that a daemon can reach, which root starts and which is another user then."""
    with tempfile.TemporaryDirectory(prefix="farm-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


class Host:
    """A daemon on a host of its own, or on an address of this one."""

    def __init__(self, address: str, port: int, log: Path) -> None:
        self.name = f"{address}:{port}/2"
        self._address = (address, port)
        self._log = log

    @contextlib.contextmanager
    def serving(self, *prefix: str, path: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon, by a command `prefix`, for the length of a ``with`` block."""
        address, port = self._address
        self._log.touch(mode=0o666)
        self._log.chmod(0o666)
        options = ["--no-detach", "--daemon", "--enable-tcp-insecure", "--allow", "0.0.0.0/0"]
        where = ["--listen", address, "--port", str(port), "--jobs", "4"]
        logs = ["--log-file", str(self._log), "--log-level", "info"]
        program = shutil.which("distccd")
        assert program
        with subprocess.Popen(
            [*prefix, program, *options, *where, *logs],
            env={**os.environ, "PATH": path or os.environ["PATH"]},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                self._wait(process)
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(self._address, timeout=1):
                return
            time.sleep(0.02)
        raise AssertionError(f"no daemon at {self._address}: {self._log.read_text('utf-8')}")

    def compiled(self) -> int:
        """How many objects it has made."""
        return self._log.read_text("utf-8", errors="replace").count(" COMPILE_OK ")


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def places(number: int) -> Iterator[list[tuple[str, int, list[str]]]]:
    """Addresses, ports and commands that run something there: in network namespaces where they
    can be made, else on this host."""
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(namespaces(number))
        except (OSError, subprocess.CalledProcessError):
            addresses = [f"127.0.0.{i + 2}" for i in range(number)]
            found: list[tuple[str, int, list[str]]] = [(a, free_port(a), []) for a in addresses]
        else:
            found = [(address, 3632, ["ip", "netns", "exec", name]) for name, address in made]
        yield found


@contextlib.contextmanager
def namespaces(number: int) -> Iterator[list[tuple[str, str]]]:
    """New network namespaces, each with the address by which this host reaches it."""
    made = []
    with contextlib.ExitStack() as stack:
        for i in range(number):
            name, here, there = f"pb{os.getpid()}n{i}", f"pb{os.getpid()}h{i}", "eth0"
            net = f"10.{200 + os.getpid() % 50}.{os.getpid() % 250}"
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
            _ip("addr", "add", f"{net}.{4 * i + 1}/30", "dev", here)
            _ip("link", "set", here, "up")
            _ip("-n", name, "addr", "add", f"{net}.{4 * i + 2}/30", "dev", there)
            _ip("-n", name, "link", "set", there, "up")
            made.append((name, f"{net}.{4 * i + 2}"))
        yield made


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def client(folder: Path, *hosts: Host, **more: str) -> dict[str, str]:
    (folder / "client").mkdir()
    return {
        **FLAGS,
        "DISTCC_DIR": str(folder / "client"),
        # Debian's calls gcc by its longer name elsewhere.
        "DISTCC_NO_REWRITE_CROSS": "1",
        "DISTCC_HOSTS": " ".join(host.name for host in hosts),
        **more,
    }


@needs_distcc
@pytest.mark.parametrize("compiler", [None, "distcc gcc"], ids=["launcher", "CC"])
def test_every_object_is_compiled_on_other_hosts(
    project: Path, open_folder: Path, compiler: str | None
) -> None:
    with contextlib.ExitStack() as stack:
        hosts = []
        for address, port, prefix in stack.enter_context(places(2)):
            host = Host(address, port, open_folder / f"{address}.log")
            stack.enter_context(host.serving(*prefix))
            hosts.append(host)
        env = client(open_folder, *hosts, DISTCC_FALLBACK="0")
        settings = {"launcher": "distcc"}
        if compiler:
            env |= {"CC": compiler, "CXX": "distcc g++"}
            settings = {}
        wheel = build_wheel(project, jobs=4, env=env, config_settings=settings)
        done = [host.compiled() for host in hosts]
    assert sum(done) == SOURCES
    assert all(done)
    assert wheel_bytes_equal(serial_wheel(project, env=FLAGS), wheel)


@needs_distcc
def test_a_host_that_is_killed_in_the_middle_changes_nothing(
    project: Path, open_folder: Path
) -> None:
    # The compiler of one host ends that host's daemon, and makes nothing.
    bin, leader = open_folder / "bin", open_folder / "leader"
    bin.mkdir()
    for name in ("gcc", "g++"):
        (bin / name).write_text(f"#!/bin/sh\nkill -9 -$(cat {leader})\nexit 1\n", encoding="utf-8")
        (bin / name).chmod(0o755)
    good = Host("127.0.0.2", free_port("127.0.0.2"), open_folder / "good.log")
    bad = Host("127.0.0.3", free_port("127.0.0.3"), open_folder / "bad.log")
    env = client(open_folder, bad, good)
    path = f"{bin}{os.pathsep}{os.environ['PATH']}"
    with good.serving(), bad.serving(path=path) as process:
        leader.write_text(str(process.pid), encoding="utf-8")
        wheel = build_wheel(project, jobs=4, env=env, config_settings={"launcher": "distcc"})
        assert process.wait(_PATIENCE) == -signal.SIGKILL
        assert bad.compiled() == 0
        assert good.compiled() > 0
    assert wheel_bytes_equal(serial_wheel(project, env=FLAGS), wheel)
