"""Who wrote which path in a build: compiles the recorder, and reads the log that it leaves.

A *command* is one run of the wrapper ``record`` with all its children: one gcc, with its cc1, as,
collect2 and ld. Processes outside a command (Python's own) may write too; they count only where
they rename what a command wrote.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

__all__ = ["Command", "Event", "Recorder", "commands", "most_at_once", "read_log", "written_by_two"]

_SOURCES = Path(__file__).parent / "recorder"
_NO_COMMAND = "-"


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """The compiled recorder; no space in `folder`'s path, since CC is split at spaces."""

    folder: Path

    @staticmethod
    def missing() -> str:
        """Why it cannot be used on this machine; empty if it can."""
        if not sys.platform.startswith("linux"):
            return "the recorder preloads a library, which is Linux's way"
        return "" if shutil.which("gcc") else "there is no gcc"

    @classmethod
    def make(cls, folder: Path) -> Recorder:
        """Compile it into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        compile_c = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror"]
        for output, source, options in (
            ("record", "record.c", []),
            ("preload.so", "preload.c", ["-shared", "-fPIC", "-ldl"]),
        ):
            command = [*compile_c, "-o", str(folder / output), str(_SOURCES / source), *options]
            subprocess.run(command, check=True)
        return cls(folder=folder)

    @property
    def log(self) -> Path:
        """Where events go."""
        return self.folder / "log"

    @property
    def temporary(self) -> Path:
        """TMPDIR of what is recorded."""
        return self.folder / "temporary"

    def command(self, *command: str) -> list[str]:
        """A command line with the wrapper before it."""
        return [str(self.folder / "record"), *command]

    def environment(self) -> dict[str, str]:
        """Variables for a build in which every compiler and each rename by Python is recorded.

        The log starts anew.
        """
        self.log.unlink(missing_ok=True)
        self.temporary.mkdir(exist_ok=True)
        return {
            "CC": " ".join(self.command("gcc")),
            "CXX": " ".join(self.command("g++")),
            "LDSHARED": " ".join(self.command("gcc", "-shared")),
            "AR": " ".join(self.command("ar")),
            "LD_PRELOAD": str(self.folder / "preload.so"),
            "RECORD_LOG": str(self.log),
            "RECORD_PRELOAD": str(self.folder / "preload.so"),
            "TMPDIR": str(self.temporary),
        }


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the log."""

    time: int
    """Monotonic nanoseconds."""
    process: int
    command: str
    operation: str
    """start, end, write, rename, link or unlink."""
    fields: tuple[str, ...]
    """Paths, normalised; of start the command line, of end the exit status (or -signal)."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of a build. `end` and `status` are None if it never ended."""

    arguments: tuple[str, ...]
    start: int
    end: int | None = None
    status: int | None = None


def read_log(log: Path) -> list[Event]:
    """The events of a log, in time's order."""
    events = [_event(line) for line in log.read_text("ascii").splitlines()]
    return sorted(events, key=lambda event: event.time)


def _event(line: str) -> Event:
    time, process, command, operation, *escaped = line.split("\t")
    fields = [os.fsdecode(unquote_to_bytes(field)) for field in escaped]
    if operation not in ("start", "end"):
        # The folder may be a link; the last part is what was written, whatever it is.
        fields = [
            os.path.join(os.path.realpath(os.path.dirname(field)), os.path.basename(field))
            for field in fields
        ]
    return Event(
        time=int(time),
        process=int(process),
        command=command,
        operation=operation,
        fields=tuple(fields),
    )


def commands(events: Iterable[Event]) -> dict[str, Command]:
    """Every command by the name that its events carry."""
    found: dict[str, Command] = {}
    for event in events:
        if event.operation == "start":
            found[event.command] = Command(arguments=event.fields, start=event.time)
        elif event.operation == "end":
            begun = found[event.command]
            found[event.command] = Command(
                arguments=begun.arguments,
                start=begun.start,
                end=event.time,
                status=int(event.fields[0]),
            )
    return found


def most_at_once(found: Iterable[Command]) -> int:
    """How many commands ran at one time, at most; one that never ended runs on."""
    steps = []
    for command in found:
        steps.append((command.start, 1))
        if command.end is not None:
            steps.append((command.end, -1))
    running = most = 0
    for _, step in sorted(steps):
        running += step
        most = max(most, running)
    return most


def written_by_two(
    events: Sequence[Event], *, ignored: Iterable[Path] = (), follow: bool = True
) -> dict[str, list[Command]]:
    """The paths that two or more commands wrote, with those commands; `ignored` folders aside.

    With `follow`, a rename or a link by anyone writes its target in the name of the command whose
    file it is: two objects compiled under names of their own, then renamed to one path, are found.
    """
    known = commands(events)
    aside = tuple(
        f"{os.path.realpath(folder)}/" for folder in ("/dev", "/proc", *map(str, ignored))
    )
    writers: dict[str, list[str]] = {}
    for path, command in _writes(events, follow=follow):
        if not path.startswith(aside) and command not in writers.setdefault(path, []):
            writers[path].append(command)
    return {
        path: [known[name] for name in names]
        for path, names in sorted(writers.items())
        if len(names) > 1
    }


def _writes(events: Iterable[Event], *, follow: bool) -> Iterator[tuple[str, str]]:
    """Each path with the command that wrote it; renames by others too if `follow`."""
    owners: dict[str, str] = {}
    for event in events:
        written: dict[str, str] = {}
        if event.operation == "write":
            written = {event.fields[0]: event.command}
        elif event.operation == "rename":
            source, target = event.fields
            written = {target: owners.get(source, event.command), **_moved(owners, source, target)}
            owners.pop(source, None)
        elif event.operation == "link":
            source, target = event.fields
            written = {target: owners.get(source, event.command)}
        elif event.operation == "unlink":
            owners.pop(event.fields[0], None)
        owners.update(written)
        for path, command in written.items():
            if command != _NO_COMMAND and (follow or event.command == command):
                yield path, command


def _moved(owners: dict[str, str], source: str, target: str) -> dict[str, str]:
    """What a folder held, under its new names; no longer under the old ones."""
    inner = [path for path in owners if path.startswith(f"{source}/")]
    return {target + path.removeprefix(source): owners.pop(path) for path in inner}
