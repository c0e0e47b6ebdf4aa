"""What the documentation holds: its pages, their console blocks, links and tested snippets.

A block of commands is run by `test_documentation.py`, in a copy of `examples/`. Comments right
above it say how, and are seen by nobody who reads the page:

- ``in: FOLDER``: begin in this folder of the copy; without it where the block before has ended;
- ``not run: REASON``: not run at all;
- ``needs: PROGRAM...``: run only where these are installed;
- ``fails``: the last command has to fail;
- ``numbers differ``: numbers in the output are not compared;
- ``output differs``: only exit statuses are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import REPOSITORY

__all__ = [
    "Block",
    "Command",
    "anchors",
    "blocks",
    "fences",
    "links",
    "pages",
    "shows",
    "snippet",
]

_BLOCKS = re.DOTALL | re.MULTILINE
_MARKERS = ("in:", "not run:", "needs:", "fails", "numbers differ", "output differs")
_HEREDOC = re.compile(r"<<-? *(['\"]?)(\w+)\1")


@dataclass(frozen=True, kw_only=True)
class Command:
    """What stands after a prompt, continued lines included, and the output below it."""

    text: str
    output: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A console block of a page; `markers`: what the comments above it say."""

    page: Path
    line: int
    markers: dict[str, str]
    commands: tuple[Command, ...]

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def pages() -> list[Path]:
    """All of it."""
    tops = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*tops, *sorted(REPOSITORY.glob("docs/*.md")), *REPOSITORY.glob("examples/*/README.md")]


def blocks(page: Path) -> Iterator[Block]:
    """Its console blocks, from top to bottom."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.strip() == "```console":
            end = lines.index("```", number)
            yield Block(
                page=page,
                line=number + 1,
                markers=_markers(lines[:number]),
                commands=tuple(_commands(lines[number + 1 : end])),
            )


def fences(page: Path) -> list[tuple[str, str]]:
    """Its blocks of code: of which language, and the text."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), _BLOCKS)


def snippet(page: Path, name: str) -> str:
    """The block below ``<!-- tested: NAME -->``."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"<!-- tested: {re.escape(name)} -->\n```\w+\n(.*?)^```$", text, _BLOCKS)
    assert found, f"{page.name} has no snippet {name}"
    return found[1]


def links(page: Path) -> Iterator[str]:
    """Where its links lead, those in code excepted."""
    text = re.sub(r"`[^`\n]+`", "", _prose(page))
    yield from re.findall(r"\]\(([^)\s]*)\)", text)


def anchors(page: Path) -> set[str]:
    """What a link to a heading of it may say behind the ``#``, as forges make it."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*)$", _prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found


def shows(expected: tuple[str, ...], printed: str, *, numbers: bool) -> str:
    """The first line of `expected` that was not printed after those before it, or "".

    A line of ``...`` is nothing, and ``...`` in a line is anything. Fractions, tags of
    interpreters and platforms are not compared; other numbers are if `numbers`.
    """
    left = iter([_plain(line, numbers=numbers) for line in printed.splitlines()])
    for line in expected:
        parts = [_plain(part, numbers=numbers) for part in line.split("...")]
        pattern = re.compile(".*".join(map(re.escape, parts)))
        if line.strip() not in ("", "...") and not any(pattern.fullmatch(each) for each in left):
            return line
    return ""


def _plain(line: str, *, numbers: bool) -> str:
    line = re.sub(r"\s+", " ", line)
    line = re.sub(r"cp3\d+|linux_\w+", "TAG", re.sub(r"\d+\.\d+", "N", line))
    if not numbers:  # nor if there is one or many
        line = re.sub(r"\bN (\w+?)s?\b", r"N \1s", re.sub(r"\d+", "N", line))
    return line if line.strip() else ""


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=_BLOCKS)


def _markers(above: list[str]) -> dict[str, str]:
    found = {}
    while above and (comment := re.fullmatch(r"<!-- (.*) -->", above[-1])):
        name = next((each for each in _MARKERS if comment[1].startswith(each)), "")
        if name:
            found[name.rstrip(":")] = comment[1].removeprefix(name).strip()
        above = above[:-1]
    return found


def _commands(lines: list[str]) -> Iterator[Command]:
    rest = [*lines]
    while rest:
        words = [rest.pop(0).removeprefix("$ ")]
        heredoc = _HEREDOC.search(words[0])
        if heredoc:
            end = rest.index(heredoc[2]) + 1
            words, rest = [*words, *rest[:end]], rest[end:]
        while words[-1].endswith(("\\", "|")):
            words.append(rest.pop(0))
        size = next((at for at, line in enumerate(rest) if line.startswith("$ ")), len(rest))
        yield Command(text="\n".join(words), output=tuple(rest[:size]))
        rest = rest[size:]
