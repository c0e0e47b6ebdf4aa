"""What is shown while projects are built, on stderr: lines, or a live picture on a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from parallel_backend.cli.building import Building
from parallel_backend.cli.reports import log_lines, result_text

__all__ = ["Lines", "time_left", "watching"]

# Of the log of a project that failed.
_LINES = 25


class Lines:
    """A `Watch` that prints a line when a project begins and when it ends, and why it failed.

    :param quiet: failures only.
    :param verbose: the whole log of each.
    """

    def __init__(self, buildings: Sequence[Building], *, quiet: bool, verbose: bool) -> None:
        self._number = len(buildings)
        self._quiet = quiet
        self._verbose = verbose
        self.ended_ones: list[Building] = []
        self.running: list[Building] = []

    def begun(self, task: Building) -> None:
        self.running.append(task)
        if not self._quiet:
            self.print(f"{task.label}: begins")

    def ended(self, task: Building) -> None:
        self.running.remove(task)
        self.ended_ones.append(task)
        result = task.result
        failed = result.status == "failed"
        if self._verbose:
            self.print("\n".join([f"--- {task.label}", *log_lines(task.log)]))
        elif failed:
            self.print("\n".join(f"    {line}" for line in log_lines(task.log, most=_LINES)))
        if failed or not self._quiet:
            place = f"[{len(self.ended_ones)}/{self._number}]"
            self.print(f"{place} {task.label}: {result_text(result)} ({result.seconds:.1f} s)")
        if failed:
            self.print(f"    the whole log: {task.log}")

    def look(self) -> None:
        pass

    def print(self, text: str) -> None:
        _write(sys.stderr, text)


class _Picture(Lines):
    """The same lines, above a picture of what runs."""

    def __init__(self, live: Any, buildings: Sequence[Building], *, jobs: int, verbose: bool):
        super().__init__(buildings, quiet=False, verbose=verbose)
        self._live = live
        self._buildings = buildings
        self._jobs = jobs

    def begun(self, task: Building) -> None:
        self.running.append(task)

    def look(self) -> None:
        from rich.table import Table

        now = time.monotonic()
        grid = Table.grid(padding=(0, 2))
        for each in self.running:
            grid.add_row("", each.label, each.step, f"{now - each.began:.0f} s")
        done, all_ = len(self.ended_ones), len(self._buildings)
        waiting = all_ - done - len(self.running)
        left = time_left(self._buildings, now=now, jobs=self._jobs)
        expected = f"about {left:.0f} s left" if left else ""
        grid.add_row("", f"{done} of {all_} done", f"{waiting} wait", expected)
        self._live.update(grid, refresh=True)

    def print(self, text: str) -> None:
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def watching(
    buildings: Sequence[Building], *, jobs: int, quiet: bool, verbose: bool
) -> Iterator[Lines]:
    """Give what shows how these builds go, for the length of a ``with`` block."""
    if quiet or not sys.stderr.isatty():
        yield Lines(buildings, quiet=quiet, verbose=verbose)
        return
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        lines = Lines(buildings, quiet=quiet, verbose=verbose)
        lines.print("for a live picture: pip install 'parallel-backend[build]'")
        yield lines
        return
    console = Console(stderr=True)
    # Whoever runs all this looks often enough; a thread of rich's own would be one more.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield _Picture(live, buildings, jobs=jobs, verbose=verbose)


def time_left(buildings: Sequence[Building], *, now: float, jobs: int) -> float:
    """Seconds until all are built, if each takes what it is expected to: at least what the longest
    one does."""
    lefts = []
    for each in buildings:
        if not each.began:
            lefts.append(each.estimate)
        elif not each.result.seconds:
            lefts.append(max(0.0, each.estimate - (now - each.began)))
    return max(sum(lefts) / jobs, max(lefts, default=0.0))


def _write(stream: TextIO, text: str) -> None:
    """A log may hold what the stream's encoding lacks."""
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
