"""The hook server where processes can fork: each hook runs in a fork of one warm interpreter."""

from __future__ import annotations

import os
import select

from parallel_backend.tools.hook_server.channel import Channel
from parallel_backend.tools.hook_server.fork import Fork, Signals
from parallel_backend.tools.hook_server.hook import compiled
from parallel_backend.tools.hook_server.messages import Lines, Request
from parallel_backend.tools.hook_server.resumption import Resumption, start_afresh
from parallel_backend.tools.hook_server.service import Service
from parallel_backend.tools.hook_server.surroundings import Surroundings
from parallel_backend.tools.hook_server.warmth import Warmth

__all__ = ["ForkServer"]

# An interpreter that finds its surroundings changed while it started is started anew this often.
_MOST_STARTS = 3
# Seconds between looks at a hook's process.
_LOOK = 1.0
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class ForkServer:
    """Serves one channel until its end. `command` runs the server anew, without arguments.

    `resumption`: what the interpreter before this one has left.
    """

    def __init__(
        self, channel: Channel, *, command: list[str], patience: float, resumption: Resumption
    ) -> None:
        self._channel = channel
        self._command = [*command, "--patience", str(patience)]
        self._resumption = resumption
        self._surroundings = Surroundings(asked=resumption.asked, base=resumption.base)
        self._warmth = Warmth(
            self._surroundings,
            began=resumption.began,
            unfit=resumption.unfit,
            commands=resumption.commands,
        )
        self._service = Service(start=self._start, send=channel.send, patience=patience)
        self._lines = Lines(resumption.rest)
        self._signals = Signals(mask=resumption.mask, interruptible=os.isatty(channel.read))
        self._fork: Fork | None = None
        #: Processes of forks that have answered, and are about to end.
        self._leaving = [*resumption.leaving]
        self._starts = resumption.starts
        self._reading = True
        self._heard = True
        self._told = 0

    def run(self) -> int:
        """Serve; returns the signal that told this process to end, or 0."""
        for line in self._resumption.lines:
            self._service.take(line)
        if self._resumption.ended:
            self._end_input()
        while True:
            self._service.proceed()
            if self._heard and not self._channel.write_some():
                self._lose_reader()
            waits = self._heard and not self._told and self._channel.unsent
            if self._service.finished and not waits:
                return self._told
            self._wait()
            self._reap()
            self._service.look_at_clock()

    # --- what happens

    def _wait(self) -> None:
        """Wait until something happens, and take it in."""
        poll = select.poll()
        poll.register(self._signals.inlet, select.POLLIN)
        if self._reading:
            poll.register(self._channel.read, select.POLLIN)
        if self._heard:  # without its reader there is an error, which is told unasked
            poll.register(self._channel.write, select.POLLOUT if self._channel.unsent else 0)
        if self._fork and self._fork.speaks:
            poll.register(self._fork.inlet, select.POLLIN)
        wait = self._service.wait()
        if self._fork:  # in case that a signal is lost
            wait = _LOOK if wait is None else min(wait, _LOOK)
        for descriptor, event in poll.poll(None if wait is None else int(wait * 1000) + 1):
            if descriptor == self._signals.inlet:
                self._take_signals()
            elif descriptor == self._channel.read:
                self._read()
            elif descriptor != self._channel.write:
                self._hear()
            elif event & _GONE:
                self._lose_reader()

    def _read(self) -> None:
        data = self._channel.receive()
        for line in self._lines.take(data):
            self._service.take(line)
        if not data:
            self._end_input()

    def _end_input(self) -> None:
        self._reading = False
        self._service.take(self._lines.rest)
        self._service.close()

    def _lose_reader(self) -> None:
        self._heard = self._reading = False
        self._service.abandon()

    def _take_signals(self) -> None:
        for number in self._signals.take():
            if number != self._signals.CHILD:  # which only has to wake this process
                self._told = number
                self._reading = False
                self._service.abandon()

    def _hear(self) -> None:
        """The hook says something: the end of its answer counts, not the end of its process."""
        fork = self._fork
        if fork:
            fork.read()
            if fork.answer and self._service.answered(fork.answer):
                self._leaving.append(fork.pid)
                fork.close()
                self._fork = None

    def _reap(self) -> None:
        """See which processes of hooks have ended."""
        self._leaving = [pid for pid in self._leaving if os.waitpid(pid, os.WNOHANG)[0] == 0]
        fork = self._fork
        if fork:
            pid, status = os.waitpid(fork.pid, os.WNOHANG)
            if pid:
                fork.read()
                self._service.ended(fork.answer, _exit_code(status))
                fork.close()
                self._fork = None

    # --- hooks

    def _start(self, request: Request) -> Fork:
        environment = request.environment
        if environment is None:
            environment = self._surroundings.base
        if not self._warmth.suits(request, environment):
            self._start_afresh(request, environment)
        unfit = self._warmth.preload(request, environment)
        if unfit or not self._warmth.sure:
            self._start_afresh(request, environment, unfit)
        if request.script is not None:
            _compile(request.script)
        self._starts = 0
        private = (*self._signals.descriptors, self._channel.read, self._channel.write)
        self._fork = Fork(
            request,
            surroundings=self._surroundings.of_hook(environment),
            signals=self._signals,
            private=private,
        )
        return self._fork

    def _start_afresh(self, request: Request, environment: dict[str, str], unfit: str = "") -> None:
        """Become another interpreter that takes this request, unless that was tried too often."""
        if self._starts >= _MOST_STARTS and not unfit:
            return
        folder = self._surroundings.folder_for(environment, request.source)
        state = {
            "asked": environment,
            "base": self._surroundings.base,
            "commands": self._resumption.commands and self._warmth.has_only_what_is_wanted(request),
            "ended": not self._reading,
            "leaving": self._leaving,
            "lines": [request.line, *(each.line for each in self._service.queue)],
            "mask": self._signals.mask,
            "rest": self._lines.rest,
            "starts": self._starts + 1,
            "unfit": [*self._resumption.unfit, unfit] if unfit else [],
        }
        mask = self._signals.hold()  # what comes now is for the next interpreter
        try:
            start_afresh(self._channel, command=self._command, folder=folder, state=state)
        finally:
            self._signals.let_go(mask)


def _compile(script: str) -> None:
    """Have its code ready for the fork."""
    try:
        compiled(script)
    except (OSError, SyntaxError, ValueError):
        return  # its own process will say so


def _exit_code(status: int) -> int:
    """As `os.waitstatus_to_exitcode` has it, which Python 3.8 does not have."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
