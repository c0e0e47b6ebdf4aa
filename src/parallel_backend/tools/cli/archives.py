"""Source archives: unpacked as pip and build do it, and looked through."""

from __future__ import annotations

import contextlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from parallel_backend.errors import ParallelBackendError

__all__ = ["SUFFIXES", "ArchiveError", "member_sizes", "stem", "unpack"]

#: What a file's name may end with.
SUFFIXES = (".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz", ".tar")

_UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a way to compress that zipfile does not know
    OSError,
    RuntimeError,  # a password
    ValueError,
)


class ArchiveError(ParallelBackendError):
    """An archive cannot be unpacked."""


def stem(path: Path) -> str:
    """An archive's name without its suffix, which for an sdist is NAME-VERSION."""
    suffix = next(each for each in SUFFIXES if path.name.lower().endswith(each))
    return path.name[: -len(suffix)]


def member_sizes(path: Path) -> Iterator[tuple[str, int]]:
    """Yield name and size of each file in an archive, as far as it can be read."""
    with contextlib.suppress(*_UNREADABLE):
        if _is_zip(path):
            with zipfile.ZipFile(path) as archive:
                yield from ((info.filename, info.file_size) for info in archive.infolist())
        else:
            with tarfile.open(path) as tar:
                yield from ((member.name, member.size) for member in tar)


def unpack(path: Path, folder: Path, *, heed: Callable[[], None] = lambda: None) -> Path:
    """Unpack an archive into `folder`, which must be empty; return the one folder that it holds.

    `heed` is called before each member, and may raise. Raises ArchiveError.
    """
    try:
        _extract(path, folder, heed)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArchiveError(f"{path} cannot be unpacked: {reason}") from error
    tops = [*folder.iterdir()]
    if len(tops) != 1 or not tops[0].is_dir() or tops[0].is_symlink():
        raise ArchiveError(f"{path} is no sdist: it must hold one folder, and nothing beside it")
    return tops[0]


def _extract(path: Path, folder: Path, heed: Callable[[], None]) -> None:
    if _is_zip(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                heed()
                made = archive.extract(info, folder)
                if not info.is_dir() and info.external_attr >> 16 & 0o100:
                    os.chmod(made, 0o755)
        return
    # Python 3.11.3 has no filters yet.
    options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(path) as tar:
        for member in tar:
            heed()
            tar.extract(member, folder, **options)


def _is_zip(path: Path) -> bool:
    return path.name.lower().endswith(".zip")
