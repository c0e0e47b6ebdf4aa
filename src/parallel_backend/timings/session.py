"""The records of one hook, and what is written of them into the folder that `timings` names.

Where that folder holds one that is called `RECORDS`, whoever made it writes about many hooks, and
looks on while they run: a hook leaves its records there. Otherwise only hooks that build something
do anything: others run before them, and would only be overwritten.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from parallel_backend.timings.events import read_events
from parallel_backend.timings.folder import is_shared
from parallel_backend.timings.page import page
from parallel_backend.timings.path import critical_path
from parallel_backend.timings.record import RECORDS, Span, recording, span
from parallel_backend.timings.timeline import Source, Timeline, lay_out
from parallel_backend.timings.trace import trace
from parallel_backend.timings.verdicts import broken_off, failed_units, verdicts
from parallel_backend.timings.words import seconds

__all__ = ["hook_recorded", "write"]


@contextlib.contextmanager
def hook_recorded(hook: str, *, folder: str, private: Path) -> Iterator[Span | None]:
    """Record a hook for the length of a ``with`` block, and write down what came of it.

    Gives the hook's own span, which is to be told `slots`, the number of job slots, and perhaps
    `made`, the name of what was built.
    """
    records = Path(folder, RECORDS)
    is_part = is_shared(folder)
    if not is_part and not hook.startswith("build_"):
        yield None
        return
    path = records / f"{hook}-{os.getpid()}" if is_part else private / "timings"
    began, here = time.time(), os.getcwd()
    timed: Span | None = None
    try:
        with (
            recording(path, watched=is_part),
            span("hook", hook, whole=True, told=True, folder=here) as timed,
            _commands_timed(),
        ):
            yield timed
    finally:
        if not is_part and timed is not None:
            made = str(timed.details.get("made") or "")
            label = _project(made) or os.path.basename(here)
            write(
                folder,
                lambda: [Source(label=label, events=read_events(path))],
                title=label,
                made=made,
                slots=int(timed.details.get("slots") or 1),
                began=began,
            )


def _project(made: str) -> str:
    """The project and its version, by the name of a wheel or an sdist."""
    if made.endswith(".whl"):
        return " ".join(made.split("-")[:2])
    return made.removesuffix(".tar.gz")


def _say(line: str) -> None:
    print(line, flush=True)


def write(
    folder: str,
    read: Callable[[], Sequence[Source]],
    *,
    title: str,
    made: str,
    slots: int,
    began: float,
    report: Callable[[str], None] = _say,
) -> None:
    """Write ``timings.json`` and ``timings.html``; say where in one line, or why not.

    `read`: gives what was recorded. `made`: the name of what was built; "": nothing. `began`: by
    the clock of the wall, in seconds since 1970. It raises nothing: a build does not fail for a
    picture of it.
    """
    try:
        _write(folder, read(), title=title, made=made, slots=slots, began=began)
        report(f"parallel-backend: timings: {Path(folder, 'timings.html')}")
    except Exception as error:
        with contextlib.suppress(Exception):
            text = f"{type(error).__name__}: {error}"
            print(f"parallel-backend: no timings: {text}", file=sys.stderr, flush=True)


def _write(
    folder: str, sources: Sequence[Source], *, title: str, made: str, slots: int, began: float
) -> None:
    title = title.encode("utf-8", "backslashreplace").decode()
    timeline = lay_out(sources, slots=slots)
    told = _facts(timeline, made=made, began=began)
    path = critical_path(timeline)
    found = verdicts(timeline, path)
    texts = {
        "timings.json": trace(timeline, told={"title": title, **told}),
        "timings.html": page(timeline, title=title, told=told, path=path, verdicts=found),
    }
    os.makedirs(folder, exist_ok=True)
    for name, text in texts.items():
        whole = Path(folder, f".{name}.{os.getpid()}")
        try:
            whole.write_text(text, encoding="utf-8")
            whole.replace(Path(folder, name))
        finally:
            whole.unlink(missing_ok=True)


def _facts(timeline: Timeline, *, made: str, began: float) -> dict[str, Any]:
    units = {kind: list(timeline.of_kind(kind)) for kind in ("compile", "extension")}
    objects = [unit.event.result for unit in units["compile"]]
    used = sum((end - begin) * number for begin, end, number in timeline.jobs)
    average = used / timeline.length if timeline.length else 0.0
    return {
        "result": _result(timeline) or made or "nothing was built",
        "began": time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(began)),
        "took": seconds(timeline.length),
        "job slots": f"{timeline.slots}, {average:.1f} at work on average",
        "compiled": objects.count("done"),
        "reused": objects.count("reused"),
        "extensions": sum(unit.event.result != "again" for unit in units["extension"]),
        "CPU time of what was compiled": seconds(sum(unit.cpu or 0 for unit in units["compile"])),
        "with": ", ".join(_versions()),
    }


def _result(timeline: Timeline) -> str:
    """Why it is not whole, if it is not."""
    failed = failed_units(timeline)
    projects = [unit for unit in timeline.of_kind("project") if unit.event.result == "failed"]
    if len(projects) > 1:
        return f"failed: {', '.join(unit.event.name for unit in projects)}"
    if failed:
        return f"failed: {failed[0].event.name}"
    return "broken off" if broken_off(timeline) else ""


def _versions() -> Iterator[str]:
    yield f"{platform.python_implementation()} {platform.python_version()}"
    setuptools = sys.modules.get("setuptools")
    if setuptools is not None:
        yield f"setuptools {setuptools.__version__}"
    yield platform.machine()


@contextlib.contextmanager
def _commands_timed() -> Iterator[None]:
    """Record the commands that a ``setup.py`` runs, for the length of a ``with`` block."""
    from distutils.dist import Distribution

    kind: Any = Distribution
    original = kind.run_command

    @functools.wraps(original)
    def run_command(self: Any, command: str) -> None:
        if self.have_run.get(command):
            original(self, command)
            return
        with span("command", command):
            original(self, command)

    kind.run_command = run_command
    try:
        yield
    finally:
        kind.run_command = original
