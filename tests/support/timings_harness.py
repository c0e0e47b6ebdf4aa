"""Builds that never ran, for the tests of timings; a browser that opens their pages."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from parallel_backend.tools.timings.events import Event
from parallel_backend.tools.timings.path import critical_path
from parallel_backend.tools.timings.timeline import Source, Timeline, lay_out
from parallel_backend.tools.timings.verdicts import Verdict, verdicts

__all__ = [
    "BROWSER",
    "Page",
    "colors_of_rows",
    "embedded",
    "happened",
    "judged",
    "laid_out",
    "opened",
    "slices",
]

_PATIENCE = 120  # seconds; a browser on a busy machine
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1",
    "--window-size=1200,1600", "--virtual-time-budget=4000",
)  # fmt: skip
# How many pixels of each color are in each row of the picture.
_COUNT_PIXELS = """
const picture = document.getElementById("slots");
const { data: bytes, width } = picture.getContext("2d").getImageData(
  0, 0, picture.width, picture.height);
const rows = [];
for (let at = 0; at < bytes.length; at += 4 * width) {
  const row = {};
  for (let x = at; x < at + 4 * width; x += 4) {
    const color = [0, 1, 2].map((i) => bytes[x + i].toString(16).padStart(2, "0")).join("");
    row[color] = (row[color] || 0) + 1;
  }
  rows.push(row);
}
document.getElementById("title").textContent = JSON.stringify(rows);
"""


def _find_browser() -> str | None:
    """One that shows a page here: it may be there and not run, in a container for example."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        program = shutil.which(name)
        if program is None:
            continue
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            contextlib.suppress(OSError, subprocess.SubprocessError),
        ):
            if "<html>" in _shown(program, "about:blank", folder=Path(folder)):
                return program
    return None


def _shown(program: str, address: str, *more: str, folder: Path) -> str:
    """What a browser prints; it writes to `folder`."""
    done = subprocess.run(
        [program, *_OPTIONS, f"--user-data-dir={folder}", *(more or ["--dump-dom"]), address],
        env={**os.environ, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=_PATIENCE,
        check=True,
    )
    return done.stdout


BROWSER = _find_browser()


def happened(kind: str, name: str, begin: float, end: float, **more: Any) -> Event:
    """An event, its times in seconds. What is no attribute of an event is a detail."""
    known = {n: more.pop(n) for n in ("id", "up", "slot", "result", "process") if n in more}
    return Event(
        kind=kind,
        name=name,
        begin=round(begin * 1e9),
        end=round(end * 1e9),
        details=more,
        **{"process": 1, **known},
    )


def laid_out(events: Iterable[Event], *, slots: int = 2, label: str = "sample") -> Timeline:
    """The timeline of one project."""
    ordered = sorted(events, key=lambda event: (event.begin, -event.end))
    return lay_out([Source(label=label, events=ordered)], slots=slots)


def judged(events: Iterable[Event], *, slots: int = 2) -> list[Verdict]:
    """The verdicts over one project."""
    timeline = laid_out(events, slots=slots)
    return verdicts(timeline, critical_path(timeline))


def slices(file: Path) -> list[dict[str, Any]]:
    """What lasts in a trace."""
    whole = json.loads(file.read_text(encoding="utf-8"))
    return [event for event in whole["traceEvents"] if event["ph"] == "X"]


def embedded(file: Path) -> dict[str, Any]:
    """The data that stands in a page."""
    text = file.read_text(encoding="utf-8")
    data = text.partition('id="data">')[2].partition("</script>")[0]
    found: dict[str, Any] = json.loads(data)
    return found


class Page(HTMLParser):
    """What a browser has made of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.texts: dict[str, str] = {}
        #: The cells of each table's rows, by the table's id.
        self.tables: dict[str, list[list[str]]] = {}
        self.sorted_by: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self._table = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        given = {name: value or "" for name, value in attrs}
        if tag not in ("meta", "link", "br", "input", "img"):
            self._open.append((tag, given.get("id", "")))
        if tag == "table":
            self._table = given.get("id", "")
            self.tables[self._table] = []
        elif tag == "tr" and self._table:
            self.tables[self._table].append([])
        elif tag in ("td", "th") and self._table:
            self.tables[self._table][-1].append("")
            if "aria-sort" in given:
                self.sorted_by[given["data-field"]] = given["aria-sort"]

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass
        if tag == "table":
            self._table = ""

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data
        cells = [tag for tag, _ in self._open if tag in ("td", "th")]
        if cells and self._table:
            self.tables[self._table][-1][-1] += data


def opened(file: Path, *more: str, do: str = "") -> str:
    """What a browser's document is after it has opened a page; `do`: a script to run then."""
    if do:
        text = file.read_text(encoding="utf-8")
        text = text.replace("Content-Security-Policy", "nothing", 1)
        file = file.with_name("acted.html")
        file.write_text(text.replace("</body>", f"<script>{do}</script></body>"), "utf-8")
    assert BROWSER
    profile = file.with_name("profile")
    try:
        return _shown(BROWSER, file.as_uri(), *more, folder=profile)
    finally:
        shutil.rmtree(profile, ignore_errors=True)


def colors_of_rows(file: Path, *more: str) -> list[dict[str, int]]:
    """Of each row of pixels in the page's picture, how many there are of each color."""
    found: list[dict[str, int]] = json.loads(
        Page(opened(file, *more, do=_COUNT_PIXELS)).texts["title"]
    )
    return found
