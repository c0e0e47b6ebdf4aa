"""Recorded commands, run again by ninja: what is left of a build if all else costs nothing.

A command waits for the commands that write what it reads, a link for its objects, and for nothing
else. Where a build writes one path several times (an object of each extension that shares a
source), each command gets a path of its own. Ninja 1.12 and newer begin with what leads to the
longest chain, by the times of the last run, which its log keeps.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.builds import BuildError, Cost, clean_environment, fresh_copy, measured
from bench.recording import Command, Recorded

__all__ = ["build_file", "distinct", "replay"]


def replay(
    recorded: Recorded,
    *,
    ninja: Path,
    jobs: int,
    work: Path,
    log: Path,
    check: bool = False,
    variables: Mapping[str, str] | None = None,
) -> Cost:
    """Run the commands in a fresh copy of their tree, in `work`; ninja's own log is kept in `log`.

    Raises BuildError if a command fails or, with `check`, makes other bytes than it did when it
    was recorded.
    """
    tree = fresh_copy(recorded.tree, work=work)
    if tree != recorded.place:
        raise BuildError(f"{work}: the commands were recorded in {recorded.place.parent}")
    commands = distinct(recorded.commands)
    log.mkdir(parents=True, exist_ok=True)
    rules = work / "build.ninja"
    rules.write_text(build_file(commands, tree=tree, log=log), encoding="utf-8")
    cost = measured(
        [str(ninja), "--quiet", "-f", str(rules), "-C", str(tree), "-j", str(jobs)],
        folder=tree,
        environment=clean_environment(**(variables or {})),
        log=work / "output.txt",
    )
    for command in commands if check else ():
        made = Path(command.path(command.output))
        if hashlib.sha256(made.read_bytes()).hexdigest() != command.sha256:
            raise BuildError(f"{command.output} is not what the recorded build made")
    return cost


def distinct(commands: Sequence[Command]) -> list[Command]:
    """The same commands, no two of which write one path; what was linked is linked again."""
    found: list[Command] = []
    latest: dict[str, str] = {}
    for command in commands:
        path = command.path(command.output)
        place = path
        if path in latest:
            stem, suffix = os.path.splitext(path)
            place = f"{stem}.{len(found)}{suffix}"
        at = command.words.index("-o") + 1
        words = [_now(word, command, latest) for word in command.words]
        words[at] = command.output if place == path else place
        found.append(replace(command, words=tuple(words), output=words[at]))
        latest[path] = place
    return found


def _now(word: str, command: Command, latest: dict[str, str]) -> str:
    path = command.path(word)
    place = latest.get(path, path)
    return word if place == path else place


def build_file(commands: Sequence[Command], *, tree: Path, log: Path) -> str:
    """The text of a ``build.ninja`` for `commands`; ninja's log goes to the folder `log`."""
    return "".join(_statements(commands, str(tree), log))


def _statements(commands: Sequence[Command], tree: str, log: Path) -> Iterator[str]:
    yield f"builddir = {_escaped(str(log))}\nrule run\n  command = $words\n"
    made: set[str] = set()
    for command in commands:
        output = command.path(command.output)
        read = {command.path(word) for word in command.words} & made
        made.add(output)
        words = shlex.join(command.words)
        if command.folder != tree:
            words = f"cd {shlex.quote(command.folder)} && {words}"
        names = " ".join(map(_escaped, sorted(read)))
        yield f"build {_escaped(output)}: run {names}\n"
        yield "  words = " + words.replace("$", "$$") + "\n"


def _escaped(path: str) -> str:
    """A path as ninja reads it (its manual, "Lexical syntax")."""
    return path.replace("$", "$$").replace(" ", "$ ").replace(":", "$:")
