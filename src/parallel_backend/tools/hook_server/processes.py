"""Workers' processes, as the supervisor sees them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

from parallel_backend.tools.hook_server.descriptors import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

__all__ = ["Fork", "Worker", "start_worker"]

_POSIX = os.name == "posix"
_KILL = 2  # the last step
# Bytes that any system's pipe holds.
_SHORT = 1 << 14


class Fork:
    """A fork of this process, with the methods of a `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    terminate = kill


class Worker:
    """One worker, and the hook that it runs. `process` reads requests from the pipe `requests`.

    `started_in`: its environment, and its first directory if that matters.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes] | Fork,
        requests: int,
        started_in: tuple[Mapping[str, str], str],
    ) -> None:
        self.process = process
        self.started_in = started_in
        self._requests = requests
        self._step = -1
        #: The number of the hook's process, as soon as it is known; else 0.
        self.hook = 0
        #: The hook's answer, as soon as it is there.
        self.answer = b""

    def ask(self, line: bytes) -> None:
        """Send a request. Raises OSError."""
        self.hook, self.answer, self._step = 0, b"", -1
        # The worker may be unable to read it now, and what runs here must not wait.
        copy = os.dup(self._requests)
        if len(line) < _SHORT:
            _send(copy, line)
        else:
            threading.Thread(target=_send, args=(copy, line), daemon=True).start()

    def begin(self, hook: int) -> None:
        """Note that the hook has begun, and tell it what came too early."""
        self.hook = hook
        if self._step >= 0:
            self.tell(self._step)

    def tell(self, step: int) -> None:
        """Tell the hook's process group to end: 0 interrupts, 1 terminates, 2 kills."""
        self._step = step
        if not _POSIX:  # pragma: no cover - Windows has no such signals
            self.process.terminate()
        elif self.hook:
            _signal_group(self.hook, (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[step])
        elif step == _KILL:
            self.process.kill()

    def sweep(self) -> None:
        """Kill what is left of the hook's process group."""
        if self.hook and _POSIX:
            _signal_group(self.hook, signal.SIGKILL)

    def close(self) -> None:
        """Send no more requests: the worker ends."""
        os.close(self._requests)


def start_worker(
    command: list[str], started_in: tuple[Mapping[str, str], str], *, source: str, reports: int
) -> Worker:
    """Start one by `command` in the project's directory `source`. Raises OSError."""
    import subprocess

    read, write = os.pipe()
    try:
        if _POSIX:
            for descriptor in (read, reports):
                os.set_inheritable(descriptor, True)
            process = subprocess.Popen(
                [*command, "--channel", str(read), str(reports)],
                cwd=source,
                env=started_in[0],
                close_fds=False,  # a fork has what the server was started with, too
            )
        else:  # pragma: no cover - Windows hands on no other descriptors
            process = subprocess.Popen(
                command, cwd=source, env=started_in[0], stdin=read, stdout=reports
            )
    except BaseException:
        os.close(write)
        raise
    finally:
        os.set_inheritable(reports, False)
        os.close(read)
    return Worker(process, write, started_in)


def _send(requests: int, line: bytes) -> None:
    with contextlib.suppress(OSError):  # it has ended, and that is heard of otherwise
        write_all(requests, line)
    os.close(requests)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(OSError):  # nobody is left whom this process may signal
        os.killpg(group, number)
