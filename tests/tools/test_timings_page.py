"""The page of timings, as a browser shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parallel_backend.tools.timings.page import page
from parallel_backend.tools.timings.path import critical_path
from parallel_backend.tools.timings.timeline import Timeline
from parallel_backend.tools.timings.verdicts import verdicts
from timings_harness import (
    BROWSER,
    Page,
    colors_of_rows,
    embedded,
    happened,
    laid_out,
    opened,
)

browser = pytest.mark.skipif(BROWSER is None, reason="there is no chromium that runs")

HOSTILE = [
    "</script><script>document.title='taken'</script>.c",
    "<img src=x onerror=\"document.title='taken'\">.c",
    "<!--<script>.c",
    "@data@ @script@ @title@.c",
    "\u2028'\"&amp;\\u003c\udc80.c".encode("utf-8", "backslashreplace").decode(),
]
COLORS = {"light": ("2b6cb0", "0f766e"), "dark": ("7db4f0", "5fd0b4")}


def written(tmp_path: Path, timeline: Timeline, *, title: str = "sample 1.0") -> Path:
    path = critical_path(timeline)
    file = tmp_path / "timings.html"
    text = page(
        timeline, title=title, told={"result": title}, path=path, verdicts=verdicts(timeline, path)
    )
    file.write_text(text, encoding="utf-8")
    return file


def of_names(names: list[str]) -> Timeline:
    """A build of one extension with these sources, each of which takes longer than the last."""
    count = len(names)
    of = {"extension": "ext</td>", "run": "ahead"}
    events = [
        happened("compile", name, i, 2 * i + 1, slot=i % 2, cpu=10**8, peak=2**25, **of)
        for i, name in enumerate(names)
    ]
    return laid_out(
        [
            happened("hook", "build_wheel", 0, 3 * count + 1),
            happened("recorder", "hostile</td>", 0, 3 * count, why="writes <b>"),
            happened("slot", "1", 0.5, 3 * count, slot=1),
            *events,
        ]
    )


def test_nothing_in_the_page_ends_the_data_early_or_asks_the_network(tmp_path: Path) -> None:
    file = written(tmp_path, of_names(HOSTILE), title=HOSTILE[0])
    text = file.read_text(encoding="utf-8")
    assert [unit[1] for unit in embedded(file)["units"] if unit[0] == "compile"] == HOSTILE
    assert text.count("<script") == text.count("</script>") == 2
    assert "<img" not in text
    ours = text.replace(text.partition('id="data">')[2].partition("</script>")[0], "")
    assert not re.search(r"(?:src|href)=[\"']?(?!data:|#)\w|url\(|@import|https?:", ours)
    assert "default-src 'none'" in text


@browser
def test_a_browser_shows_hostile_names_as_text_and_runs_none_of_them(tmp_path: Path) -> None:
    file = written(tmp_path, of_names(HOSTILE), title=HOSTILE[0])
    shown = Page(opened(file))
    titles, *rows = shown.tables["units"]
    assert titles[:3] == ["Unit", "Kind", "Extension"]
    assert {row[0] for row in rows} == {*HOSTILE, "hostile</td>"}
    assert {row[2] for row in rows} == {"ext</td>", ""}
    assert shown.texts["title"] == HOSTILE[0]
    assert shown.tags["img"] == 0
    assert shown.tags["script"] == 2


@browser
def test_a_browser_runs_no_script_but_the_pages_own(tmp_path: Path) -> None:
    file = written(tmp_path, of_names(["a.c"]))
    text = file.read_text(encoding="utf-8")
    other = "<script>document.getElementById('title').textContent = 'taken'</script></body>"
    file.write_text(text.replace("</body>", other), encoding="utf-8")
    assert Page(opened(file)).texts["title"] == "sample 1.0"


@browser
def test_five_thousand_units_are_sorted_filtered_and_walked_through_by_keys(tmp_path: Path) -> None:
    file = written(tmp_path, of_names([f"source_{i:04}.c" for i in range(5000)]))
    shown = Page(opened(file))
    _, *rows = shown.tables["units"]
    assert shown.texts["count"] == "200 of 5001 units shown"
    assert shown.texts["more"] == "Show all 5001"
    assert [row[0] for row in rows[:3]] == ["hostile</td>", "source_4999.c", "source_4998.c"]
    assert shown.sorted_by == {"length": "descending"}
    assert rows[1][3:] == ["4999.00", "5000.00", "0.100", "32", "2", "done"]
    assert "slots were at work" in shown.texts["chart-text"]

    acted = Page(
        opened(
            file,
            do="""
            const press = (key) => document.getElementById("chart").dispatchEvent(
              new KeyboardEvent("keydown", { key }));
            const said = [];
            for (const key of ["ArrowRight", "End", "ArrowLeft", "ArrowDown", "+", "-", "0"]) {
              press(key);
              said.push(document.getElementById("details").textContent.split(";")[0]);
            }
            document.querySelector("th[data-field=name] button").click();
            const words = document.getElementById("words");
            words.value = "source 17";
            words.dispatchEvent(new Event("input"));
            document.getElementById("title").textContent = said.join("|");
            """,
        )
    )
    assert acted.texts["title"].split("|")[:4] == [
        "recorder hostile</td>",
        "compile source_4998.c",
        "compile source_4996.c",
        "compile source_4995.c",
    ]
    assert acted.sorted_by == {"name": "ascending"}
    _, *rows = acted.tables["units"]
    assert [row[0] for row in rows[:2]] == ["source_0017.c", "source_0117.c"]
    assert all("17" in row[0] for row in rows)


@browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_has_blocks_as_long_as_what_they_stand_for(tmp_path: Path, scheme: str) -> None:
    timeline = laid_out(
        [
            happened("hook", "build_wheel", 0, 8),
            happened("translation", "a.pyx", 1, 3),
            happened("compile", "a.c", 3, 7, extension="a", run="ahead"),
        ]
    )
    file = written(tmp_path, timeline)
    scheme_of = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    rows = colors_of_rows(file, "--dump-dom", scheme_of)
    compiled, translated = COLORS[scheme]
    best = max(rows, key=lambda row: min(row.get(compiled, 0), row.get(translated, 0)))
    assert best[translated] > 200
    assert best[compiled] / best[translated] == pytest.approx(2, rel=0.02)


@browser
def test_what_is_chosen_is_told_in_words(tmp_path: Path) -> None:
    vain = {"extension": "a", "run": "live", "why": "the option -save-temps", "result": "again"}
    timeline = laid_out(
        [
            happened("hook", "build_wheel", 0, 8),
            happened("recorder", "recorder", 1, 2, why="writes made.h"),
            happened("compile", "a.c", 3, 7, **vain),
        ]
    )
    do = """
    const told = [];
    for (const line of document.querySelectorAll("#units tbody tr")) {
      line.querySelector("button").click();
      told.push(document.getElementById("details").textContent);
    }
    document.getElementById("title").textContent = told.join("|");
    """
    told = Page(opened(written(tmp_path, timeline), do=do)).texts["title"]
    compiled, recorder = told.split("|")
    assert compiled.startswith("compile a.c; of extension a; 4.0")
    assert compiled.endswith("ran live; the option -save-temps; ran in vain, and again.")
    assert recorder.endswith("stopped: writes made.h; done.")
