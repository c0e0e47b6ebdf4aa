"""Where a hook runs: an isolated environment, or the one that is there already.

Not `build.env`: what that installs it does not log, cannot be broken off, and is for the running
interpreter alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Protocol

import parallel_backend
from parallel_backend.errors import ParallelBackendError

__all__ = [
    "Environment",
    "EnvironmentFailedError",
    "Installer",
    "Isolated",
    "Runner",
    "Surrounding",
    "find_installer",
    "lend_backend",
]

# To what is started, in turn: each asks for less patience.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM))


class EnvironmentFailedError(ParallelBackendError):
    """An environment cannot be made, or its requirements cannot be installed."""


class Environment(Protocol):
    """What both kinds of environment are. `python`: its interpreter."""

    python: str

    def install(self, requirements: Sequence[str]) -> None:
        """Have requirements installed. Raises EnvironmentFailedError."""

    def variables(self) -> dict[str, str]:
        """The whole environment for hooks."""

    def setuptools(self) -> int:
        """The major version of the setuptools in it, 0 without one."""


class Runner:
    """Runs commands of one project, one at a time; what they print is added to its log.

    `folder`: for their temporary files.
    """

    def __init__(self, *, log: Path, folder: Path) -> None:
        self._log = log
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._told = 0

    def run(self, *command: str, variables: Mapping[str, str] | None = None) -> None:
        """Run a command to its end. Raises EnvironmentFailedError if it fails."""
        try:
            with self._log.open("ab") as log, tempfile.TemporaryDirectory(dir=self._folder) as tmp:
                environment = {**(os.environ if variables is None else variables), "TMPDIR": tmp}
                with self._lock:
                    if self._told:
                        raise EnvironmentFailedError(f"{Path(command[0]).name} was not begun")
                    self._process = subprocess.Popen(
                        command,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        # Ctrl-C is for this process, which tells others.
                        process_group=0,
                    )
                status = self._process.wait()
                with self._lock:
                    if self._told:
                        self._signal(_SIGNALS[-1])  # what the command left
                    self._process = None
        except OSError as error:
            raise EnvironmentFailedError(f"{command[0]}: {error.strerror}") from error
        if status:
            shown = " ".join([Path(command[0]).name, *command[1:]])
            raise EnvironmentFailedError(f"exit status {status} of {shown}")

    def cancel(self) -> None:
        """Break off what runs, and begin nothing more; again: more harshly. For other threads."""
        with self._lock:
            number = _SIGNALS[min(self._told, len(_SIGNALS) - 1)]
            self._told += 1
            self._signal(number)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


@dataclass(frozen=True, kw_only=True)
class Installer:
    """What installs into environments: `uv`, if there is one, or else pip, perhaps the one that
    each environment has then (`own_pip`)."""

    uv: str | None
    own_pip: bool


def find_installer() -> Installer:
    """Find it. Not for several threads at once: `sysconfig`, which uv's package asks, has a state
    that is half made when it is asked for the first time."""
    uv = find_uv()
    return Installer(uv=uv, own_pip=uv is None and not has_pip())


@dataclass(kw_only=True)
class Isolated:
    """A new virtual environment in `folder`, made with the interpreter `base`.

    `lent`: the folder that `lend_backend` gave. `shared`: variables for all hooks.
    """

    folder: Path
    base: str
    lent: Path
    shared: Mapping[str, str]
    runner: Runner
    installer: Installer

    def __post_init__(self) -> None:
        self.python = str(self.folder / "bin" / "python")

    def create(self) -> None:
        """Make it. Raises EnvironmentFailedError."""
        options = [] if self.installer.own_pip else ["--without-pip"]
        self.runner.run(self.base, "-I", "-m", "venv", *options, str(self.folder))
        if self.installer.own_pip:  # up to Python 3.11 setuptools comes with it
            pip = (self.python, "-Im", "pip", "uninstall", "--quiet", "--yes", "setuptools")
            self.runner.run(*pip)

    def install(self, requirements: Sequence[str]) -> None:
        if not requirements:
            return
        try:
            self._install(requirements)
        except EnvironmentFailedError as error:
            wanted = ", ".join(requirements)
            raise EnvironmentFailedError(f"cannot install {wanted}: {error}") from error

    def _install(self, requirements: Sequence[str]) -> None:
        if self.installer.uv is not None:
            variables = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
            variables["VIRTUAL_ENV"] = str(self.folder)
            command = [
                self.installer.uv,
                "pip",
                "install",
                "--python",
                self.python,
                "--",
                *requirements,
            ]
            self.runner.run(*command, variables=variables)
            return
        # pip heeds environment markers in files only.
        file = self.folder / "requirements.txt"
        file.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "--python", self.python]
        command = [self.python, "-Im", "pip"] if self.installer.own_pip else pip
        command += ["install", "--use-pep517", "--no-warn-script-location", "--no-compile"]
        self.runner.run(*command, "--no-input", "--requirement", str(file))

    def variables(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.folder / "bin"), os.environ.get("PATH", os.defpath)])
        return {**os.environ, **self.shared, "PATH": path, "PYTHONPATH": str(self.lent)}

    def setuptools(self) -> int:
        packages = map(str, self.folder.glob("lib/python*/site-packages"))
        found = [*distributions(name="setuptools", path=[*packages])]
        return _major(found[0].version) if found else 0


@dataclass(kw_only=True)
class Surrounding:
    """The environment of the interpreter `python`, as it is.

    `is_checked`: requirements must be installed there. That can only be seen of the interpreter
    that runs, and needs `build`.
    """

    python: str
    lent: Path
    shared: Mapping[str, str]
    is_checked: bool

    def install(self, requirements: Sequence[str]) -> None:
        """Nothing, but see that whoever wants no isolation has installed them."""
        if not self.is_checked or self.python != sys.executable:
            return
        try:
            from build import check_dependency
        except ImportError:
            return
        try:
            unmet = [chain for each in requirements for chain in check_dependency(each)]
        except ValueError as error:
            raise EnvironmentFailedError(f"a requirement cannot be read: {error}") from error
        if unmet:
            missing = ", ".join(" for ".join(reversed(chain)) for chain in unmet)
            raise EnvironmentFailedError(
                f"not installed: {missing}; install it, or build with --skip-dependency-check"
            )

    def variables(self) -> dict[str, str]:
        before = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([str(self.lent), *([before] if before else [])])
        return {**os.environ, **self.shared, "PYTHONPATH": path}

    def setuptools(self) -> int:
        code = "from importlib.metadata import version; print(version('setuptools'))"
        command = [self.python, "-P", "-c", code]
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        return _major(done.stdout)


def lend_backend(folder: Path) -> Path:
    """Make a folder from which this package, and nothing else, can be imported; its path.

    The package itself may lie in a ``site-packages`` full of others.
    """
    lent = folder / "backend"
    lent.mkdir()
    package = Path(parallel_backend.__file__).resolve().parent
    (lent / package.name).symlink_to(package)
    return lent


def find_uv() -> str | None:
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def has_pip() -> bool:
    """Whether our own pip can install into other environments, as it surely does from 23 on."""
    found = [*distributions(name="pip")]
    return bool(found) and _major(found[0].version) > 22


def _major(version: str) -> int:
    digits = version.strip().partition(".")[0]
    return int(digits) if digits.isdigit() else 0
