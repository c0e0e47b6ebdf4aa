"""The report of a failure: the extension, what failed, its command, then what it printed."""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Callable, Sequence
from distutils.errors import CCompilerError, DistutilsError

from parallel_backend.engine.output import Cancelled, Job
from parallel_backend.engine.scope import Scope
from parallel_backend.hook_process import Terminated
from parallel_backend.hook_process.result import signal_name

__all__ = ["explain", "how_it_ended", "joined", "run_reported", "was_killed"]


# Of the driver, as we say it; of what it runs, as gcc and as clang say it.
_SIGNS_OF_A_KILL = (
    "was killed by SIGKILL",
    "Killed signal terminated program",
    "unable to execute command: Killed",
)


def run_reported(scope: Scope, function: Callable[[], object]) -> BaseException | None:
    """Call `function` in a scope; the exception that it raised, of the same class, with the report.

    setuptools prints the message of its own exceptions last of all; other exceptions get a note,
    which Python prints last of all.
    """
    error: BaseException | None = None
    with scope.current(), scope.job(live=True) as job:
        try:
            function()
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            error = raised if job.cancelled else _reported(raised, scope.name, job)
        # What a failed command printed must be seen, also where the project has caught the error.
        for text in scope.failures:
            if error is None or text not in str(error):
                job.write(2, f"{text}\n".encode(errors="backslashreplace"))
        job.show()
    return error


def _reported(error: BaseException, name: str, job: Job) -> BaseException:
    text = job.text()
    told = error
    if isinstance(error, (CCompilerError, DistutilsError)):
        told = copy.copy(error)
        told.args = (f"{name}: {explain(error, job, text)}",)
        told.__cause__ = error.__cause__
    else:
        # Whoever catches it shows no note, and SystemExit has none.
        job.write(2, text.encode(errors="backslashreplace"))
        if not isinstance(error, Cancelled | Terminated):
            told.add_note(name)
    return told


def how_it_ended(status: int) -> str:
    """An exit status in words; negative: a signal's number."""
    if status >= 0:
        return f"failed with exit status {status}"
    name = signal_name(-status)
    return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def explain(error: BaseException, job: Job, text: str) -> str:
    """What failed and why, then the command, then what it printed."""
    if job.failed is None:
        missing = error.__context__ or error.__cause__
        if isinstance(missing, FileNotFoundError) and missing.filename:
            program = os.fspath(missing.filename)
            return (
                f"the program {program!r} was not found; install it, or name another one (CC, CXX)"
            )
        return f"{error}\n{text}".rstrip()
    words, status = job.failed
    line = subprocess.list2cmdline(words)
    if line not in text:  # as with --quiet
        text = f"{line}\n{text}"
    return f"{words[0]} {how_it_ended(status)}\n{text}".rstrip()


def was_killed(error: BaseException) -> bool:
    """Whether a command was killed, as where memory is short: alone it may have enough."""
    return any(sign in str(error) for sign in _SIGNS_OF_A_KILL)


def joined(errors: Sequence[BaseException]) -> BaseException:
    """One exception that tells all of them, for a build that kept going."""
    first = errors[0]
    if len(errors) == 1 or not isinstance(first, (CCompilerError, DistutilsError)):
        for error in errors[1:]:
            first.add_note(str(error))
        return first
    told = copy.copy(first)
    texts = "\n\n".join(str(error) for error in errors)
    told.args = (f"{len(errors)} extensions failed\n{texts}",)
    return told
