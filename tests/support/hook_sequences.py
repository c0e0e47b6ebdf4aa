"""Sequences of hooks: in one process by our backend, and each hook in a fresh one by setuptools."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sequence_driver
from harness import SOURCE

__all__ = [
    "Outcome",
    "Sample",
    "Step",
    "call",
    "differing_lines",
    "project",
    "run_fresh",
    "run_together",
]

Step = dict[str, Any]
Outcome = dict[str, Any]

_DRIVER = Path(sequence_driver.__file__)
_PATIENCE = 1200  # seconds; a hook that hangs fails its test, not the whole run
_PLAIN = '[build-system]\nrequires = ["setuptools>=77"]\n'


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Projects, and what one process does with them.

    `files` are texts by their paths, `trees` folders to copy; a project is a folder of its own.
    `path` are folders that the interpreter finds modules in. `legacy`: the backend for projects
    that name none. `bare`: without site-packages, but for setuptools. `env` is laid over the
    environment; None takes a variable away.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    trees: Mapping[str, Path] = field(default_factory=dict)
    steps: Sequence[Step]
    env: Mapping[str, str | None] = field(default_factory=dict)
    path: Sequence[str] = ()
    legacy: bool = False
    bare: bool = False


def project(
    folder: str, *, setup: str | None = None, files: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The files of a project in `folder`, by their paths; its module has the folder's name.

    A project that needs more of ``pyproject.toml`` than the requirements brings its own.
    """
    own = {"pyproject.toml": _PLAIN, f"{folder}.py": "VALUE = 1\n"}
    if setup is not None:
        own["setup.py"] = setup
    return {f"{folder}/{path}": text for path, text in {**own, **(files or {})}.items()}


def call(hook: str, project: str = "one", *, out: str | None = None, **more: Any) -> Step:
    """The step that calls a hook; a hook that writes does so into a new folder if not told.

    Further arguments are as the driver tells.
    """
    return {"call": hook, "project": project, "out": out, **more}


def _numbered(steps: Sequence[Step]) -> list[Step]:
    """The steps, each with a folder of its own to write into."""
    return [
        {**step, "out": step["out"] or f"out/{number}"}
        if "call" in step and not step["call"].startswith("get_requires")
        else step
        for number, step in enumerate(steps)
    ]


def run_fresh(sample: Sample, work: Path) -> list[Outcome]:
    """The steps in `work`, each hook in a fresh process by plain setuptools."""
    outcomes = []
    backend = "setuptools.build_meta" + (":__legacy__" if sample.legacy else "")
    _prepare(sample, work)
    for step in _numbered(sample.steps):
        if "call" in step:
            [outcome] = _run([step], sample, work, backend=backend)
            # Once more, now that the process has ended, with all that it does at its exit.
            outcomes.append({**outcome, **sequence_driver.written(step, work)})
        else:
            sequence_driver.change(step, work)
    return outcomes


def run_together(
    sample: Sample,
    work: Path,
    *,
    beside_a_thread: bool = False,
    python: str = sys.executable,
) -> list[Outcome]:
    """The steps in `work`, all in one process by our backend.

    `beside_a_thread`: that process has another thread, so that no fork is safe.
    """
    backend = "parallel_backend" + (":legacy" if sample.legacy else "")
    _prepare(sample, work)
    steps = _numbered(sample.steps)
    return _run(
        steps, sample, work, backend=backend, beside_a_thread=beside_a_thread, python=python
    )


def differing_lines(fresh: list[Outcome], together: list[Outcome]) -> Iterator[str]:
    """What two runs of one sequence have not in common, beside lines that say where it is."""
    one, two = (json.dumps(run, indent=1, sort_keys=True).splitlines() for run in (fresh, together))
    yield from unified_diff(one, two, "fresh", "together", n=4, lineterm="")


def _prepare(sample: Sample, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    for folder, tree in sample.trees.items():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(tree, work / folder, symlinks=True, ignore=ignore)
    for path, text in sample.files.items():
        sequence_driver.change({"write": path, "text": text}, work)
    for folder in sample.path:
        (work / folder).mkdir(exist_ok=True)
    if sample.bare:
        for name, place in _setuptools().items():
            sequence_driver.change({"link": f"{sample.path[0]}/{name}", "to": place}, work)


def _setuptools() -> dict[str, str]:
    """Where setuptools lies, with its commands' names, and what it needs to stand for distutils."""
    metadata = distribution("setuptools").locate_file("")
    found = {path.name: str(path) for path in Path(str(metadata)).glob("setuptools-*.dist-info")}
    for name in ("setuptools", "_distutils_hack"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        found[name] = str(Path(spec.origin).parent)
    return found


def _run(
    steps: list[Step],
    sample: Sample,
    work: Path,
    *,
    backend: str,
    beside_a_thread: bool = False,
    python: str = sys.executable,
) -> list[Outcome]:
    variables = {**os.environ, **sample.env}
    first = next(step["project"] for step in steps if "call" in step)
    with tempfile.TemporaryDirectory(prefix="sequence-") as private:
        request, result = Path(private, "request.json"), Path(private, "result.json")
        asked = {
            "path": [str(SOURCE), *(str(work / folder) for folder in sample.path)],
            "backend": backend,
            "work": str(work),
            "steps": steps,
            "beside-a-thread": beside_a_thread,
            "result": str(result),
        }
        request.write_text(json.dumps(asked), encoding="utf-8")
        done = subprocess.run(
            [python, *(["-S"] if sample.bare else []), str(_DRIVER), str(request)],
            cwd=work / first,
            env={name: value for name, value in variables.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=_PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        outcomes: list[Outcome] = json.loads(result.read_text(encoding="utf-8"))
    return outcomes
