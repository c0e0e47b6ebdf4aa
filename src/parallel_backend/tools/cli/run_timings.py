"""The timings of one run: the records of all its projects, for one trace and one page of them, and
for whoever looks on."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from parallel_backend.errors import SettingsError
from parallel_backend.settings import VARIABLES
from parallel_backend.timings.folder import check_folder
from parallel_backend.timings.record import RECORDS, recording

__all__ = ["asked_folder", "timed"]


def asked_folder(option: str | None, config_settings: dict[str, Any]) -> str | None:
    """Where timings go: by an option, a config setting (which no backend is to get then), or the
    environment. Raises SettingsError if nothing can be written there."""
    told = config_settings.pop("timings", None)
    last = told[-1] if isinstance(told, list) else told
    if last == "":
        raise SettingsError("-C timings: no value is not allowed; allowed is the path of a folder")
    folder = option or last or os.environ.get(VARIABLES["timings"])
    if not folder:
        return None
    folder = os.path.abspath(folder)
    check_folder(folder)
    return folder


@contextlib.contextmanager
def timed(
    folder: str | None,
    labels: Sequence[str],
    *,
    private: Path,
    jobs: int,
    report: Callable[[str], None],
) -> Iterator[Path]:
    """Record what the projects with these labels do in a ``with`` block, and write it to `folder`,
    if there is one.

    Gives a folder in which each finds one for the records of its hooks, by its label.
    """
    from parallel_backend.tools.timings.report import write

    root = private / "timings"
    for label in labels:
        (root / "hooks" / label / RECORDS).mkdir(parents=True)
    began = time.time()
    try:
        with recording(root / "own"):
            yield root / "hooks"
    finally:
        number = len(labels)
        if folder is not None:
            write(
                folder,
                lambda: _sources(root, labels),
                title=labels[0] if number == 1 else f"{number} projects",
                made=f"{number} project" + ("" if number == 1 else "s"),
                slots=jobs,
                began=began,
                report=report,
            )


def _sources(root: Path, labels: Sequence[str]) -> list[Any]:
    from parallel_backend.tools.timings.events import read_events
    from parallel_backend.tools.timings.timeline import Source

    own = read_events(root / "own")
    project_of = {event.id: event.name for event in own if event.kind == "project"}
    made = []
    for label in labels:
        mine = [e for e in own if project_of.get(e.id, project_of.get(e.up)) == label]
        hooks = [
            event
            for path in sorted((root / "hooks" / label / RECORDS).iterdir())
            for event in read_events(path)
        ]
        made.append(Source(label=label, events=[*mine, *hooks]))
    waits = [event for event in own if event.kind == "wait"]
    return [*made, *([Source(label="projects that wait", events=waits)] if waits else [])]
