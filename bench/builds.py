"""One wheel, built in a fresh process from a fresh copy of its tree; its wall and CPU time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench.sources import Source

__all__ = [
    "SOURCE_DATE_EPOCH",
    "BuildError",
    "Built",
    "Cost",
    "Peer",
    "build_wheel",
    "clean_environment",
    "extra_config",
    "fresh_copy",
    "measured",
    "parallel",
    "parallel_compile",
    "say",
    "serial",
    "warm_up",
]

SOURCE_DATE_EPOCH = "1704067200"
_HOOK = Path(__file__).with_name("hook.py")
_BACKENDS = Path(__file__).with_name("backends")
_PROJECT = Path(__file__).resolve().parent.parent / "src"
# What of the caller's environment would decide how a build runs, or keep .pyc files from it.
_FOREIGN = {
    "CARGO_MAKEFLAGS",
    "DIST_EXTRA_CONFIG",
    "MAKEFLAGS",
    "MFLAGS",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
}


class BuildError(Exception):
    """A build ended with an error; the message ends with the last lines of its output."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One way to build a wheel."""

    name: str
    backend: str
    """Module of the backend."""
    legacy: str
    """The same for projects whose ``setup.py`` expects its own folder on ``sys.path``."""
    config_settings: Mapping[str, str] = field(default_factory=dict)
    extra_config: str = ""
    """Text of the file that ``DIST_EXTRA_CONFIG`` names; empty for none."""
    variables: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    """Shell commands that run in the tree before the hook, in its time; ``$PYTHON`` is the
    environment's interpreter."""


class Cost(NamedTuple):
    """What a process and its children took."""

    wall: float
    """Seconds."""
    cpu: float
    """User and system seconds of the process and of every child that was waited for."""
    memory: int
    """KiB that the largest one of these processes had at its peak."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """A wheel, and what it cost as `Cost` tells."""

    wheel: Path
    wall: float
    cpu: float
    memory: int


def serial() -> Peer:
    """Plain setuptools."""
    return Peer(
        name="serial",
        backend="setuptools.build_meta",
        legacy="setuptools.build_meta:__legacy__",
    )


def extra_config(jobs: int) -> Peer:
    """Setuptools' own parallel build: a thread an extension, by a ``DIST_EXTRA_CONFIG`` file."""
    return Peer(
        name="extra-config",
        backend="setuptools.build_meta",
        legacy="setuptools.build_meta:__legacy__",
        extra_config=f"[build_ext]\nparallel = {jobs}\n",
    )


def parallel_compile(jobs: int, *, pybind11: Path) -> Peer:
    """Plain setuptools, pybind11's ``ParallelCompile`` installed in it: a thread a source.

    `pybind11`: the folder that it was installed to.
    """
    path = os.pathsep.join(map(str, (_PROJECT, _BACKENDS, pybind11)))
    return Peer(
        name="parallel-compile",
        backend="parallel_compile",
        legacy="parallel_compile:legacy",
        variables={"PYTHONPATH": path, "BENCH_JOBS": str(jobs)},
    )


def parallel(jobs: int, **settings: str) -> Peer:
    """This project; `settings` are its own, such as ``fresh="true"``."""
    return Peer(
        name="parallel",
        backend="parallel_backend",
        legacy="parallel_backend:legacy",
        config_settings={"jobs": str(jobs), **settings},
    )


def clean_environment(**more: str) -> dict[str, str]:
    """The caller's environment less what steers builds and byte code, and with `more` in it."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in _FOREIGN and not key.startswith("PARALLEL_BACKEND_")
    }
    return {**kept, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH, "PYTHONPATH": str(_PROJECT), **more}


def build_wheel(
    source: Source,
    *,
    peer: Peer,
    python: Path,
    work: Path,
    variables: Mapping[str, str] | None = None,
) -> Built:
    """Build the wheel of a fresh copy of `source`, always at `work`/source, and measure it.

    Whatever was in `work` is gone. Copying is not part of the time.

    Raises BuildError if the hook fails.
    """
    wheel, cost = _run_hook(
        "build_wheel", source, peer=peer, python=python, work=work, variables=variables or {}
    )
    return Built(wheel=wheel, **cost._asdict())


def warm_up(source: Source, *, peer: Peer, python: Path, work: Path) -> None:
    """Prepare the metadata, unmeasured: all that is read is then cached, ``.pyc`` files in place.

    Raises BuildError if the hook fails.
    """
    hook = "prepare_metadata_for_build_wheel"
    _run_hook(hook, source, peer=peer, python=python, work=work, variables={})


def _run_hook(
    hook: str,
    source: Source,
    *,
    peer: Peer,
    python: Path,
    work: Path,
    variables: Mapping[str, str],
) -> tuple[Path, Cost]:
    """Call one hook in a fresh process; what it made, and what that cost."""
    tree, made = fresh_copy(source.tree, work=work), work / "made"
    made.mkdir()
    environment = clean_environment(**variables, **peer.variables)
    if peer.extra_config:
        config = work / "extra.cfg"
        config.write_text(peer.extra_config, encoding="utf-8")
        environment["DIST_EXTRA_CONFIG"] = str(config)
    answer, peak = work / "answer.json", work / "peak"
    request = {
        "backend": peer.legacy if source.legacy else peer.backend,
        "backend_path": [str(tree / folder) for folder in source.backend_path],
        "hook": hook,
        "arguments": [str(made), dict(peer.config_settings) or None],
        "answer": str(answer),
        "peak": str(peak),
    }
    command = [str(python), str(_HOOK), json.dumps(request)]
    if peer.before:
        environment["PYTHON"] = str(python)
        command = ["sh", "-euc", f'{peer.before}\nexec "$@"', "sh", *command]
    cost = measured(command, folder=tree, environment=environment, log=work / "output.txt")
    cost = cost._replace(memory=int(peak.read_text("utf-8")))
    return made / json.loads(answer.read_text("utf-8")), cost


def fresh_copy(tree: Path, *, work: Path) -> Path:
    """A copy of a source tree at `work`/source; whatever was in `work` is gone."""
    shutil.rmtree(work, ignore_errors=True)
    return Path(shutil.copytree(tree, work / "source", symlinks=True))


def measured(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path
) -> Cost:
    """Run a command to its end; its output goes to `log`.

    Raises BuildError if its exit status is not 0.
    """
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        # wait4 alone tells the cost of this one process and its children, whatever ran before it.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text("utf-8", errors="replace").splitlines()[-25:]
        raise BuildError(f"exit status {process.returncode} in {folder}\n" + "\n".join(tail))
    return Cost(wall=wall, cpu=usage.ru_utime + usage.ru_stime, memory=usage.ru_maxrss)


def say(text: str) -> None:
    """A line of progress, on stderr: stdout is for the table."""
    print(text, file=sys.stderr, flush=True)
