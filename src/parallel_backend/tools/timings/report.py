"""The files that are written of a build's records: ``timings.json`` and ``timings.html``."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from parallel_backend.tools.timings.events import read_events
from parallel_backend.tools.timings.page import page
from parallel_backend.tools.timings.path import critical_path
from parallel_backend.tools.timings.timeline import Source, Timeline, lay_out
from parallel_backend.tools.timings.trace import trace
from parallel_backend.tools.timings.verdicts import broken_off, failed_units, verdicts
from parallel_backend.tools.timings.words import seconds

__all__ = ["main", "write", "write_hook"]


def main() -> None:
    """Write the report of one hook: ``RECORD DIRECTORY`` in `sys.argv`."""
    record, folder = sys.argv[1:]
    write_hook(Path(record), folder)


def write_hook(record: Path, folder: str, report: Callable[[str], None] | None = None) -> bool:
    """Write what one hook's record tells into `folder`; whether that could be done."""
    events = read_events(record)
    hook = next((event for event in events if event.kind == "hook"), None)
    details = {} if hook is None else hook.details
    made = str(details.get("made") or "")
    label = _project(made) or os.path.basename(str(details.get("folder") or ""))
    return write(
        folder,
        lambda: [Source(label=label, events=events)],
        title=label,
        made=made,
        slots=int(details.get("slots") or 1),
        began=float(details.get("began") or 0),
        report=report or _say,
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
) -> bool:
    """Write ``timings.json`` and ``timings.html``; say where in one line, or why not.

    `read`: gives what was recorded. `made`: the name of what was built; "": nothing. `began`: by
    the clock of the wall, in seconds since 1970. It raises nothing: a build does not fail for a
    picture of it, and is told whether that could be done.
    """
    try:
        _write(folder, read(), title=title, made=made, slots=slots, began=began)
        report(f"parallel-backend: timings: {Path(folder, 'timings.html')}")
        return True
    except Exception as error:
        with contextlib.suppress(Exception):
            text = f"{type(error).__name__}: {error}"
            print(f"parallel-backend: no timings: {text}", file=sys.stderr, flush=True)
        return False


def _write(
    folder: str, sources: Sequence[Source], *, title: str, made: str, slots: int, began: float
) -> None:
    title = title.encode("utf-8", "backslashreplace").decode()
    timeline = lay_out(sources, slots=slots)
    told = {**_facts(timeline, made=made, began=began), "with": ", ".join(_versions(sources))}
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
    units = {kind: list(timeline.of_kind(kind)) for kind in ("compile", "link")}
    objects = [unit.event.result for unit in units["compile"]]
    links = [unit.event.result for unit in units["link"]]
    used = sum((end - begin) * number for begin, end, number in timeline.jobs)
    average = used / timeline.length if timeline.length else 0.0
    return {
        "result": _result(timeline) or made or "nothing was built",
        "began": time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(began)),
        "took": seconds(timeline.length),
        "job slots": f"{timeline.slots}, {average:.1f} at work on average",
        "compiled": objects.count("done"),
        "linked": links.count("done"),
        "reused": [*objects, *links].count("reused"),
        "CPU time of what was compiled": seconds(sum(unit.cpu or 0 for unit in units["compile"])),
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


def _versions(sources: Sequence[Source]) -> list[str]:
    """What hooks say that they ran with, each once."""
    hooks = (event for source in sources for event in source.events if event.kind == "hook")
    return list(dict.fromkeys(name for hook in hooks for name in hook.details.get("with", ())))
