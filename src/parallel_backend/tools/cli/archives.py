"""Source archives, unpacked without trust in what they say.

Nothing is written outside of the folder, nothing but files, folders and links that stay inside is
made, and no more is written than the archive says that it holds, which must fit on the disk.

Links are made last, after every file and folder, so that nothing is written through one. A link's
target may go up only at its beginning: what it then goes down through stays inside, link or not.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from parallel_backend.errors import ParallelBackendError

__all__ = ["SUFFIXES", "ArchiveError", "member_texts", "stem", "unpack"]

#: What a file's name may end with.
SUFFIXES = (".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz", ".tar")

_CHUNK = 1 << 20
_BLOCK = 1 << 12  # what a file takes on a disk, though it is empty
_DEEPEST = 100
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
    """An archive cannot be unpacked, or must not be."""


@dataclass(frozen=True, kw_only=True)
class _Member:
    """`kind`: file, folder, link (to the path `target`), same (as the earlier file `target`), or
    what it is where that is not allowed."""

    name: str
    kind: str
    target: str = ""
    size: int = 0
    executable: bool = False
    modified: float | None = None
    info: tarfile.TarInfo | zipfile.ZipInfo


def stem(path: Path) -> str:
    """An archive's name without its suffix, which for an sdist is NAME-VERSION."""
    suffix = next(each for each in SUFFIXES if path.name.lower().endswith(each))
    return path.name[: -len(suffix)]


def member_texts(
    path: Path, *, suffixes: Container[str], largest: int
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file in an archive whose name ends so, as far as it can be read.

    Those of more than `largest` bytes are passed by.
    """
    with contextlib.suppress(ArchiveError), _Archive(path) as archive:
        for member in archive.members():
            is_wanted = os.path.splitext(member.name)[1].lower() in suffixes
            if member.kind == "file" and is_wanted and member.size <= largest:
                yield member.name, b"".join(archive.read(member))


def unpack(path: Path, folder: Path, *, heed: Callable[[], None] = lambda: None) -> Path:
    """Unpack an archive into `folder`, which must be empty; the one folder that it holds.

    `heed` is called now and then, and may raise. Raises ArchiveError. What was written until then
    is left to the caller.
    """
    with _Archive(path) as archive:
        members = []
        for member in archive.members():
            heed()
            members.append(member)
        _check_room(path, sum(member.size + _BLOCK for member in members), folder)
        tree = _Tree(path, os.path.realpath(folder), heed=heed)
        for member in members:
            heed()
            tree.add(member, archive)
        tree.make_links()
    tops = [*folder.iterdir()]
    if len(tops) != 1 or not tops[0].is_dir() or tops[0].is_symlink():
        raise ArchiveError(f"{path} is no sdist: it must hold one folder, and nothing beside it")
    return tops[0]


class _Archive:
    """One tar or zip file, open within a ``with`` block; its errors are `ArchiveError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tarfile.TarFile | zipfile.ZipFile | None = None

    def __enter__(self) -> Self:
        with self._plain_errors():
            if self._path.name.lower().endswith(".zip"):
                self._file = zipfile.ZipFile(self._path)
            else:
                self._file = tarfile.open(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def members(self) -> Iterator[_Member]:
        with self._plain_errors():
            if isinstance(self._file, zipfile.ZipFile):
                yield from (self._zip_member(self._file, info) for info in self._file.infolist())
            elif self._file is not None:
                yield from map(_tar_member, self._file)

    def read(self, member: _Member) -> Iterator[bytes]:
        """What a file holds: as much as the archive says."""
        left = member.size
        with self._plain_errors(), self._open(member) as stream:
            while left and (data := stream.read(min(_CHUNK, left))):
                left -= len(data)
                yield data
        if left:
            raise ArchiveError(f"{self._path}: {member.name!r} is shorter than the archive says")

    def _open(self, member: _Member) -> IO[bytes]:
        info = member.info
        if isinstance(self._file, zipfile.ZipFile):
            assert isinstance(info, zipfile.ZipInfo)
            return self._file.open(info)
        assert self._file is not None
        assert isinstance(info, tarfile.TarInfo)
        stream = self._file.extractfile(info)
        assert stream is not None  # it is a file
        return stream

    def _zip_member(self, file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
        mode = info.external_attr >> 16
        kind, target, size = "file", "", info.file_size
        # zipfile inflates all others at once, however much that is.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError(f"{self._path}: {info.filename!r} is compressed in an unusual way")
        if info.is_dir():
            kind, size = "folder", 0
        elif stat.S_ISLNK(mode):
            if size > 4096:  # no system takes a longer path
                raise ArchiveError(f"{self._path}: the link {info.filename!r} is too long")
            with file.open(info) as stream:
                kind, target, size = "link", os.fsdecode(stream.read(size)), 0
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            kind = "device"
        return _Member(
            name=info.filename,
            kind=kind,
            target=target,
            size=size,
            executable=bool(mode & 0o100),
            info=info,
        )

    @contextlib.contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except _UNREADABLE as error:
            told = " ".join(str(error).split()) or type(error).__name__
            raise ArchiveError(f"{self._path} cannot be unpacked: {told}") from error


def _tar_member(info: tarfile.TarInfo) -> _Member:
    kinds = {
        "folder": info.isdir(),
        "link": info.issym(),
        "same": info.islnk(),
        "sparse file": info.issparse(),
        "file": info.isreg(),
    }
    kind = next((kind for kind, true in kinds.items() if true), "device")
    return _Member(
        name=info.name,
        kind=kind,
        target=info.linkname,
        size=info.size if kind == "file" else 0,
        executable=bool(info.mode & 0o100),
        modified=info.mtime,
        info=info,
    )


def _check_room(path: Path, size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ArchiveError(
            f"{path} says that it holds {size:,} bytes, and {folder} has room for {free:,}"
        )


class _Tree:
    """What an archive is unpacked to. `root` must be free of links."""

    def __init__(self, archive: Path, root: str, *, heed: Callable[[], None]) -> None:
        self._archive = archive
        self._heed = heed
        self._root = root
        self._files: set[str] = set()
        self._links: dict[str, str] = {}

    def add(self, member: _Member, archive: _Archive) -> None:
        parts = self._parts(member.name)
        path = os.path.join(self._root, *parts)
        try:
            if member.kind == "folder":
                self._make_folders(parts, member.name)
                return
            if not parts:
                raise self._refused(member.name, "has no name")
            self._make_folders(parts[:-1], member.name)
            if member.kind == "link":
                self._note_link(path, member, len(parts) - 1)
            elif member.kind == "same":
                self._add_same(path, member)
            elif member.kind == "file":
                self._write(path, member, archive.read(member))
            else:
                raise self._refused(member.name, f"is a {member.kind}")
        except OSError as error:
            raise self._refused(member.name, f"cannot be made: {error.strerror}") from error

    def make_links(self) -> None:
        for path, target in self._links.items():
            try:
                os.symlink(target, path)
            except OSError as error:
                name = os.path.relpath(path, self._root)
                raise self._refused(name, f"cannot be made: {error.strerror}") from error

    def _parts(self, name: str) -> list[str]:
        parts = name.replace("\\", "/").split("/") if os.sep == "\\" else name.split("/")
        if name.startswith("/") or ".." in parts or os.path.splitdrive(name)[0]:
            raise self._refused(name, "leads out of it")
        if len(parts) > _DEEPEST:
            raise self._refused(f"{name[:40]}...", f"is more than {_DEEPEST} folders deep")
        if "\0" in name:
            raise self._refused(name, "has a zero in its name")
        return [part for part in parts if part not in ("", ".")]

    def _make_folders(self, parts: Iterable[str], name: str) -> None:
        folder = self._root
        for part in parts:
            folder = os.path.join(folder, part)
            if folder in self._links:
                raise self._refused(name, "leads through a link")
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o755)
            if not stat.S_ISDIR(os.lstat(folder).st_mode):
                raise self._refused(name, "leads through a file")

    def _write(self, path: str, member: _Member, data: Iterable[bytes]) -> None:
        self._forget(path)
        mode = 0o755 if member.executable else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags, mode), "wb") as file:
            for piece in data:
                self._heed()
                file.write(piece)
        if member.modified is not None:
            # It may be no time that this system knows.
            with contextlib.suppress(OSError, OverflowError, ValueError):
                os.utime(path, (member.modified, member.modified))
        self._files.add(path)

    def _add_same(self, path: str, member: _Member) -> None:
        target = os.path.join(self._root, *self._parts(member.target))
        if target not in self._files:
            raise self._refused(member.name, f"is a link to {member.target!r}, no earlier file")
        if target != path:
            self._forget(path)
            os.link(target, path)
            self._files.add(path)

    def _note_link(self, path: str, member: _Member, depth: int) -> None:
        target = member.target
        steps = [step for step in target.split("/") if step not in ("", ".")]
        ups = next((at for at, step in enumerate(steps) if step != ".."), len(steps))
        leads_out = target.startswith("/") or os.path.splitdrive(target)[0] or "\0" in target
        # The archive's own folder is where the tree begins, so a link may not leave that either.
        if leads_out or ups >= max(depth, 1) or ".." in steps[ups:] or not steps:
            raise self._refused(member.name, f"is a link to {target!r}, which leads out of it")
        self._forget(path)
        self._links[path] = target

    def _forget(self, path: str) -> None:
        """The last one of several members with one name counts."""
        self._links.pop(path, None)
        if path in self._files:
            os.unlink(path)
            self._files.remove(path)

    def _refused(self, name: str, reason: str) -> ArchiveError:
        return ArchiveError(f"{self._archive} is not unpacked: its member {name!r} {reason}")
