"""What is shown while projects are built, on stderr: lines, or a live picture on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any, TextIO

from parallel_backend.tools.cli.building import Building
from parallel_backend.tools.cli.following import Follower
from parallel_backend.tools.cli.reports import log_lines, printable, result_text

__all__ = ["Lines", "time_left", "watching", "write"]

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
        write(sys.stderr, _harmless(text) if sys.stderr.isatty() else text)


class _Picture(Lines):
    """The same lines, above a picture of what runs: a line for each job slot."""

    def __init__(self, live: Any, buildings: Sequence[Building], *, jobs: int, verbose: bool):
        super().__init__(buildings, quiet=False, verbose=verbose)
        self._live = live
        self._buildings = buildings
        self._jobs = jobs
        self._followers: dict[str, Follower] = {}

    def begun(self, task: Building) -> None:
        self.running.append(task)
        self._followers[task.label] = Follower(task.records)

    def ended(self, task: Building) -> None:
        self._followers.pop(task.label, None)
        super().ended(task)

    def look(self) -> None:
        from rich.text import Text

        now = time.monotonic()
        rows = [row for each in self.running for row in self._rows(each, now)]
        size = self._live.console.size
        room = max(1, size.height - 2)
        if len(rows) > room:
            hidden = len(rows) - room + 1
            rows[-hidden:] = [("", f"and {hidden} more", "")]
        done, all_ = len(self.ended_ones), len(self._buildings)
        waiting = all_ - done - len(self.running)
        closing = f"  {done} of {all_} done, {waiting} wait"
        if left := time_left(self._buildings, now=now, jobs=self._jobs):
            closing += f", about {left:.0f} s left"
        lines = [*_columns(rows, width=size.width), closing]
        self._live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)

    def _rows(self, building: Building, now: float) -> Iterator[tuple[str, str, str]]:
        """What a project is at: a line for each job slot that it has work in, or its step."""
        going_on = self._followers[building.label].look()
        if not going_on:
            yield building.label, building.step, f"{now - building.step_began:.0f} s"
        for number, work in enumerate(going_on):
            label = "" if number else building.label
            yield label, f"{work.does} {printable(work.what)}", f"{now - work.begin:.0f} s"

    def print(self, text: str) -> None:
        self._live.console.print(
            _harmless(text), markup=False, emoji=False, highlight=False, soft_wrap=True
        )


def _columns(rows: Sequence[tuple[str, str, str]], *, width: int) -> list[str]:
    """Lines of three columns; the middle one is shortened, in its middle, to what has room."""
    first, second, last = (max((len(row[at]) for row in rows), default=0) for at in range(3))
    room = max(8, width - first - last - 6)
    second = min(room, second)
    return [
        f"  {label:{first}}  {_shortened(text, room):{second}}  {took:>{last}}"
        for label, text, took in rows
    ]


def _shortened(text: str, room: int) -> str:
    """The end of a path tells more than its folders do."""
    if len(text) <= room:
        return text
    start, _, rest = text.partition(" ")
    tail = room - len(start) - 2
    return f"{start} \u2026{rest[-tail:]}" if 0 < tail < len(rest) else text[:room]


def _is_picture(*, quiet: bool) -> bool:
    """Whether there is a terminal that can show a live picture, and rich to draw it."""
    return _is_terminal() and not quiet and find_spec("rich") is not None


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


@contextlib.contextmanager
def watching(
    buildings: Sequence[Building], *, jobs: int, quiet: bool, verbose: bool
) -> Iterator[Lines]:
    """Give what shows how these builds go, for the length of a ``with`` block."""
    if not _is_picture(quiet=quiet):
        lines = Lines(buildings, quiet=quiet, verbose=verbose)
        if _is_terminal() and not quiet:
            lines.print("for a live picture: pip install 'parallel-backend[build]'")
        yield lines
        return
    from rich.console import Console
    from rich.live import Live

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


def _harmless(text: str) -> str:
    """Text for a terminal, which does what some characters of a project's output tell it."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def write(stream: TextIO, text: str) -> None:
    """Print what may hold characters that the stream's encoding lacks."""
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
