"""What was measured, for readers: the machine, tables in Markdown, plots, all numbers as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import plot
from bench.environments import Environment
from bench.turns import Row

__all__ = ["facts", "into_page", "markdown", "package_plot", "package_table", "write"]

_COLUMNS = (
    *("package", "peer", "jobs", "median s", "min", "max", "CPU s", "CPU ratio"),
    *("ratio", "min", "max", "wheel"),
)


def facts(environment: Environment | None = None) -> dict[str, Any]:
    """The machine, less its name, and what builds on it."""
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "compiler": _first_line(["cc", "--version"]),
        # Neighbours take cores from the parallel side first: a ratio beside them says little.
        "load before": round(os.getloadavg()[0], 2),
    }
    if environment is not None:
        found["Python"] = environment.python_version
        found["setuptools"] = environment.setuptools
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor()


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.partition("\n")[0]


def package_table(rows: Sequence[Row]) -> str:
    """A row a peer; what failed is told below."""
    cells = []
    for row in rows:
        wall = [statistics.median(row.wall), min(row.wall), max(row.wall)] if row.wall else []
        cpu = [statistics.median(row.cpu)] if row.cpu else []
        ratio = [] if row.ratio is None else [row.ratio, min(row.ratios), max(row.ratios)]
        cells.append(
            [
                *(row.package, row.peer, str(row.jobs)),
                *_numbers(wall, 3, "%.2f"),
                *_numbers(cpu, 1, "%.2f"),
                *_numbers([] if row.cpu_ratio is None else [row.cpu_ratio], 1, "%.3f"),
                *_numbers(ratio, 3, "%.3f"),
                "failed" if row.error else row.wheel,
            ]
        )
    failed = [
        f"{row.package}, {row.peer} failed: {row.error.splitlines()[-1]}"
        for row in rows
        if row.error
    ]
    return "\n\n".join([markdown(_COLUMNS, cells), *failed])


def _numbers(values: Sequence[float], count: int, form: str) -> list[str]:
    return [form % value for value in values] or ["-"] * count


def markdown(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table whose columns are aligned, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    right = [all(re.match("[-0-9]", line[i]) for line in cells) for i in range(len(columns))]

    def line(words: Sequence[str]) -> str:
        pairs = zip(words, widths, right, strict=True)
        told = [word.rjust(width) if to else word.ljust(width) for word, width, to in pairs]
        return f"| {' | '.join(told)} |"

    rule = ["-" * (width - 1) + "-:"[to] for width, to in zip(widths, right, strict=True)]
    return "\n".join([line(columns), line(rule), *map(line, cells)])


def package_plot(rows: Sequence[Row]) -> str:
    """The ratios to plain setuptools, as bars."""
    groups: dict[str, dict[str, plot.Bar]] = {}
    for row in rows:
        if row.ratio is not None and row.ratios:
            bar = (row.ratio, min(row.ratios), max(row.ratios))
            groups.setdefault(row.package, {})[row.peer] = bar
    return plot.bars(
        "Time to build a wheel", groups, unit="ratio to serial setuptools; less is faster"
    )


def write(folder: Path, name: str, *, table: str, picture: str, numbers: Mapping[str, Any]) -> None:
    """Write NAME.md, NAME.svg and NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    told = ", ".join(f"{key} {value}" for key, value in numbers["facts"].items())
    (folder / f"{name}.md").write_text(f"{told}\n\n{table}\n", encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    if picture:
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")


def into_page(page: Path, folder: Path) -> None:
    """Put the results of a folder into a page, each between the marks of its name.

    ``<!-- NAME -->`` and ``<!-- /NAME -->`` enclose what NAME.md says. Pictures go beside the page,
    to a folder of its name. What was not measured stays as it is.
    """
    text = page.read_text("utf-8")
    for table in folder.glob("*.md"):
        begin, end = f"<!-- {table.stem} -->\n", f"<!-- /{table.stem} -->"
        before, mark, rest = text.partition(begin)
        _, closing, after = rest.partition(end)
        if mark and closing:
            text = f"{before}{begin}{table.read_text('utf-8')}{end}{after}"
    page.write_text(text, encoding="utf-8")
    pictures = page.with_suffix("")
    pictures.mkdir(exist_ok=True)
    for picture in folder.glob("*.svg"):
        shutil.copy(picture, pictures)
