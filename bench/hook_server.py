"""Time the hook server beside a fresh process for each hook, and look at what it holds.

Four hooks of a pure project (requirements, metadata, wheel, sdist) are called by four fresh
processes, through a server that is started for them, and through one that is warm: in turns, each
time on a new copy of the project. The project has a ``setup.py`` or none. A ratio is to the fresh
processes of the same turn; a server's start and end are part of the first one. ``.pyc`` files are
in place.

Then the metadata of the project is prepared many times, and memory and descriptors of the server
and its worker are looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_SOURCE = Path(__file__).resolve().parent.parent / "src"
sys.path.insert(0, str(_SOURCE))

from bench.builds import clean_environment  # noqa: E402
from parallel_backend.tools.hook_server import HookServer  # noqa: E402 - it is not installed

_HOOK = Path(__file__).with_name("hook.py")
_BACKENDS = ("setuptools.build_meta", "parallel_backend")
# Each with the argument that names the folder for what it makes.
_HOOKS = {
    "get_requires_for_build_wheel": "",
    "prepare_metadata_for_build_wheel": "metadata_directory",
    "build_wheel": "wheel_directory",
    "build_sdist": "sdist_directory",
}
_MODULES = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the ratios, and then the memory and the descriptors."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: --turns 5 --hooks 100")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with setuptools")
    parser.add_argument("--turns", type=int, default=20, help="how often each way is taken")
    parser.add_argument("--hooks", type=int, default=1000, help="how often metadata is prepared")
    parser.add_argument("--json", type=Path, help="write the seconds of each turn there, too")
    options = parser.parse_args(arguments)
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="hook-server-bench-") as work:
        bench = _Bench(options.python, Path(work))
        for backend in _BACKENDS:
            for setup in (False, True):
                what = f"{backend}, {'with setup.py' if setup else 'no setup.py'}"
                found[what] = bench.compare(backend, setup=setup, turns=options.turns)
                _show(what, found[what])
        if options.json:
            options.json.write_text(json.dumps(found), encoding="utf-8")
        for backend in _BACKENDS if options.hooks else ():
            bench.repeat(backend, hooks=options.hooks)


class _Bench:
    def __init__(self, python: str, work: Path) -> None:
        self.python = python
        self.project = work / "project"
        self.out = work / "out"
        self.answer = work / "answer.json"
        self.environment = clean_environment()
        self.setup = False

    def compare(self, backend: str, *, setup: bool, turns: int) -> dict[str, list[float]]:
        """The seconds of each way. `setup`: the project has a ``setup.py``."""
        self.setup = setup
        ways: dict[str, Callable[[str], None]] = {
            "fresh": self._fresh,
            "started": self._started,
        }
        spent: dict[str, list[float]] = {"fresh": [], "started": [], "warm": []}
        with HookServer(self.python) as server:
            ways["warm"] = lambda backend: self._call_all(server, backend)
            for way in ways.values():  # once for .pyc files, and what else is read
                self._prepare()
                way(backend)
            for turn in range(turns):
                names = [*ways]
                for name in names[turn % 3 :] + names[: turn % 3]:
                    self._prepare()
                    began = time.perf_counter()
                    ways[name](backend)
                    spent[name].append(time.perf_counter() - began)
        return spent

    def repeat(self, backend: str, *, hooks: int) -> None:
        """Print what a server holds after some hooks, and after many."""
        self.setup = False
        self._prepare()
        hook = "prepare_metadata_for_build_wheel"
        with HookServer(self.python) as server:
            for number in range(hooks + 1):
                self._call(server, backend, hook)
                if number in (hooks // 10, hooks):
                    [connection] = server._connections.values()
                    memory, descriptors = _held(connection._process.pid)
                    print(f"{backend}: {number} hooks, {memory} KiB, {descriptors} descriptors")

    def _prepare(self) -> None:
        for folder in (self.project, self.out):
            shutil.rmtree(folder, ignore_errors=True)
        package = self.project / "sample"
        package.mkdir(parents=True)
        self.out.mkdir()
        (self.project / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["setuptools"]\n'
            '[project]\nname = "sample"\nversion = "1.0"\ndescription = "A sample"\n'
        )
        if self.setup:
            (self.project / "setup.py").write_text("from setuptools import setup\n\nsetup()\n")
        (package / "__init__.py").touch()
        for number in range(_MODULES):
            (package / f"module_{number}.py").write_text("VALUE = 1\n" * 50)

    def _fresh(self, backend: str) -> None:
        for hook, folder in _HOOKS.items():
            request = {
                "backend": backend,
                "backend_path": [],
                "hook": hook,
                "arguments": [str(self.out)] if folder else [],
                "answer": str(self.answer),
            }
            subprocess.run(
                [self.python, str(_HOOK), json.dumps(request)],
                cwd=self.project,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )

    def _started(self, backend: str) -> None:
        with HookServer(self.python) as server:
            self._call_all(server, backend)

    def _call_all(self, server: HookServer, backend: str) -> None:
        for hook in _HOOKS:
            self._call(server, backend, hook)

    def _call(self, server: HookServer, backend: str, hook: str) -> None:
        folder = _HOOKS[hook]
        server.call(
            hook,
            backend=backend,
            source=self.project,
            arguments={folder: str(self.out)} if folder else {},
            environment=self.environment,
            stdout=os.devnull,
            stderr=os.devnull,
        )


def _show(what: str, spent: dict[str, list[float]]) -> None:
    print(f"{what}, {len(spent['fresh'])} turns")
    for name, seconds in spent.items():
        ratios = [one / other for one, other in zip(seconds, spent["fresh"], strict=True)]
        median, low, high = statistics.median(seconds), min(seconds), max(seconds)
        print(
            f"  {name:8} {1000 * median:6.1f} ms (min {1000 * low:.1f}, max {1000 * high:.1f})"
            f"  ratio {statistics.median(ratios):.3f}"
        )


def _held(process: int) -> tuple[int, int]:
    """A server's and its workers' memory in KiB, and how many descriptors they have open."""
    memory = descriptors = 0
    workers = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    for each in (process, *workers):
        text = Path(f"/proc/{each}/status").read_text()
        [line] = [line for line in text.splitlines() if line.startswith("VmRSS:")]
        memory += int(line.split()[1])
        descriptors += len(os.listdir(f"/proc/{each}/fd"))
    return memory, descriptors


if __name__ == "__main__":
    main()
