"""A process with Cython's compiler in it, which forks for each source."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pickle
import pkgutil
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from parallel_backend.build import interception

__all__ = ["Translator"]

_LENGTH = struct.Struct("<I")


class Translator:
    """A process with Cython's compiler in it, which forks for each source."""

    def __init__(self, one: Callable[..., Any]) -> None:
        self._here, there = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.setpgid(0, 0)
                self._here.close()
                _serve(there, one)
            finally:
                os._exit(0)
        there.close()
        with contextlib.suppress(OSError):
            os.setpgid(self._pid, self._pid)
        interception.started(self._pid)

    def begin(self, directory: str, task: bytes) -> int:
        """Begin a translation into `directory`; a descriptor from which its result can be read.

        `task`: a pickled directory to run in, and what ``cythonize_one()`` is called with.
        """
        inlet, outlet = os.pipe()
        data = pickle.dumps((directory, task))
        try:
            socket.send_fds(self._here, [_LENGTH.pack(len(data))], [outlet])
            self._here.sendall(data)
        except BaseException:
            os.close(inlet)
            raise
        finally:
            os.close(outlet)
        return inlet

    def kill(self) -> None:
        """End all translations, and itself."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)

    def end(self) -> None:
        """Be gone."""
        self.kill()
        self._here.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        interception.ended(self._pid)


def _serve(there: socket.socket, one: Callable[..., Any]) -> None:
    """Be the translator, until the other end is closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for its forks
    is_ready = False
    while True:
        head, descriptors, _, _ = socket.recv_fds(there, _LENGTH.size, 1)
        if not head:
            return
        (length,) = _LENGTH.unpack(head)
        data = b""
        while len(data) < length:
            piece = there.recv(length - len(data))
            if not piece:  # whoever asked is gone
                return
            data += piece
        if not is_ready:
            is_ready = True
            _import_compiler()
        if os.fork() == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                there.close()
                result = _work(one, *pickle.loads(data))
                with open(descriptors[0], "wb") as stream:
                    pickle.dump(result, stream)
            finally:
                os._exit(0)
        os.close(descriptors[0])


def _import_compiler() -> None:
    """Import what Cython imports for its first source."""
    package = importlib.import_module("Cython.Compiler")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in ("Tests", "Lexicon", "AutoDocTransforms"):
            with contextlib.suppress(Exception):
                importlib.import_module(f"{package.__name__}.{module.name}")


def _work(one: Callable[..., Any], directory: str, data: bytes) -> tuple[bool, str, str]:
    """Translate one source into a directory of its own."""
    folder, task = pickle.loads(data)
    os.chdir(folder)
    made = os.path.join(directory, "made")
    os.mkdir(made)
    out, err = io.StringIO(), io.StringIO()
    source, target, *rest = task
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            one(source, os.path.join(made, os.path.basename(target)), *rest)
        except BaseException:  # it is told by who tries again
            return False, "", ""
    return True, out.getvalue(), err.getvalue()
