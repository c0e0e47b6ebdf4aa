"""What a rebuild compiles, and how long it takes beside the first build.

    python -m bench.rebuilds librt==0.16.0 brotli==1.2.1 made:1000

Each package is built as editable in a new environment, then in another new one: nothing changed.
Then times are touched, one source is changed, and one header that sources include. The compiler's
own dependency output says how many sources that is. ``made:N`` is one extension of N one-line
sources, rebuilt ten times.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.builds import clean_environment, say
from bench.environments import find_interpreter, make_environment
from bench.made_up import one_extension
from bench.sources import fetch, read_source

__all__ = ["Rebuilt", "main"]

_HOOK = Path(__file__).with_name("hook.py")
_LINE = re.compile(r"^parallel-backend: (\d+) compiled, \d+ linked, (\d+) reused\b", re.MULTILINE)
_COMMAND = re.compile(r"^.* -c .* -o \S+\.o\b.*$", re.MULTILINE)


@dataclass(frozen=True)
class Rebuilt:
    """What one build took, in seconds, and what it compiled."""

    wall: float
    compiled: int
    reused: int
    output: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", nargs="+", metavar="NAME==VERSION|made:N")
    parser.add_argument("--jobs", type=int, default=2, help="job slots (default: 2)")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir(), "rebuilds"))
    options = parser.parse_args(arguments)
    python = find_interpreter(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert python is not None
    print(f"{'package':<22}{'build':<16}{'s':>8}{'ratio':>8}{'compiled':>10}{'reused':>8}")
    for name in options.packages:
        with tempfile.TemporaryDirectory(prefix="rebuilds-") as work:
            bench = _Bench(name, python, Path(work), options.cache, options.jobs)
            for build, rebuilt in bench.run():
                ratio = f"{rebuilt.wall / bench.first:>8.3f}" if bench.first else ""
                print(
                    f"{name:<22}{build:<16}{rebuilt.wall:>8.2f}{ratio:>8}"
                    f"{rebuilt.compiled:>10}{rebuilt.reused:>8}",
                    flush=True,
                )


class _Bench:
    def __init__(self, name: str, python: Path, work: Path, cache: Path, jobs: int) -> None:
        self.name = name
        self.python = python
        self.work = work
        self.jobs = jobs
        self.first = 0.0
        self.tree = work / "tree"
        if name.startswith("made:"):
            one_extension(self.tree, int(name.removeprefix("made:")))
            self.source = read_source(self.tree, name=name)
        else:
            self.source = fetch(name, cache=cache, python=python, environment=clean_environment())
            shutil.copytree(self.source.tree, self.tree, symlinks=True)

    def run(self) -> list[tuple[str, Rebuilt]]:
        """Each build by its name."""
        environment = self.new_environment()
        self.build(environment, hook="prepare_metadata_for_build_editable")
        first = self.build(environment)
        self.first = first.wall
        rows = [("first", first)]
        if self.name.startswith("made:"):
            return rows + [(f"again {n + 1}", self.build(environment)) for n in range(10)]
        rows.append(("again", self.build(environment)))
        other = self.new_environment()
        self.build(other, hook="prepare_metadata_for_build_editable")
        rows.append(("new environment", self.build(other)))
        for path in self.tree.rglob("*.[ch]*"):
            path.touch()
        rows.append(("touched", self.build(environment)))
        commands = _COMMAND.findall(first.output)
        source, header, including = self.choose(commands)
        if source is not None:
            self.change(source)
            rows.append(("one source: 1", self.build(environment)))
        if header is not None:
            self.change(header)
            rows.append((f"one header: {including}", self.build(environment)))
        return rows

    def choose(self, commands: list[str]) -> tuple[Path | None, Path | None, int]:
        """A source, a header that some sources include but not all, and how many do."""
        read: dict[Path, int] = {}
        sources: list[Path] = []
        for command in commands:
            words = command.split()
            at = words.index("-o")
            rule = subprocess.run(
                [*words[:at], *words[at + 2 :], "-MM", "-MT", "x"],
                cwd=self.tree,
                capture_output=True,
                text=True,
                check=False,
            ).stdout
            names = rule.replace("\\\n", " ").removeprefix("x:").split()
            sources += [self.tree / name for name in names[:1]]
            for name in dict.fromkeys(names[1:]):
                path = Path(os.path.normpath(self.tree / name))
                read[path] = read.get(path, 0) + 1
        some = {path: n for path, n in read.items() if path.is_relative_to(self.tree)}
        once = [path for path in sources if sources.count(path) == 1]
        header = min(
            some, key=lambda path: (abs(some[path] - len(commands) // 3), path), default=None
        )
        return next(iter(once), None), header, some.get(header, 0) if header else 0

    def change(self, path: Path) -> None:
        path.write_bytes(path.read_bytes() + b"\n/* changed */\n")

    def new_environment(self) -> Path:
        """Its interpreter; the environment has a new path, as an isolated build's has."""
        folder = Path(tempfile.mkdtemp(prefix="environment-", dir=self.work))
        requires = [f"{name}" for name in self.source.requires]
        return make_environment(folder, python=self.python, requires=requires).python

    def build(self, python: Path, *, hook: str = "build_editable") -> Rebuilt:
        """One hook in a fresh process."""
        out = self.work / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        request = {
            "backend": "parallel_backend:legacy" if self.source.legacy else "parallel_backend",
            "backend_path": [str(self.tree / folder) for folder in self.source.backend_path],
            "hook": hook,
            "arguments": [str(out), {"jobs": str(self.jobs)}],
            "answer": str(self.work / "answer.json"),
        }
        began = time.perf_counter()
        done = subprocess.run(
            [str(python), str(_HOOK), json.dumps(request)],
            cwd=self.tree,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        wall = time.perf_counter() - began
        if done.returncode:
            say(done.stdout + done.stderr)
            raise SystemExit(f"{self.name}: {hook} failed")
        found = _LINE.search(done.stdout)
        compiled, reused = map(int, found.groups()) if found else (0, 0)
        return Rebuilt(wall, compiled, reused, done.stdout)


if __name__ == "__main__":
    main()
