"""A process that calls hooks, and what came of each call: an answer, and the files that it made."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.builds import BuildError, clean_environment
from bench.fidelity import different_members

__all__ = ["Outcome", "differences", "opened", "outcome"]

_CALLER = Path(__file__).with_name("caller.py")

Answer = Mapping[str, Any]


@contextlib.contextmanager
def opened(
    way: str, *, python: Path, log: Path, variables: Mapping[str, str] | None = None
) -> Iterator[Callable[[Mapping[str, Any]], Answer]]:
    """A new process, as caller.py tells of it: called with a request, it gives the answer.

    All that hooks print is added to `log`. The call raises BuildError if the process is gone.
    """
    inlet, outlet = os.pipe()
    with open(inlet, encoding="utf-8") as answers, log.open("ab") as output:
        try:
            process = subprocess.Popen(
                [str(python), str(_CALLER), way, str(outlet)],
                cwd=log.parent,
                env=clean_environment(**(variables or {})),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[outlet],
                text=True,
            )
        finally:
            os.close(outlet)

        def call(request: Mapping[str, Any]) -> Answer:
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(request), file=process.stdin, flush=True)
            line = answers.readline()
            if not line:
                tail = log.read_text("utf-8", errors="replace").splitlines()[-25:]
                text = "\n".join(tail)
                raise BuildError(f"the process that calls hooks has ended; see {log}\n{text}")
            answer: Answer = json.loads(line)
            return answer

        try:
            yield call
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.communicate()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one call of a hook."""

    answer: Answer
    made: Path
    """The folder that it was told to write to."""
    built: Mapping[str, str]
    """The extension modules in the source tree, and a hash of each."""


def outcome(answer: Answer, *, made: Path, tree: Path) -> Outcome:
    """Look at what a hook has made."""
    found = {str(path.relative_to(tree)): path for path in sorted(tree.rglob("*"))}
    built = {
        name: _hash(path.read_bytes())
        for name, path in found.items()
        # What stands beside objects is each backend's own affair.
        if path.suffix in {".so", ".pyd"} and not name.startswith("build/temp")
    }
    return Outcome(answer=answer, made=made, built=built)


def differences(one: Outcome, other: Outcome, *, times: bool = True) -> list[str]:
    """What differs between the outcomes of one hook, for humans.

    Wheels and metadata must be equal to the byte. Sdists hold the time at which they were made, so
    these are compared by the names, modes and contents of their members; so are wheels without
    `times`.
    """
    found = []
    if one.answer != other.answer:
        found.append(f"it gives {_told(other.answer)}, not {_told(one.answer)}")
    files = [_files(each.made) for each in (one, other)]
    for name in sorted({*files[0], *files[1]}):
        here, there = (each.get(name) for each in files)
        if here is None or there is None:
            found.append(f"{name} is {'too much' if here is None else 'missing'}")
        elif name.endswith(".tar.gz"):
            found += _told_members(name, _different(_in_sdist(here), _in_sdist(there)))
        elif name.endswith(".whl") and not times:
            found += _told_members(name, _different(_in_wheel(here), _in_wheel(there)))
        elif here.read_bytes() != there.read_bytes():
            inside = different_members(here, there) if name.endswith(".whl") else ["its bytes"]
            found += _told_members(name, inside)
    wrong = _different(one.built, other.built)
    found += [f"in the source tree: {', '.join(wrong)}"] if wrong else []
    return found


def _different(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def _told_members(name: str, members: list[str]) -> list[str]:
    return [f"{name} differs in {', '.join(members)}"] if members else []


def _told(answer: Answer) -> str:
    if "error" in answer:
        name, message = answer["error"]
        return f"{name}: {(message.strip().splitlines() or [''])[-1]}"
    return repr(answer["result"])


def _files(folder: Path) -> dict[str, Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path for path in files}


def _in_wheel(archive: Path) -> dict[str, tuple[object, ...]]:
    with zipfile.ZipFile(archive) as wheel:
        return {
            member.filename: (member.external_attr, member.compress_type, _hash(wheel.read(member)))
            for member in wheel.infolist()
        }


def _in_sdist(archive: Path) -> dict[str, tuple[object, ...]]:
    with tarfile.open(archive) as tar:
        return {
            member.name: (member.type, member.mode, _hash(_content(tar, member)))
            for member in tar.getmembers()
        }


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member) if member.isfile() else None
    return member.linkname.encode() if stream is None else stream.read()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
