"""Made-up extensions, compilers that do as a test says, and builds that a test watches."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import termios
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import SOURCE, HookRun

__all__ = [
    "NO_OPTIMISATION",
    "Build",
    "Tokens",
    "can_mount",
    "eventually",
    "jobserver",
    "most_at_once",
    "running_build",
    "write_compiler",
    "write_extensions",
]

# No debug information: it would hold paths, and these wheels are built in several folders.
NO_OPTIMISATION = {"CFLAGS": "-O0"}

# Seconds in which anything that has to happen has happened, on a machine that is busy, too.
_DEADLINE = 60.0

_DRIVER = Path(__file__).parent / "hook_driver.py"
_REAL = (sysconfig.get_config_var("CC") or "cc").split()[0]

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]

[project]
name = "{name}"
version = "1.0"

[tool.setuptools]
py-modules = []
"""

_SETUP = """\
from setuptools import Extension, setup
{code}
setup(ext_modules=[
    Extension(name, [f"{{name}}_{{n}}.c" for n in range(count)], **{options!r}.get(name, {{}}))
    for name, count in {extensions!r}.items()
], **{arguments})
"""

# Reads what it is asked to do as a compiler does. The functions are for the tests' own lines.
_COMPILER = """\
#!/bin/sh
kind=link source= path= target= rule= previous=
for word do
    case $word in
        -c) kind=compile ;;
        -E | -Wl,--help) exec {real} "$@" ;;
        *.c) source=${{word##*/}} path=$word ;;
        -Wl,--dependency-file=*) rule=${{word#*=}} ;;
    esac
    case $previous in -o) target=$word ;; -MF) rule=$word ;; esac
    previous=$word
done
log() {{ printf '%s\\n' "$*" >>'{log}'; }}
real() {{ {real} "$@"; }}
fake() {{
    printf '%s' "$source" >"$target"
    [ -z "$rule" ] || printf 'x: %s\\n' "$path" >"$rule"
}}
patiently() {{
    tries=0
    until "$@" || [ $tries -ge 2000 ]; do sleep 0.01; tries=$((tries + 1)); done
}}
logged() {{ [ "$(grep -c "$1" '{log}')" -ge "$2" ]; }}
together() {{
    [ -e '{log}.together' ] && return
    [ $(($(grep -c '^+' '{log}') - $(grep -c '^-' '{log}'))) -ge "$1" ] && : >'{log}.together'
}}
"""


def write_extensions(
    folder: Path,
    extensions: Mapping[str, int],
    *,
    contents: Mapping[str, str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    code: str = "",
    arguments: str = "{}",
) -> Path:
    """Write a project of C extensions that need no header, and return its folder.

    `extensions`: names, and how many sources each has: ``NAME_0.c`` and so on. `contents`: sources
    that hold something else. `options`: keyword arguments of each `Extension`. `code` stands before
    the call of ``setup()``, and `arguments` is an expression for more keyword arguments of it.
    """
    folder.mkdir(parents=True)
    name = folder.name.replace("_", "-")
    (folder / "pyproject.toml").write_text(_PYPROJECT.format(name=name))
    values = {name: dict(values) for name, values in (options or {}).items()}
    (folder / "setup.py").write_text(
        _SETUP.format(code=code, options=values, extensions=dict(extensions), arguments=arguments)
    )
    for extension, count in extensions.items():
        for number in range(count):
            text = f"int {extension}_{number}(void) {{ return {number}; }}\n"
            if number == 0:
                text = f"void *PyInit_{extension}(void) {{ return 0; }}\n"
            source = f"{extension}_{number}.c"
            (folder / source).write_text((contents or {}).get(source, text))
    return folder


def write_compiler(path: Path, body: str, *, log: Path | None = None) -> dict[str, str]:
    """Write a compiler, a shell script that ends with `body`; the environment that names it.

    In `body`: ``$kind`` is compile or link, ``$source`` a base name, ``$target`` what -o names;
    ``log WORDS`` adds a line to `log`, ``real "$@"`` runs the real compiler, ``fake`` writes
    something to the target, ``patiently COMMAND`` waits until a command succeeds, for a while,
    ``logged PATTERN NUMBER`` succeeds once so many lines of the log match, and ``together NUMBER``
    once so many have run at the same time, as lines that begin with ``+`` and ``-`` tell.
    """
    log = log or path.with_suffix(".log")
    log.touch()
    path.write_text(_COMPILER.format(real=_REAL, log=log) + body)
    path.chmod(0o755)
    return {"CC": str(path), **NO_OPTIMISATION}


def most_at_once(log: Path) -> int:
    """How many ran at once: ``+`` lines were written after a begin, ``-`` lines before an end."""
    most = now = 0
    for line in log.read_text().splitlines():
        now += {"+": 1, "-": -1}.get(line[:1], 0)
        most = max(most, now)
    return most


def eventually(condition: Callable[[], object], what: str, seconds: float = _DEADLINE) -> None:
    """Wait for a fact that nothing tells of; AssertionError after `seconds`."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.01)


class Build:
    """A hook that runs in the background, in a session of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        temporary: Path,
        env: Mapping[str, str],
        settings: Mapping[str, str],
        merged: bool,
        launcher: Sequence[str],
    ) -> None:
        self.out = Path(tempfile.mkdtemp(prefix="wheel-", dir=folder.parent))
        self.mark = f"TEST_MARK={uuid.uuid4()}"
        self.temporary = temporary
        self._result = temporary.with_name(f"{temporary.name}.json")
        self._streams = [temporary.with_name(f"{temporary.name}.{n}") for n in (1, 2)]
        request = temporary.with_name(f"{temporary.name}-request.json")
        request.write_text(
            json.dumps(
                {
                    "path": [str(SOURCE)],
                    "backend": "parallel_backend",
                    "hook": "build_wheel",
                    "args": [str(self.out), dict(settings)],
                    "kwargs": {},
                    "result": str(self._result),
                }
            )
        )
        name, _, value = self.mark.partition("=")
        with open(self._streams[0], "wb") as stdout, open(self._streams[1], "wb") as stderr:
            self.process = subprocess.Popen(
                [*launcher, sys.executable, str(_DRIVER), str(request)],
                cwd=folder,
                env={**os.environ, "TMPDIR": str(temporary), name: value, **env},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.STDOUT if merged else stderr,
                start_new_session=True,
            )

    def finish(self, seconds: float = _DEADLINE) -> HookRun:
        """Wait for the frontend's end; AssertionError after `seconds`."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            running = [f"{pid}: {_command_of(pid)}" for pid in self.processes()]
            self.kill()
            text = "\n".join([*self._text(), *running])
            raise AssertionError(f"still running after {seconds:.0f} s:\n{text}") from None
        answer = json.loads(self._result.read_text()) if self._result.exists() else {}
        stdout, stderr = self._text()
        return HookRun(returncode=status, result=answer.get("result"), stdout=stdout, stderr=stderr)

    def wheel(self) -> Path:
        """The wheel of a build that has to succeed."""
        done = self.finish()
        assert done.returncode == 0, done.output
        return self.out / str(done.result)

    def _text(self) -> tuple[str, str]:
        stdout, stderr = (path.read_text(errors="backslashreplace") for path in self._streams)
        return stdout, stderr

    def processes(self) -> list[int]:
        """Whatever this build has started and that still runs, the frontend included."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit():
                    environ = (entry / "environ").read_bytes().split(b"\0")
                    if self.mark.encode() in environ:
                        found.append(int(entry.name))
        return found

    def hook_process(self) -> int:
        """The process that the frontend has forked for the hook."""
        pid = self.process.pid
        [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    def kill(self) -> None:
        """End all of it at once."""
        while found := self.processes():
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def assert_nothing_is_left(self) -> None:
        """No process, and nothing in the folder for temporary files."""
        try:
            eventually(lambda: not self.processes(), "its processes have ended")
        except AssertionError as error:
            running = [f"{pid}: {_command_of(pid)}" for pid in self.processes()]
            raise AssertionError("\n".join([str(error), *running])) from None
        names = [path.name for path in self.temporary.iterdir()]
        # A gcc that is ended in the very moment leaves a file of its own (ccXXXXXX.s).
        left = [name for name in names if not name.startswith("cc")]
        assert not left, left


def _command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return "has ended"


@contextlib.contextmanager
def running_build(
    folder: Path,
    *,
    env: Mapping[str, str],
    merged: bool = False,
    launcher: Sequence[str] = (),
    **settings: str | int,
) -> Iterator[Build]:
    """Build a wheel in the background; nothing of it is left after the ``with`` block.

    `merged`: standard error goes where standard output goes. `launcher`: a command that runs what
    is appended to it.
    """
    temporary = Path(tempfile.mkdtemp(prefix="tmp-", dir=folder.parent))
    # A shell starts what runs in the background with SIGINT ignored, which is inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        build = Build(
            folder,
            temporary=temporary,
            env=env,
            settings={name.replace("_", "-"): str(value) for name, value in settings.items()},
            merged=merged,
            launcher=launcher,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield build
    finally:
        build.kill()
        build.process.wait()


class Tokens:
    """An outer jobserver in a FIFO, whose tokens can be told apart."""

    def __init__(self, path: Path, tokens: bytes) -> None:
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._all = tokens
        os.write(self._fd, tokens)
        self.environment = {"MAKEFLAGS": f" -j --jobserver-auth=fifo:{path}"}

    def free(self) -> int:
        """How many nobody holds."""
        answer = fcntl.ioctl(self._fd, termios.FIONREAD, b"\0" * 4)
        return int.from_bytes(answer, sys.byteorder)

    def take(self) -> bytes:
        """Hold one from now on."""
        return os.read(self._fd, 1)

    def give(self, token: bytes) -> None:
        """Hold it no more."""
        os.write(self._fd, token)

    def assert_all_are_back(self) -> None:
        """Each byte is there once; they are taken out."""
        back = os.read(self._fd, 100) if self.free() else b""
        assert sorted(back) == sorted(self._all), f"{back!r} came back, of {self._all!r}"

    def close(self) -> None:
        os.close(self._fd)


@contextlib.contextmanager
def jobserver(path: Path, tokens: bytes) -> Iterator[Tokens]:
    """Serve job tokens through a FIFO at `path`."""
    served = Tokens(path, tokens)
    try:
        yield served
    finally:
        served.close()


def can_mount() -> list[str]:
    """A command that runs another one where it may mount; empty where this is not allowed."""
    for options in (["--mount"], ["--map-root-user", "--mount"]):
        command = ["unshare", *options]
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError):
            probe = [*command, "mount", "-t", "tmpfs", "tmpfs", folder]
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return command
    return []
