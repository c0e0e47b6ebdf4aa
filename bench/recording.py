"""What a serial build ran: recorded once, replayed by ninja, and kept small for replays elsewhere.

The whole record lies in a folder of the cache: the tree as the build left it, less what the
compilers wrote, and their commands. The small one is JSON in ``bench/recordings``: how long each
source and each link took (CPU seconds), and which sources an extension has. It names no path of the
machine, so the build can be replayed anywhere, by a compiler that sleeps (`bench.scale`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.builds import BuildError, build_wheel, serial
from bench.sources import Source

__all__ = [
    "COMPILERS",
    "Command",
    "Extension",
    "Recorded",
    "Recording",
    "compilers_on_path",
    "record",
    "shortened",
]

COMPILERS = re.compile(r"(?:[\w.]+-)*(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+)(?:-[0-9.]+)?")
"""Names of the programs that are recorded."""

_RECORDER = Path(__file__).with_name("recorder.py")
_SOURCE = re.compile(r".*\.(?:c|cc|cpp|cxx|c\+\+|C|m|mm|s|S)")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that succeeded, as `bench/recorder.py` tells of it."""

    words: tuple[str, ...]
    folder: str
    output: str
    seconds: float
    """Its CPU time."""
    sha256: str
    """Of its output, right after it."""

    def path(self, word: str) -> str:
        """The path that one of its words names."""
        return os.path.normpath(os.path.join(self.folder, word))

    def source(self) -> str:
        """The source that it compiles; "" if it links."""
        found = [word for word in self.words[1:] if _SOURCE.fullmatch(word)]
        return found[0] if "-c" in self.words and found else ""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A tree as a serial build left it, and what its compilers were told, in order."""

    tree: Path
    """It has to lie at `place` when the commands run."""
    place: Path
    commands: tuple[Command, ...]


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What is linked, of which sources."""

    name: str
    sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Seconds of each source and of each link, by names relative to the tree."""

    package: str
    sources: Mapping[str, float]
    links: Mapping[str, float]
    extensions: tuple[Extension, ...]

    def work(self) -> float:
        """Seconds of all commands."""
        return sum(
            self.links[one.name] + sum(self.sources[name] for name in one.sources)
            for one in self.extensions
        )

    def chain(self) -> float:
        """Seconds of the longest chain: a source, and the link that waits for it."""
        return max(
            self.links[one.name] + max((self.sources[name] for name in one.sources), default=0.0)
            for one in self.extensions
        )

    def floor(self, slots: int) -> float:
        """Seconds that no schedule on so many job slots can beat."""
        return max(self.chain(), self.work() / slots)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        facts = {
            **vars(self),
            "extensions": {one.name: one.sources for one in self.extensions},
        }
        path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Recording:
        """What `write` has written. Raises OSError, ValueError, KeyError."""
        facts = json.loads(path.read_text("utf-8"))
        found = facts.pop("extensions").items()
        extensions = (Extension(name=name, sources=tuple(sources)) for name, sources in found)
        return cls(**facts, extensions=tuple(extensions))


def compilers_on_path(path: str) -> dict[str, str]:
    """The programs that look like compilers by their names, each with its first place on `path`."""
    found: dict[str, str] = {}
    for folder in path.split(os.pathsep):
        names = os.listdir(folder) if os.path.isdir(folder) else []
        for name in sorted(filter(COMPILERS.fullmatch, names)):
            program = os.path.join(folder, name)
            if os.access(program, os.X_OK):
                found.setdefault(name, program)
    return found


def record(source: Source, *, python: Path, work: Path, keep: Path) -> Recorded:
    """Build serially in `work`, its compilers recorded; it is done once and kept in `keep`.

    Raises BuildError if the build fails, or if there was no command to record.
    """
    told, tree, log = keep / "commands.json", keep / "tree", keep / "log"
    place = work / "source"
    if not told.exists():
        shutil.rmtree(keep, ignore_errors=True)
        wrappers = _wrappers(keep / "bin", os.environ["PATH"])
        path = os.pathsep.join([str(wrappers), os.environ["PATH"]])
        variables = {"PATH": path, "RECORDER_LOG": str(log)}
        build_wheel(source, peer=serial(), python=python, work=work, variables=variables)
        commands = _lasting(_read(log), place)
        for command in commands:
            Path(command.path(command.output)).unlink(missing_ok=True)
        shutil.move(place, tree)
        told.write_text(json.dumps([vars(command) for command in commands]), encoding="utf-8")
    facts = json.loads(told.read_text("utf-8"))
    commands = [Command(**{**fact, "words": tuple(fact["words"])}) for fact in facts]
    return Recorded(tree=tree, place=place, commands=tuple(commands))


def shortened(recorded: Recorded, *, package: str) -> Recording:
    """What of a record is kept in the repository."""
    sources: dict[str, list[float]] = {}
    links: dict[str, list[float]] = {}
    made: dict[str, str] = {}
    extensions = []
    for command in recorded.commands:
        output = command.path(command.output)
        if command.source():
            name = os.path.relpath(command.path(command.source()), recorded.place)
            sources.setdefault(name, []).append(command.seconds)
            made[output] = name
        else:
            name = os.path.basename(output).partition(".")[0]
            links.setdefault(name, []).append(command.seconds)
            objects = [made[path] for path in map(command.path, command.words) if path in made]
            extensions.append(Extension(name=name, sources=tuple(objects)))
    return Recording(
        package=package,
        sources={name: _mean(seconds) for name, seconds in sources.items()},
        links={name: _mean(seconds) for name, seconds in links.items()},
        extensions=tuple(extensions),
    )


def _mean(seconds: Sequence[float]) -> float:
    return round(sum(seconds) / len(seconds), 4)


def _wrappers(folder: Path, path: str) -> Path:
    """A folder that goes first on PATH, with a script for each compiler."""
    folder.mkdir(parents=True)
    for name, program in compilers_on_path(path).items():
        script = folder / name
        run = f'exec "{sys.executable}" -IS "{_RECORDER}" "{program}" "$@"'
        script.write_text(f"#!/bin/sh\n{run}\n", encoding="utf-8")
        script.chmod(0o755)
    return folder


def _read(log: Path) -> list[Command]:
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    if not lines:
        raise BuildError("no command was recorded: is the compiler on PATH, and is there work?")
    return [
        Command(**{**json.loads(line), "words": tuple(json.loads(line)["words"])}) for line in lines
    ]


def _lasting(commands: Sequence[Command], place: Path) -> list[Command]:
    """The commands whose outputs and sources are still in the tree: others were questions."""
    return [
        command
        for command in commands
        if Path(command.path(command.output)).is_relative_to(place)
        and os.path.exists(command.path(command.output))
        and (not command.source() or os.path.exists(command.path(command.source())))
    ]
