"""Take steps in this process: hooks of one backend, as one frontend calls them, and what changes
between them. Standard library only.

`python sequence_driver.py REQUEST`: REQUEST is a JSON file with

- `path`: entries for the front of `sys.path`,
- `backend`: ``module:attributes``,
- `work`: the folder to which all paths in steps are relative,
- `steps`: one after another,
- `beside-a-thread`: whether this process has another thread,
- `result`: the file for the outcomes, a list with one entry for each hook that was called.

A step is ``{"call": HOOK, "project": FOLDER, "out": FOLDER, "settings": {...}, "streams": BOOL}``
or one of ``{"write": FILE, "text": TEXT}``, ``{"delete": PATH}``, ``{"link": PATH, "to": PATH}``.
An exception of a hook is an outcome; the process ends with exit status 0.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What zipfile and tarfile import with the first archive.
for _name in ("encodings.cp437", "gzip"):
    importlib.import_module(_name)

__all__ = ["change", "main", "written"]

# What builds leave on purpose, each backend its own way.
_NOT_COMPARED = ("build", "__pycache__")


def change(step: dict[str, Any], work: Path) -> None:
    """Change files as a step says."""
    if "write" in step:
        file = work / step["write"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(step["text"], encoding="utf-8")
    elif "delete" in step:
        shutil.rmtree(work / step["delete"])
    else:
        (work / step["link"]).symlink_to(step["to"])


def _contents(folder: Path, *, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """All that is below a folder, by path: modes and hashes; of archives their members."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.name in skip:
            continue
        if path.is_dir() and not path.is_symlink():
            found[path.name] = [_mode(path), _contents(path, skip=skip)]
        elif path.suffix == ".whl":
            found[path.name] = [_mode(path), _hash(path.read_bytes()), _wheel(path)]
        elif path.name.endswith(".tar.gz"):  # its bytes hold the times of files
            found[path.name] = [_mode(path), _sdist(path)]
        else:
            found[path.name] = [_mode(path), _told(path.name, path.read_bytes())]
    return found


def written(step: dict[str, Any], work: Path) -> dict[str, Any]:
    """What a hook made, and what stands in its project's folder now."""
    return {
        "made": _contents(work / step["out"]) if step.get("out") else None,
        "tree": _contents(work / step["project"], skip=_NOT_COMPARED),
    }


def _mode(path: Path) -> str:
    return oct(path.lstat().st_mode)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _told(name: str, data: bytes) -> str:
    """The text of metadata, in which a test's project tells what it saw; else a hash."""
    return data.decode() if name.endswith("METADATA") else _hash(data)


def _wheel(path: Path) -> dict[str, list[Any]]:
    with zipfile.ZipFile(path) as archive:
        return {
            each.filename: [
                oct(each.external_attr),
                list(each.date_time),
                _told(each.filename, archive.read(each)),
            ]
            for each in archive.infolist()
        }


def _sdist(path: Path) -> dict[str, list[Any]]:
    found = {}
    with tarfile.open(path) as archive:
        for each in archive:
            file = archive.extractfile(each)
            found[each.name] = [oct(each.mode), each.linkname, _hash(file.read()) if file else ""]
    return found


@contextlib.contextmanager
def _replaced_streams(wanted: bool) -> Iterator[list[io.StringIO]]:
    """New streams for one hook, closed when it is over."""
    if not wanted:
        yield []
        return
    before = sys.stdout, sys.stderr
    streams = [io.StringIO(), io.StringIO()]
    sys.stdout, sys.stderr = streams
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = before


def _call(backend: Any, step: dict[str, Any], work: Path) -> dict[str, Any]:
    """Call a hook; what came of it."""
    arguments = [step.get("settings")]
    if step.get("out"):
        arguments.insert(0, str(work / step["out"]))
    outcome: dict[str, Any] = {"hook": step["call"], "project": step["project"]}
    with _replaced_streams(step.get("streams", False)) as streams:
        try:
            outcome["result"] = getattr(backend, step["call"])(*arguments)
        except BaseException as error:  # hooks report ordinary errors as SystemExit
            outcome["error"] = [type(error).__qualname__, str(error)]
    for name, stream in zip(("stdout", "stderr"), streams, strict=False):
        lines = re.sub(r"\.tmp-\w+", ".tmp", stream.getvalue()).splitlines(keepends=True)
        stream.close()
        outcome[name] = "".join(line for line in lines if not line.startswith("parallel-backend:"))
    return outcome


def main(request_file: str) -> None:
    """Take the steps that a request names."""
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    if request["beside-a-thread"]:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    # The first entry is this script's own folder, which no frontend would have there.
    sys.path[:1] = request["path"]
    sys.argv[1:] = []
    module, _, attributes = request["backend"].partition(":")
    backend: Any = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        backend = getattr(backend, attribute)
    work, folder, outcomes = Path(request["work"]), "", []
    for step in request["steps"]:
        if "call" not in step:
            change(step, work)
            continue
        if step["project"] != folder:  # as a frontend does: once for each project
            folder = step["project"]
            os.chdir(work / folder)
        if step.get("out"):
            (work / step["out"]).mkdir(parents=True, exist_ok=True)
        outcomes.append({**_call(backend, step, work), **written(step, work)})
    Path(request["result"]).write_text(json.dumps(outcomes), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
