"""What hooks have made, in a form that can be compared."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

__all__ = ["contents"]


def contents(folder: Path) -> dict[str, object]:
    """All files below a folder, by path: a hash; of sdists, which hold times, their members."""
    return {
        str(path.relative_to(folder)): _members(path) if path.suffix == ".gz" else _hash(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _members(archive: Path) -> dict[str, tuple[str, str]]:
    found = {}
    with tarfile.open(archive) as members:
        for each in members:
            stream = members.extractfile(each)
            text = stream.read() if stream else each.linkname.encode()
            found[each.name] = (oct(each.mode), hashlib.sha256(text).hexdigest())
    return found
