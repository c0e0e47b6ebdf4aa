"""The hook server's command line. Its process is the supervisor, or a worker of one."""

from __future__ import annotations

import atexit
import os
import signal
import sys

from parallel_backend.tools.hook_server.descriptors import (
    empty_stdin,
    move_away,
    open_standard_descriptors,
)
from parallel_backend.tools.hook_server.messages import answer_line
from parallel_backend.tools.hook_server.processes import Fork, Worker
from parallel_backend.tools.hook_server.supervisor import Supervisor
from parallel_backend.tools.hook_server.worker import serve, thread_count

__all__ = ["USAGE", "main"]

# Counts changes after which an older client or server does not understand the other.
_PROTOCOL = 1

# Our own backend gives its compilers ten seconds to end.
_PATIENCE = 12.0

USAGE = """\
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
        self.worker = False
        words = [*words]
        while words:
            word = words.pop(0)
            if word == "--channel":
                self.read, self.write = int(words.pop(0)), int(words.pop(0))
            elif word == "--no-fork":
                self.forks = False
            elif word == "--patience":
                self.patience = float(words.pop(0))
            elif word == "--worker":  # not for people
                self.worker = True
            else:
                raise ValueError(word)


def main() -> None:
    """Do what the command line asks for."""
    if {"-h", "--help"} & {*sys.argv[1:]}:
        print(USAGE, end="")
        return
    try:
        options = _Options(sys.argv[1:])
    except (IndexError, ValueError) as error:
        raise SystemExit(f"{USAGE}\nerror: not understood: {error}") from None
    open_standard_descriptors()
    read, write = move_away(options.read, options.write)
    empty_stdin()
    if options.worker:
        serve(read, write, forks=options.forks)
    _supervise(options, (read, write))


def _supervise(options: _Options, channel: tuple[int, int]) -> None:
    reports = move_away(*os.pipe())
    environment = _initial_environment()
    # A sitecustomize.py may have started a thread, which a fork would not have.
    forks = options.forks and thread_count() == 1
    supervisor = Supervisor(
        channel,
        reports,
        command=[*_interpreter(), "--worker", *([] if forks else ["--no-fork"])],
        patience=options.patience,
        environment=environment,
        first=_fork_worker(environment, reports[1], (*channel, reports[0])) if forks else None,
    )
    python = ".".join(map(str, sys.version_info[:3]))
    hello = {"hello": _PROTOCOL, "python": python, "pid": os.getpid(), "fork": forks}
    told = supervisor.run(answer_line(hello))
    if told:
        atexit._run_exitfuncs()
        signal.signal(told, signal.SIG_DFL)
        os.kill(os.getpid(), told)


def _fork_worker(environment: dict[str, str], reports: int, private: tuple[int, ...]) -> Worker:
    """Fork this process, which is as good as one that is started now, and is there sooner.

    `private`: descriptors that the worker must not have.
    """
    read, write = move_away(*os.pipe())
    pid = os.fork()
    if pid == 0:
        for descriptor in {*private, write}:
            os.close(descriptor)
        serve(read, reports, forks=True)
    os.close(read)
    return Worker(Fork(pid), write, (environment, ""))


def _interpreter() -> list[str]:
    """Return the command that runs the server in this interpreter, less its arguments."""
    # Everything up to the script is the interpreter's.
    options = sys.orig_argv[1 : -len(sys.argv)]
    return [sys.executable, *options, os.path.join(os.path.dirname(__file__), "server.py")]


def _initial_environment() -> dict[str, str]:
    """Return the environment that this process was started in. The interpreter adds to it."""
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:  # pragma: no cover - Linux has it
        return dict(os.environ)
    environment: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition(b"=")
        if name and equals:
            environment.setdefault(os.fsdecode(name), os.fsdecode(value))
    return environment
