"""The hook server's command line: which way hooks are run, and how this process ends."""

from __future__ import annotations

import os
import sys

from parallel_backend.tools.hook_server.resumption import Resumption, interpreter
from parallel_backend.tools.hook_server.surroundings import thread_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

__all__ = ["PROTOCOL", "prepared"]

#: Counts changes after which an older client or server does not understand the other.
PROTOCOL = 1

# Our own backend gives its compilers ten seconds to end.
_PATIENCE = 12.0

_USAGE = """\
usage: python server.py [--channel READ WRITE] [--no-fork] [--patience SECONDS]

Runs hooks of build backends for a frontend: requests come and answers go as JSON, one a line.

  --channel READ WRITE  the descriptors for them (default: standard input and output)
  --no-fork             run each hook in a fresh process, not in a fork of a warm one
  --patience SECONDS    time for a hook to end after each signal (default: 12)

example: echo '{"id": 1, "hook": "get_requires_for_build_wheel", "backend":
"setuptools.build_meta", "source": "/my/project"}' | python server.py
"""


class _Options:
    def __init__(self, words: list[str]) -> None:
        self.read, self.write = 0, 1
        self.forks = hasattr(os, "fork") and sys.platform != "darwin"
        self.patience = _PATIENCE
        self.command = interpreter()
        self.resume = -1
        self.folder = ""
        words = [*words]
        while words:
            word = words.pop(0)
            if word == "--channel":
                self.read, self.write = int(words.pop(0)), int(words.pop(0))
            elif word == "--no-fork":
                self.forks = False
            elif word == "--patience":
                self.patience = float(words.pop(0))
            elif word == "--resume":  # from here on not for people
                self.resume = int(words.pop(0))
            elif word == "--hook":
                self.folder = words.pop(0)
            else:
                raise ValueError(word)


def prepared(began: int) -> Callable[[], None]:
    """What does what the command line asks for, with all of the server that it needs loaded.

    `began`: when this process began, in nanoseconds since the epoch.
    """
    if {"-h", "--help"} & {*sys.argv[1:]}:
        print(_USAGE, end="")
        raise SystemExit
    try:
        options = _Options(sys.argv[1:])
    except (IndexError, ValueError) as error:
        raise SystemExit(f"{_USAGE}\nerror: not understood: {error}") from None
    if options.folder:
        from parallel_backend.tools.hook_server.processes import be_the_hook

        return lambda: be_the_hook(options.folder)
    # A sitecustomize.py may have started a thread, which a fork would not have.
    if options.forks and (options.resume >= 0 or thread_count() == 1):
        return _with_forks(options, began)
    return _with_processes(options)


def _with_forks(options: _Options, began: int) -> Callable[[], None]:
    from parallel_backend.tools.hook_server.channel import Channel
    from parallel_backend.tools.hook_server.forks import ForkServer

    def serve() -> None:
        resuming = options.resume >= 0
        if resuming:
            resumption = Resumption.read(options.resume, began=began)
        else:
            resumption = Resumption({}, began=began)
        channel = Channel(options.read, options.write)
        channel.send(resumption.unsent if resuming else _hello(forks=True))
        server = ForkServer(
            channel, command=options.command, patience=options.patience, resumption=resumption
        )
        _end(server.run())

    return serve


def _with_processes(options: _Options) -> Callable[[], None]:
    from parallel_backend.tools.hook_server.processes import ProcessServer

    def serve() -> None:
        server = ProcessServer(
            options.read, options.write, command=options.command, patience=options.patience
        )
        _end(server.run(_hello(forks=False)))

    return serve


def _hello(*, forks: bool) -> bytes:
    python = ".".join(map(str, sys.version_info[:3]))
    flag = "true" if forks else "false"
    text = f'{{"hello": {PROTOCOL}, "python": "{python}", "pid": {os.getpid()}, "fork": {flag}}}\n'
    return text.encode("ascii")


def _end(told: int) -> NoReturn:
    """End as the signal `told` ends a process, or with status 0.

    Not as the interpreter does, which takes longer with all that it has imported for hooks.
    """
    import atexit

    signal: Any = __import__("_signal")
    is_posix = hasattr(signal, "pthread_sigmask")
    if is_posix:  # a handler in the middle of an exit function could wait for it, for ever
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if told:
        signal.signal(told, signal.SIG_DFL)
        os.kill(os.getpid(), told)
        if is_posix:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [told])
    os._exit(0)
