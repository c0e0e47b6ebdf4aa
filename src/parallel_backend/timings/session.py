"""The record of one hook, and the page that is made of it in the directory that `timings` names.

Where that directory holds one that is called `RECORDS`, whoever made it writes about many hooks,
and looks on while they run: a hook leaves its record there. Otherwise only hooks that build
something are recorded: others run before them, and would only be overwritten.

The page is made by ``tools/timings``, in a process of its own: it needs much that no hook needs,
and a build does not fail for a picture of it. A vendored copy has no tools; there the record
itself is kept, for ``parallel-backend timings``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parallel_backend.timings.folder import is_shared
from parallel_backend.timings.record import RECORDS, Span, recording, span

__all__ = ["hook_recorded"]

_PACKAGE = Path(__file__).resolve().parents[1]
_REPORT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from parallel_backend.tools.timings.report import main; main()"
)


@contextlib.contextmanager
def hook_recorded(hook: str, *, folder: str, private: Path) -> Iterator[Span | None]:
    """Record a hook for the length of a ``with`` block, and write down what came of it.

    Gives the hook's own span, which is to be told `slots`, the number of job slots, and perhaps
    `made`, the name of what was built.
    """
    is_part = is_shared(folder)
    if not is_part and not hook.startswith("build_"):
        yield None
        return
    path = Path(folder, RECORDS, f"{hook}-{os.getpid()}") if is_part else private / "timings"
    details: dict[str, Any] = {
        "folder": os.getcwd(),
        "began": time.time(),
        "with": list(_versions()),
    }
    try:
        with (
            recording(path, watched=is_part),
            span("hook", hook, whole=True, told=True, **details) as timed,
            _commands_timed(),
        ):
            yield timed
    finally:
        if not is_part:
            _report(path, folder)


def _report(record: Path, folder: str) -> None:
    """Make the page of a record, or keep the record; raises nothing."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if (_PACKAGE / "tools" / "timings").is_dir():
            places = [str(_PACKAGE.parent), str(record), folder]
            command = [sys.executable, "-I", "-c", _REPORT, *places]
            subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
            return
        os.makedirs(folder, exist_ok=True)
        kept = shutil.copyfile(record, Path(folder, "timings.jsonl"))
        print(f"parallel-backend: timings: {kept} (parallel-backend timings makes the page)")
    except Exception as error:
        with contextlib.suppress(Exception):
            text = f"{type(error).__name__}: {error}"
            print(f"parallel-backend: no timings: {text}", file=sys.stderr, flush=True)


def _versions() -> Iterator[str]:
    yield f"{platform.python_implementation()} {platform.python_version()}"
    setuptools = sys.modules.get("setuptools")
    if setuptools is not None:
        yield f"setuptools {setuptools.__version__}"
    yield platform.machine()


@contextlib.contextmanager
def _commands_timed() -> Iterator[None]:
    """Record the commands that a ``setup.py`` runs, for the length of a ``with`` block."""
    from distutils.dist import Distribution

    kind: Any = Distribution
    original = kind.run_command

    @functools.wraps(original)
    def run_command(self: Any, command: str) -> None:
        if self.have_run.get(command):
            original(self, command)
            return
        with span("command", command):
            original(self, command)

    kind.run_command = run_command
    try:
        yield
    finally:
        kind.run_command = original
