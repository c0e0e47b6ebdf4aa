"""A copy of this package in a project's tree: all that a hook needs, and where it comes from.

Beside the package's own files a copy has ``LICENSE``, ``VERSION`` and ``REUSE.toml``, which tells
license scanners that the former holds for every file (https://reuse.software/spec-3.3/).
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from parallel_backend.errors import ParallelBackendError
from parallel_backend.tools.cli.arguments import PROGRAM
from parallel_backend.tools.cli.projects import (
    OLDEST_PYTHON,
    lets_in_older_pythons,
    required_python,
)
from parallel_backend.tools.cli.provenance import PACKAGE, Provenance, provenance

__all__ = ["NAME", "Copy", "CopyError"]

#: The package's name, and that of a copy.
NAME = PACKAGE.name

# Programs around the backend, and the two modules that start them.
_LEFT_OUT = frozenset({"tools", "__main__.py", "hook_server.py"})
_COPYRIGHT = "The parallel_backend authors"
_REUSE = f"""\
version = 1

[[annotations]]
path = "**"
SPDX-FileCopyrightText = "{_COPYRIGHT}"
SPDX-License-Identifier = "MIT"
"""
# These lines of VERSION differ between copies of the same files.
_VARYING = ("Commit:", "Date:")


class CopyError(ParallelBackendError):
    """The copy cannot be made, or there is none."""


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy that stands, or is to stand, at `place` in `project`.

    `place` is relative to `project`, as in ``backend-path``; the copy is a directory there.
    """

    project: Path
    place: str

    @property
    def package(self) -> Path:
        """The copy's own directory."""
        return self.project / self.place / NAME

    @property
    def exists(self) -> bool:
        """Whether there is a copy, whatever its version."""
        return (self.package / "hooks.py").is_file()

    @cached_property
    def files(self) -> dict[str, bytes]:
        """What each file of a current copy holds, by its path in there."""
        return {
            **_contents(PACKAGE, left_out=_LEFT_OUT),
            "LICENSE": self._provenance.terms,
            "REUSE.toml": _REUSE.encode(),
            "VERSION": self._version().encode(),
        }

    @property
    def summary(self) -> str:
        """What a current copy is, in a few words."""
        size = sum(map(len, self.files.values()))
        return f"{NAME} {self._provenance.version}, {len(self.files)} files, {size / 1000:.0f} kB"

    @property
    def python_note(self) -> str:
        """What the copy needs, beside what the project does."""
        needs = "the copy needs Python {}.{} or newer to build".format(*OLDEST_PYTHON)
        required = required_python(self.project)
        if not required:
            return f"{needs}; the project does not say what it requires (requires-python)"
        if not lets_in_older_pythons(required):
            return f"{needs}; the project requires {required}"
        return (
            f"{needs}, but the project lets in older ones ({required}): a build with one of those "
            "ends in one line that says so"
        )

    @property
    def manifest_line(self) -> str:
        """The line of ``MANIFEST.in`` that takes the copy into an sdist, and no byte code."""
        suffixes = ((name.rpartition("/")[2], Path(name).suffix) for name in self.files)
        patterns = sorted({f"*{suffix}" if suffix else name for name, suffix in suffixes})
        # Lines are split at spaces there.
        place = re.sub(r"\s", "?", NAME if self.place == "." else self.place)
        return " ".join(["recursive-include", place, *patterns])

    def differences(self) -> dict[str, str]:
        """Which of its files are not current, and how each differs."""
        ours = {name: _comparable(name, data) for name, data in self.files.items()}
        standing = _contents(self.package, left_out=frozenset())
        theirs = {name: _comparable(name, data) for name, data in standing.items()}
        found = {}
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                states = {name in theirs: "is missing", name in ours: "is not ours"}
                found[name] = states.get(False, "differs")
        return found

    def check_target(self) -> None:
        """Raise CopyError where the copy cannot be made: mostly something else stands there."""
        if self.package.resolve() == PACKAGE:
            raise CopyError(f"{self.package} is the running package itself, not a copy")
        if os.path.lexists(self.package) and not self.exists:
            raise CopyError(f"{self.package} is not a copy of {NAME}; it stays as it is")
        above = next(each for each in self.package.parents if os.path.lexists(each))
        if not above.is_dir():
            raise CopyError(f"{above} is not a directory; name another one for the copy")
        if not os.access(above, os.W_OK | os.X_OK):
            raise CopyError(f"nothing can be written to {above}; the copy belongs there")

    def write(self) -> None:
        """Make the copy, or make it current: all of it, or nothing."""
        self.check_target()
        if not self.differences():
            return
        top = self.package  # or the outermost directory above it that is not there yet
        while not top.parent.exists():
            top = top.parent
        with tempfile.TemporaryDirectory(prefix=".vendor-", dir=top.parent) as beside:
            new, old = Path(beside, "new"), Path(beside, "old")
            for name, data in self.files.items():
                file = new / self.package.relative_to(top) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            if self.exists:
                os.replace(self.package, old)
            try:
                os.replace(new, top)
            except OSError:
                if old.exists():
                    os.replace(old, self.package)
                raise

    @cached_property
    def _provenance(self) -> Provenance:
        return provenance()

    def _version(self) -> str:
        origin, place = self._provenance, shlex.quote(self.place)
        fields = {
            "Name": NAME,
            "Version": origin.version,
            "Commit": origin.commit,
            "Date": "" if origin.commit else time.strftime("%Y-%m-%d", time.gmtime()),
            "Origin": f"the Python distribution parallel-backend {origin.url}".rstrip(),
            "SPDX-FileCopyrightText": _COPYRIGHT,
            "SPDX-License-Identifier": "MIT",
            "Update": f"{PROGRAM} vendor {place}",
            "Check": f"{PROGRAM} vendor --check {place}",
            "Note": "this is a copy for building the project; an update overwrites changes to it",
        }
        return "".join(f"{name}: {text}\n" for name, text in fields.items() if text)


def _contents(package: Path, *, left_out: frozenset[str]) -> dict[str, bytes]:
    """What each file holds, by its path in `package`; of byte code nothing."""
    files = ((file.relative_to(package), file) for file in package.rglob("*") if file.is_file())
    return {
        name.as_posix(): file.read_bytes()
        for name, file in files
        if file.suffix != ".pyc" and name.parts[0] not in left_out
    }


def _comparable(name: str, data: bytes) -> bytes:
    if name != "VERSION":
        return data
    lines = data.decode("utf-8", "replace").splitlines()
    return "\n".join(line for line in lines if not line.startswith(_VARYING)).encode()
