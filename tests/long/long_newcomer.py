"""A newcomer's hour: on a fresh machine nothing but the README is followed, word for word.

    python tests/long/long_newcomer.py             # in a fresh virtual environment of this machine
    python tests/long/long_newcomer.py --root DIR  # as root: in a new Debian, made by debootstrap
    python tests/long/long_newcomer.py --whole     # all tests, and not a few

It ends with a built example, passed tests, and a real project that was switched to the backend
and built. Needs a package index and, for ``--root``, Debian's packages. Exit status 0, or 1 where a
step failed; the step and its output are shown last.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Debian", "Machine", "follow", "main"]

REPOSITORY = Path(__file__).resolve().parents[2]
# What the README says that one needs, by the names of Debian's packages.
_NEEDED = "python3 python3-venv python3-dev gcc g++ libc6-dev ca-certificates"
_SUITE = "bookworm"
# Extensions in C, built by a setup.py that needs nothing but setuptools.
_REAL = "multidict==7.2.1"
# A minute of the tests.
_FEW = "tests/unit/test_settings.py tests/build/test_jobs.py tests/build/test_rebuilds.py"
# How this machine reaches the index.
_KEPT = re.compile(r"(?i)PIP_(?!FIND_LINKS)|SSL_CERT|REQUESTS_CA|(https?|no)_proxy$|LANG$|TERM$")
_CONFIGURED = ["/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"]
_LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".nox", ".venv", ".*_cache", "__pycache__", "*.egg-info", "*.so", "dist", "*-cache"
)


class _FailedError(Exception):
    """A step of the README does not do what it says."""


class Machine:
    """This machine, with a home and an environment of its own in `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clone = home / "parallel_backend"

    def run(self, command: str, *, more: Mapping[str, str] | None = None, cwd: str = "") -> str:
        """Run a command as a newcomer's shell does, in a folder of the clone or beside it.

        `more`: variables. What it printed is shown and returned. Raises _FailedError.
        """
        print(f"\n$ {command}", flush=True)
        entered = f"cd {shlex.quote(str(self.inside(self.home / cwd)))}"
        active = "if [ -d ~/venv ]; then . ~/venv/bin/activate; fi"
        script = f"{active}; {entered}; {command}"
        process = subprocess.Popen(
            [*self.entry(), "bash", "-euo", "pipefail", "-c", script],
            env={**self.variables(), **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
        )
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
        if process.wait():
            raise _FailedError(f"exit status {process.returncode} of: {command}")
        return "".join(lines)

    def clone_repository(self) -> None:
        """As far as it is the project's own."""
        shutil.copytree(REPOSITORY, self.clone, ignore=_LEFT_BEHIND)

    def entry(self) -> Sequence[str]:
        """What enters the machine."""
        return ()

    def inside(self, path: Path) -> Path:
        """A path as programs in the machine see it."""
        return path

    def variables(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if _KEPT.match(name)}
        return {**kept, "HOME": str(self.inside(self.home)), "PATH": self.path()}

    def path(self) -> str:
        # Not the environment that this script runs in.
        own = Path(sys.prefix, "bin")
        parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
        return os.pathsep.join(part for part in parts if Path(part) != own)

    def python(self) -> str:
        return shlex.quote(getattr(sys, "_base_executable", None) or sys.executable)


class Debian(Machine):
    """A Debian of its own, in the folder `root`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "root")
        self.root = root

    def make(self) -> None:
        """Unpack it. Raises CalledProcessError."""
        command = ["debootstrap", "--variant=minbase", f"--include={_NEEDED.replace(' ', ',')}"]
        subprocess.run([*command, _SUITE, str(self.root)], check=True)
        mine = str(Path.home() / ".config" / "pip" / "pip.conf")
        for name in (*_CONFIGURED, mine):
            if os.path.exists(name):
                target = self.root / name.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(name, target)

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """With the kernel's own folders in it."""
        kinds = {"proc": ["-t", "proc", "proc"], "dev": ["--bind", "/dev"]}
        for name, words in kinds.items():
            subprocess.run(["mount", *words, str(self.root / name)], check=True)
        try:
            yield
        finally:
            for name in kinds:
                subprocess.run(["umount", str(self.root / name)], check=False)

    def entry(self) -> Sequence[str]:
        return ("chroot", str(self.root))

    def inside(self, path: Path) -> Path:
        return Path("/", path.relative_to(self.root))

    def path(self) -> str:
        return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def python(self) -> str:
        return "python3"


def follow(machine: Machine, readme: str, *, whole: bool) -> None:
    """Do what the README says, from the top. Raises _FailedError."""
    machine.clone_repository()
    clone = machine.clone.name
    machine.run(f"{machine.python()} -m venv ~/venv")

    built = machine.run(_marked(readme, "example"), cwd=clone)
    _expect(built, re.search(r"^parallel-backend: .*$", readme, re.MULTILINE))
    drawn = machine.run(_said(readme, r"`(python -m fractal \w+)` then draws"), cwd=clone)
    if len(drawn.splitlines()) < 10:
        raise _FailedError("the example draws nothing")

    few = {} if whole else {"PYTEST_ADDOPTS": _FEW}
    tested = machine.run(_marked(readme, "test"), cwd=clone, more=few)
    if not re.search(r"\d+ passed", tested.splitlines()[-1]) or "failed" in tested.splitlines()[-1]:
        raise _FailedError("the tests did not pass")
    _switch(machine, readme)


def _switch(machine: Machine, readme: str) -> None:
    """Let a real project carry the backend in its tree, as the README says, and build it."""
    name = _REAL.partition("==")[0]
    machine.run(f"python -m pip download --no-deps --no-binary :all: -d . {_REAL}")
    machine.run(f"tar xf {name}-*.tar.gz && rm {name}-*.tar.gz && mv {name}-* project")
    machine.run(_marked(readme, "switch"), cwd="project")
    printed = machine.run("python -m pip install --verbose ./project")
    if not re.search(r"parallel-backend: \d+ compiled, \d+ linked", printed):
        raise _FailedError("the switched project was not built by the backend")
    machine.run(f"python -c 'import {name}; print({name}.__file__)'")


def _marked(readme: str, name: str) -> str:
    """The command between two markers, less the prompt."""
    block = _said(readme, rf"(?s)<!-- {name} -->\n(.*?)<!-- /{name} -->")
    return _said(block, r"(?s)```console\n\$ (.*?)\n```")


def _said(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise _FailedError(f"the README does not say: {pattern}")
    return found[1]


def _expect(printed: str, line: re.Match[str] | None) -> None:
    """The README's line, times aside, is in what was printed."""
    if line is None:
        raise _FailedError("the README shows no closing line")
    pattern = re.sub(r"\d+\\\.\d+", r"[\\d.]+", re.escape(line[0]))
    if not re.search(pattern, printed):
        raise _FailedError(f"not printed: {line[0]}")


def main(words: Sequence[str] | None = None) -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", type=Path, metavar="DIR", help="a new folder for a Debian")
    parser.add_argument("--whole", action="store_true", help="run all tests")
    asked = parser.parse_args(words)
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    began = time.monotonic()
    try:
        if asked.root:
            debian = Debian(asked.root.resolve())
            debian.make()
            with debian.mounted():
                follow(debian, readme, whole=asked.whole)
        else:
            with tempfile.TemporaryDirectory(prefix="newcomer-") as home:
                follow(Machine(Path(home)), readme, whole=asked.whole)
    except _FailedError as error:
        print(f"\nnewcomer: {error}")
        return 1
    print(f"\nnewcomer: all that the README says holds, after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
