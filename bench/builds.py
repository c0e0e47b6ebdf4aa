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

from sources import Source

__all__ = [
    "SOURCE_DATE_EPOCH",
    "BuildError",
    "Built",
    "Peer",
    "build_wheel",
    "clean_environment",
    "extra_config",
    "parallel",
    "say",
    "serial",
    "warm_up",
]

SOURCE_DATE_EPOCH = "1704067200"
_HOOK = Path(__file__).with_name("hook.py")
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


@dataclass(frozen=True, kw_only=True)
class Built:
    """A wheel and what it cost."""

    wheel: Path
    wall: float
    """Seconds."""
    cpu: float
    """User and system seconds of the hook's process and of every child that was waited for."""


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


def parallel(jobs: int, *, extensions: str = "") -> Peer:
    """This project; ``extensions`` forces its process, thread or serial mode."""
    mode = {"extensions": extensions} if extensions else {}
    return Peer(
        name="parallel",
        backend="parallel_backend",
        legacy="parallel_backend:legacy",
        config_settings={"jobs": str(jobs), **mode},
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
    wheel, wall, cpu = _run_hook(
        "build_wheel", source, peer=peer, python=python, work=work, variables=variables or {}
    )
    return Built(wheel=wheel, wall=wall, cpu=cpu)


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
) -> tuple[Path, float, float]:
    """Call one hook in a fresh process; what it made, its wall and CPU seconds."""
    shutil.rmtree(work, ignore_errors=True)
    tree, made = work / "source", work / "made"
    shutil.copytree(source.tree, tree, symlinks=True)
    made.mkdir()
    environment = clean_environment(**variables)
    if peer.extra_config:
        config = work / "extra.cfg"
        config.write_text(peer.extra_config, encoding="utf-8")
        environment["DIST_EXTRA_CONFIG"] = str(config)
    answer = work / "answer.json"
    request = {
        "backend": peer.legacy if source.legacy else peer.backend,
        "backend_path": [str(tree / folder) for folder in source.backend_path],
        "hook": hook,
        "arguments": [str(made), dict(peer.config_settings) or None],
        "answer": str(answer),
    }
    command = [str(python), str(_HOOK), json.dumps(request)]
    wall, cpu = _measured(command, folder=tree, environment=environment, log=work / "output.txt")
    return made / json.loads(answer.read_text("utf-8")), wall, cpu


def _measured(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path
) -> tuple[float, float]:
    """Run a command; its wall and CPU seconds. Its output goes to `log`."""
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
    return wall, usage.ru_utime + usage.ru_stime


def say(text: str) -> None:
    """A line of progress, on stderr: stdout is for the table."""
    print(text, file=sys.stderr, flush=True)
