"""Finds out which commands a build will run: a fork that runs it with every command stubbed.

The fork runs the project's own serial code. Each command that compiles or links counts as
succeeded at once, and is sent to the parent, so state flows from one to the next as in the real
build. It must not touch the world: it may make directories below those of the build, write to a
temporary directory of its own, try the compiler there, and ask programs that only read. At anything
else, which an audit hook (PEP 578) sees, it ends, and says why. What it has sent until then stands.

The parent reads messages: a length of four bytes, then a pickled tuple, ``("command", words,
directory, environ or None for the one before, umask, extension)``, ``("translate", task)`` or
``("end", reason)``.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import pickle
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from parallel_backend.build import interception
from parallel_backend.build.commands import Command, parse

if TYPE_CHECKING:
    from parallel_backend.build.translation import Task, Translations

__all__ = ["Recorder", "can_record"]

_LENGTH = struct.Struct("<I")

# Events of the audit hook, or their beginnings, that end a recorder: they change something.
_CHANGES = (
    "os.chflags", "os.chmod", "os.chown", "os.link", "os.lockf", "os.remove", "os.rename",
    "os.rmdir", "os.setxattr", "os.removexattr", "os.symlink", "os.truncate", "os.utime",
    "os.mkdir", "os.exec", "os.fork", "os.kill", "os.posix_spawn", "os.spawn", "os.startfile",
    "os.system", "pty.spawn", "socket.", "_thread.start", "ctypes.", "sqlite3.", "syslog.",
    "signal.pthread_kill", "webbrowser.", "winreg.", "subprocess.Popen", "fcntl.fcntl",
    "fcntl.ioctl", "fcntl.flock", "fcntl.lockf", "code.__new__.",
)  # fmt: skip
_HARMLESS = ("socket.gethostname",)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# What changes something as well, without an event. multiprocessing starts processes by the first.
_UNAUDITED = (
    ("_posixsubprocess", "fork_exec"), ("_posixshmem", "shm_open"), ("_posixshmem", "shm_unlink"),
    ("os", "mkfifo"), ("os", "mknod"),
)  # fmt: skip

# More commands are those of a loop that waits for something that never comes here.
_MOST = 100_000

# Programs that only read, by their names on PATH, whatever their words.
_READERS = re.compile(
    r"(?:.*-)?(?:pkg-config|pkgconf)|.*[a-z0-9]-config(?:-[\d.]+)?|uname|arch|nproc|getconf|which"
)
# What any program is asked with its only word.
_QUESTION = re.compile(r"--version|-version|-V|-dumpversion|-dumpmachine|-print-[\w=.+-]+|--help")
_GIT = ("rev-parse", "describe", "log", "show")


def can_record() -> bool:
    """Whether a fork of this process is its twin: one thread, and no memory that they share."""
    from parallel_backend.hook_process import fork_is_safe

    if not fork_is_safe():
        return False
    try:
        maps = Path("/proc/self/maps").read_bytes()
    except OSError:
        return False
    return re.search(rb"^\S+ .w.s ", maps, re.MULTILINE) is None


class Recorder:
    """A recorder as its parent sees it."""

    def __init__(
        self,
        function: Callable[[], object],
        *,
        private: str,
        below: Sequence[str],
        extension: Callable[[], str],
        translations: Translations | None,
    ) -> None:
        """Fork one that runs `function`.

        :param private: a directory of its own.
        :param below: directories in which it may make others.
        :param extension: tells the extension that is being built.
        """
        self.reason = ""
        self.commands = 0
        self._data = bytearray()
        self._environ: Mapping[str, str] = {}
        inlet, outlet = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # whatever a project has put in its place
                stream.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(inlet)
                if hasattr(os, "setpgid"):
                    os.setpgid(0, 0)
                child = _Child(outlet, private, below, extension)
                if translations is not None:
                    translations.record = child.note_translation
                child.run(function)
            finally:
                os._exit(1)
        os.close(outlet)
        os.set_blocking(inlet, False)
        self._inlet = inlet
        with contextlib.suppress(OSError):
            os.setpgid(self.pid, self.pid)
        interception.started(self.pid)

    def fileno(self) -> int:
        return self._inlet

    def read(self) -> tuple[list[tuple[Command | Task, str]], bool]:
        """The commands that it has sent, each with its extension; and whether there may be more."""
        more = True
        while more:
            try:
                piece = os.read(self._inlet, 1 << 16)
            except BlockingIOError:
                break
            more = bool(piece)
            self._data += piece
        return list(self._parsed()), more

    def _parsed(self) -> Iterable[tuple[Command | Task, str]]:
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            end = _LENGTH.size + length
            if len(self._data) < end:
                return
            kind, *values = pickle.loads(self._data[_LENGTH.size : end])
            del self._data[:end]
            if kind == "end":
                self.reason = values[0]
                continue
            if kind == "translate":
                yield values[0], ""
                continue
            words, folder, environ, umask, extension = values
            self._environ = self._environ if environ is None else environ
            command = parse(words, folder=folder, environ=self._environ, umask=umask)
            if command is not None:
                self.commands += 1
                yield command, extension

    def end(self) -> None:
        """End it, if it is still there."""
        os.close(self._inlet)
        interception.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        interception.ended(self.pid)


class _Child:
    """The recorder itself."""

    def __init__(
        self, outlet: int, private: str, below: Sequence[str], extension: Callable[[], str]
    ) -> None:
        self._outlet = outlet
        self._private = os.path.join(os.path.abspath(private), "")
        self._below = [os.path.join(os.path.abspath(folder), "") for folder in below]
        self._extension = extension
        self._environ: dict[str, str] | None = None
        self._trusted = False
        self._count = 0

    def run(self, function: Callable[[], object]) -> NoReturn:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _detach(keep=self._outlet)
        for name in ("stdin", "stdout", "stderr"):
            null = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(null, "r" if name == "stdin" else "w"))
        logging.disable(logging.CRITICAL)
        sys.dont_write_bytecode = True
        tempfile.tempdir = self._private.rstrip(os.sep)
        os.mkdir(self._private)
        for module, name in _UNAUDITED:
            with contextlib.suppress(ImportError, AttributeError):
                place = importlib.import_module(module)
                getattr(place, name)
                setattr(place, name, functools.partial(self._stop_at, name))
        _link_always()
        sys.addaudithook(self._audit)
        interception.handle_here(self._handle)
        try:
            function()
        except BaseException as error:
            self.stop(f"raises {type(error).__name__}: {error}")
        self.stop("")

    def _stop_at(self, name: str, *args: Any, **_: Any) -> NoReturn:
        self.stop(f"{name} {args[0] if args else ''}")

    def stop(self, reason: str) -> NoReturn:
        self._send("end", reason[:500])
        os._exit(0)

    def _send(self, *message: Any) -> None:
        data = pickle.dumps(message)
        data = _LENGTH.pack(len(data)) + data
        while data:
            try:
                data = data[os.write(self._outlet, data) :]
            except OSError:  # whoever listened is gone
                os._exit(0)

    def note_translation(self, task: Task) -> None:
        """Cython would translate a source now."""
        self._send("translate", task)

    def _handle(self, process: Any, command: Command | None, begin: Callable[..., None]) -> None:
        if command is not None and not command.target.startswith(self._private):
            environ = dict(command.environ)
            is_new = environ != self._environ
            self._environ = environ
            self._count += 1
            if self._count > _MOST:
                self.stop(f"runs more than {_MOST} commands")
            self._send(
                "command",
                command.words,
                command.folder,
                environ if is_new else None,
                command.umask,
                self._extension(),
            )
            interception.be_done(process)
            return
        if command is None and not _only_reads(process.args):
            self.stop(f"runs {_text(process.args)}")
        before, self._trusted = self._trusted, True
        try:
            begin()
        finally:
            self._trusted = before

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & _WRITES and not self._may_write(path):
                self.stop(f"writes {path}")
        elif event == "os.mkdir" and self._may_make(args[0]):
            return
        elif event.startswith(_CHANGES) and event not in _HARMLESS and not self._trusted:
            paths = [each for each in args[:2] if isinstance(each, (str, bytes))]
            if event.startswith("os.") and paths and all(map(self._may_write, paths)):
                return
            self.stop(f"{event} {args[0] if args else ''}")

    def _may_write(self, path: Any) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return isinstance(path, int)  # of a descriptor that is open already
        name = os.path.abspath(os.fsdecode(path))
        return name == os.devnull or name.startswith(self._private)

    def _may_make(self, path: Any) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        name = os.path.join(os.path.abspath(os.fsdecode(path)), "")
        return name.startswith((self._private, *self._below)) or any(
            folder.startswith(name) for folder in self._below
        )


def _detach(*, keep: int) -> None:
    """Nothing that is open is shared with the parent: its files' positions, its pipes, its logs."""
    import fcntl  # Windows has none, and no recorder

    null = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number in (keep, null):
            continue
        with contextlib.suppress(OSError):
            own = -1
            is_file = stat.S_ISREG(os.fstat(number).st_mode)
            if is_file and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                own = os.open(f"/proc/self/fd/{number}", os.O_RDONLY)
                os.lseek(own, os.lseek(number, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(null if own < 0 else own, number)
            if own >= 0:
                os.close(own)
    os.set_inheritable(keep, False)


def _link_always() -> None:
    """distutils looks at objects before it links, if what it makes is there: none are there."""
    import distutils.ccompiler

    kind: Any = distutils.ccompiler.CCompiler
    kind._need_link = lambda *_: True


def _only_reads(args: Any) -> bool:
    """Whether a program is certain to change nothing."""
    if not isinstance(args, (list, tuple)) or not args:
        return False
    words = [os.fsdecode(word) for word in args]
    program = shutil.which(words[0])
    if program is None:
        return True  # it cannot be started
    if os.path.abspath(program).startswith(os.path.join(os.getcwd(), "")):
        return False
    name = os.path.basename(words[0])
    if _READERS.fullmatch(name):
        return True
    if name == "git":
        return len(words) > 1 and words[1] in _GIT
    return len(words) == 2 and _QUESTION.fullmatch(words[1]) is not None


def _text(args: Any) -> str:
    if isinstance(args, (list, tuple)):
        return subprocess.list2cmdline(map(os.fsdecode, args))
    return os.fsdecode(args)
