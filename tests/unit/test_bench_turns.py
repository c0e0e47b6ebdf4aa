"""bench/ takes turns, tells ratios of one turn, draws them, and knows noise from a change."""

from __future__ import annotations

import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from harness import REPOSITORY

sys.path.insert(0, str(REPOSITORY))

from bench import builds, check, plot, published, report, turns

SVG = "{http://www.w3.org/2000/svg}"


def _way(
    peer: str, seconds: list[float | str], *, calls: list[str], digest: str = "x"
) -> turns.Way:
    """A peer that takes so many seconds in each turn, or fails."""
    left = iter(seconds)

    def build() -> turns.Result:
        calls.append(peer)
        taken = next(left)
        if isinstance(taken, str):
            raise builds.BuildError(taken)
        return turns.Result(wall=taken, cpu=2 * taken, memory=int(1024 * taken), digest=digest)

    return turns.Way(peer=peer, jobs=2, prepare=lambda: calls.append(f"{peer} ready"), build=build)


def _rows(ways: list[turns.Way], tmp_path: Path, *, runs: int) -> list[turns.Row]:
    journal = turns.Journal(tmp_path / "builds.jsonl")
    return [*turns.rows("p", ways, *turns.measure("p", ways, runs=runs, journal=journal))]


def test_peers_take_turns_and_a_ratio_is_the_median_of_those_within_a_turn(tmp_path: Path) -> None:
    calls: list[str] = []
    ways = [
        _way("serial", [10.0, 20.0, 40.0], calls=calls),
        _way("parallel", [5.0, 16.0, 24.0], calls=calls),
    ]
    serial, parallel = _rows(ways, tmp_path, runs=3)
    turn = ["serial", "parallel"]
    assert calls == ["serial ready", "serial", "parallel ready", "parallel", *turn, *turn]
    assert (serial.ratio, serial.cpu_ratio, serial.wheel) == (1.0, 1.0, "-")
    assert parallel.ratios == (0.5, 0.8, 0.6)
    assert (parallel.ratio, parallel.cpu_ratio, parallel.wheel) == (0.6, 0.6, "same")
    assert (parallel.wall, parallel.memory) == ((5.0, 16.0, 24.0), 24 * 1024)


def test_a_peer_that_fails_is_told_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []
    ways = [
        _way("serial", [10.0, 10.0], calls=calls),
        _way("extra-config", [6.0, "no luck"], calls=calls),
        _way("ninja", ["out of luck"], calls=calls, digest=""),
        _way("parallel", [5.0, 5.0], calls=calls, digest="y"),
    ]
    rows = _rows(ways, tmp_path, runs=2)
    assert [call for call in calls if "ready" not in call] == [
        *("serial", "extra-config", "ninja", "parallel"),
        *("serial", "extra-config", "parallel"),
    ]
    assert [(row.ratio, row.wheel, row.error) for row in rows] == [
        (1.0, "-", ""),
        (0.6, "same", "no luck"),
        (None, "-", "out of luck"),
        (0.5, "differs", ""),
    ]
    assert "ninja fails: out of luck" in capsys.readouterr().err
    table = report.package_table(rows)
    assert "p, ninja failed: out of luck" in table
    assert [line.split(" | ")[-1] for line in table.splitlines()[2:6]] == [
        *("-       |", "failed  |", "failed  |", "differs |"),
    ]


def test_a_published_table_has_ours_beside_theirs() -> None:
    ways = [_way("serial", [], calls=[]), _way("extra-config", [], calls=[])]
    seconds = {"serial": 100.0, "extra-config": 60.0}
    found = {peer: [turns.Result(wall, wall, 1, "x")] for peer, wall in seconds.items()}
    text = published.gentoo_table([*turns.rows("cython==3.0.9", ways, found, {})])
    assert [re.split(r" *\| *", line)[1:-1] for line in text.splitlines()[2:]] == [
        ["cython==3.0.9", "serial", "46.69", "1.000", "100.00", "1.000"],
        ["cython==3.0.9", "extra-config", "22.80", "0.488", "60.00", "0.600"],
    ]


def test_one_wheel_that_differs_is_told() -> None:
    ways = [_way("serial", [], calls=[]), _way("extra-config", [], calls=[])]
    results = [turns.Result(wall=1, cpu=1, memory=1, digest=digest) for digest in "aab"]
    found = {"serial": results[:2], "extra-config": results[1:]}
    assert [row.wheel for row in turns.rows("p", ways, found, {})] == ["-", "differs"]


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    calls: list[str] = []
    first = [_way("serial", [1.0, 2.0], calls=calls), _way("ninja", [1.0, "cut"], calls=calls)]
    before = _rows(first, tmp_path, runs=2)
    assert before[1].error == "cut"
    calls.clear()
    again = [_way("serial", [4.0, 8.0], calls=calls), _way("ninja", [1.0, 2.0], calls=calls)]
    serial, ninja = _rows(again, tmp_path, runs=3)
    # The second turn was not whole: a ratio needs both of its builds.
    assert calls == ["serial ready", "serial", "ninja ready", "ninja", "serial", "ninja"]
    assert (serial.wall, ninja.wall) == ((1.0, 4.0, 8.0), (1.0, 1.0, 2.0))


def test_a_table_is_aligned_with_numbers_to_the_right() -> None:
    table = report.markdown(["a", "long name"], [["x", "1"], ["yyy", "-"], ["z", "10.5"]])
    assert table.splitlines() == [
        "| a   | long name |",
        "| --- | --------: |",
        "| x   |         1 |",
        "| yyy |         - |",
        "| z   |      10.5 |",
    ]


def test_results_are_written_as_text_as_numbers_and_as_a_picture(tmp_path: Path) -> None:
    ways = [_way("serial", [2.0], calls=[]), _way("parallel", [1.0], calls=[])]
    rows = _rows(ways, tmp_path, runs=1)
    numbers: dict[str, Any] = {"facts": report.facts(), "rows": [vars(row) for row in rows]}
    picture = report.package_plot(rows)
    report.write(
        tmp_path / "out", "all", table=report.package_table(rows), picture=picture, numbers=numbers
    )
    text = (tmp_path / "out" / "all.md").read_text("utf-8")
    assert f" cores {len(os.sched_getaffinity(0))}, " in text
    assert re.search(r"\| p +\| parallel +\| +2 \| +1\.00 \| ", text)
    assert os.uname().nodename not in text
    read = json.loads((tmp_path / "out" / "all.json").read_text("utf-8"))
    assert read["rows"][1]["ratios"] == [0.5]
    ET.parse(tmp_path / "out" / "all.svg")
    page = tmp_path / "page.md"
    page.write_text("<!-- all -->\nold\n<!-- /all -->\n<!-- x -->\nkept\n<!-- /x -->\n")
    report.into_page(page, tmp_path / "out")
    assert page.read_text() == (
        f"<!-- all -->\n{text}<!-- /all -->\n<!-- x -->\nkept\n<!-- /x -->\n"
    )
    assert (tmp_path / "page" / "all.svg").read_text("utf-8") == picture


def test_bars_are_as_long_as_their_values(tmp_path: Path) -> None:
    groups: dict[str, dict[str, plot.Bar]] = {
        "a & b": {"serial": (1.0, 0.9, 2.0), "ninja": (0.5, 0.5, 0.5)},
        "c": {"ninja": (2.0, 2, 2)},
    }
    peers = ["serial", "ninja", "ninja"]
    root = ET.fromstring(plot.bars("Ratios <here>", groups, unit="s"))
    bars = [bar for bar in root.iter(f"{SVG}rect") if bar.find(f"{SVG}title") is not None]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths == pytest.approx([widths[2] / 2, widths[2] / 4, widths[2]], abs=0.2)
    assert [bar.attrib["fill"] for bar in bars] == [plot.COLOURS[name] for name in peers]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"Ratios <here>", "a & b", "serial", "ninja", "s"} <= {*texts}


def test_lines_go_through_their_points_within_the_picture() -> None:
    series = {"one": [(1.0, 1.0), (2.0, 10.0), (4.0, 100.0)], "two": [(4.0, 1.0)]}
    root = ET.fromstring(plot.lines("t", series, x="slots", y="ratio", log_y=True))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.iter(f"{SVG}circle")]
    assert all(0 < x < width and 0 < y < height for x, y in dots)
    (x1, y1), (x2, y2), (x3, y3), last = dots
    assert (x2 - x1, y1 - y2) == pytest.approx((x3 - x2, y2 - y3), abs=0.3)
    assert last == pytest.approx((x3, y1), abs=0.3)
    ET.fromstring(plot.lines("nothing", {}, x="x", y="y"))


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 has it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("page", ["#ffffff", "#131416"])
@pytest.mark.parametrize("colour", [plot.INK, *plot.COLOURS.values()])
def test_each_colour_is_legible_on_light_and_on_dark_pages(colour: str, page: str) -> None:
    one, other = sorted([_luminance(colour), _luminance(page)])
    assert (other + 0.05) / (one + 0.05) >= 3


@pytest.mark.parametrize(
    ("now", "then", "found"),
    [
        ([0.54], [0.52], "same"),  # less than 5 %
        ([0.60], [0.52], "slower"),
        ([0.45], [0.52], "faster"),
        ([0.60, 0.50, 0.62], [0.52, 0.52, 0.52], "same"),  # as noisy today
        ([0.60, 0.60, 0.60], [0.52, 0.45, 0.56], "same"),  # as noisy then
        ([0.80, 0.78, 0.82], [0.52, 0.50, 0.56], "slower"),
    ],
)
def test_a_ratio_is_slower_only_beyond_the_noise_of_both(
    now: list[float], then: list[float], found: str
) -> None:
    assert check.verdict(now, then) == found


def _row(package: str, *ratios: float, jobs: int = 2, peer: str = "parallel") -> turns.Row:
    return turns.Row(
        package=package, peer=peer, jobs=jobs, wall=ratios, cpu=ratios, memory=1, ratios=ratios,
        cpu_ratio=1.0, wheel="same",
    )  # fmt: skip


def test_committed_ratios_are_compared_on_the_same_cores_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "committed.json"
    monkeypatch.setattr(check, "_cores", lambda: 2)
    check.commit([_row("a", 0.5, 0.52), _row("b", 0.5), _row("a", 1.0, peer="serial")], path)
    check.commit([_row("b", 0.6)], path)
    committed = json.loads(path.read_text("utf-8"))
    assert committed["a"]["parallel"]["ratios"] == [0.5, 0.52]
    assert [*committed["a"]] == ["parallel"]
    table, slower = check.compare([_row("a", 0.51), _row("b", 0.6), _row("c", 9.0)], committed)
    assert not slower
    assert [line.split("|")[5].strip() for line in table.splitlines()[2:]] == [
        *("same", "same", "committed: nothing"),
    ]
    _, slower = check.compare([_row("a", 0.7)], committed)
    assert slower
    table, slower = check.compare([_row("a", 0.7, jobs=8)], committed)
    assert not slower
    assert "on 2 cores with 2 jobs" in table


def test_what_is_committed_can_be_compared() -> None:
    committed = json.loads(check.COMMITTED.read_text("utf-8"))
    for facts in committed.values():
        assert facts["parallel"]["ratios"]
    assert {*check.SHORT} <= {*committed}
