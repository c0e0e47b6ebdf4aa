"""Joins the jobserver that MAKEFLAGS names.

`fifo:PATH` (GNU make from 4.4 on; also a character device such as Gentoo's steve) is opened by its
path. `R,W` are two inherited descriptors of one pipe. They are never used themselves: they share
one open file description with make and its other children, and to make it non-blocking would
change it for all. Opening `/proc/self/fd/R` gives a description of our own. Where something on the
way has closed R and W (make before 4.4 for recipes without `+`; pip, build, uv) the ancestor that
is make still has them, and its `/proc/PID/fd/R` opens alike.

Systems without Linux' /proc (macOS: its /dev/fd only duplicates) cannot open a pipe anew; there
`R,W` counts as not usable.
"""

from __future__ import annotations

import os
import re
import stat
from typing import NamedTuple

from parallel_backend.descriptors import moved_up
from parallel_backend.errors import JobserverError
from parallel_backend.jobserver.environment import add_for_cargo, tell_children
from parallel_backend.jobserver.pool import DescriptorPool
from parallel_backend.jobserver.server import has_fifos

__all__ = ["connect"]

PROC = "/proc"
_PLUS = "a + in front of the recipe's command passes it on"

# make, gmake, gnumake, remake, make-4.3, x86_64-linux-gnu-make; not cmake, qmake, bmake.
_IS_MAKE = re.compile(r"(?:.*-)?(?:g|gnu|re)?make(?:-[\d.]+)?")


def connect(*, auth: str, makeflags: str, jobs: int | None) -> DescriptorPool:
    """Return a client of the jobserver `auth`, what MAKEFLAGS says behind `--jobserver-auth=`.

    `jobs` bounds the slots in use. Raises JobserverError with the reason if it is not usable.
    """
    if not has_fifos():
        raise JobserverError("this system has no FIFOs")
    if auth.startswith("fifo:"):
        return _connect_path(path=auth.removeprefix("fifo:"), jobs=jobs)
    numbers = re.fullmatch(r"(-?\d+),(-?\d+)", auth)
    if not numbers:
        raise JobserverError("it is neither fifo:PATH nor two descriptors R,W")
    reader, writer = int(numbers[1]), int(numbers[2])
    if reader < 0 or writer < 0:
        raise JobserverError(f"make turned it off for this command; {_PLUS}")
    return _connect_pipe(reader=reader, writer=writer, makeflags=makeflags, jobs=jobs)


def _connect_path(*, path: str, jobs: int | None) -> DescriptorPool:
    try:
        # Looked at before it is opened: to open some devices does something already.
        mode = os.stat(path).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
            raise JobserverError(f"{path} is neither a FIFO nor a character device")
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise JobserverError(f"{path} cannot be opened: {error.strerror}") from error
    return DescriptorPool(
        fd=fd,
        limit=jobs,
        environment=add_for_cargo(path=path, jobs=jobs),
        description=f"the jobserver at {path}",
    )


def _connect_pipe(*, reader: int, writer: int, makeflags: str, jobs: int | None) -> DescriptorPool:
    try:
        fd = _open_pipe(folder=f"{PROC}/self", reader=reader, writer=writer)
        whose = "this process"
    except JobserverError as error:
        for pid in _ancestors():
            try:
                fd = _open_pipe(folder=f"{PROC}/{pid}", reader=reader, writer=writer)
            except JobserverError:
                continue
            whose = f"process {pid}"
            break
        else:
            raise JobserverError(f"{error}, and no parent that is make has it; {_PLUS}") from error
    return DescriptorPool(
        fd=fd,
        limit=jobs,
        environment=_pipe_environment(fd=fd, makeflags=makeflags, jobs=jobs),
        description=f"the jobserver {reader},{writer} of {whose}",
    )


class _End(NamedTuple):
    """One end of a pipe, as a process has it."""

    identity: tuple[int, int]
    mode: int
    is_inherited: bool


def _open_pipe(*, folder: str, reader: int, writer: int) -> int:
    """Return a new descriptor, read-write and non-blocking, of the pipe whose two ends the process
    of the /proc `folder` has as `reader` and `writer`. Raises JobserverError if they are not.
    """
    read_end = _look_at(folder=folder, number=reader)
    write_end = _look_at(folder=folder, number=writer)
    if read_end.mode == os.O_WRONLY:
        raise JobserverError(f"descriptor {reader} cannot be read")
    if write_end.mode == os.O_RDONLY:
        raise JobserverError(f"descriptor {writer} cannot be written")
    if read_end.identity != write_end.identity:
        raise JobserverError(f"descriptors {reader} and {writer} are not one pipe")
    # What came through an exec is not close-on-exec: this is a pipe that we made since, in the
    # place of the descriptors that were not passed on. (make marks its own, for plain recipes.)
    if folder.endswith("/self") and not (read_end.is_inherited and write_end.is_inherited):
        raise JobserverError(f"descriptors {reader} and {writer} are a pipe of this process")
    try:
        fd = moved_up(os.open(f"{folder}/fd/{reader}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        raise JobserverError(f"descriptor {reader} cannot be opened: {error.strerror}") from error
    if _identity(os.fstat(fd)) != read_end.identity:
        os.close(fd)
        raise JobserverError(f"descriptor {reader} changed meanwhile")
    return fd


def _look_at(*, folder: str, number: int) -> _End:
    try:
        status = os.stat(f"{folder}/fd/{number}")
        with open(f"{folder}/fdinfo/{number}", encoding="ascii") as file:
            # "flags:" is what open() and fcntl() know, in octal. See proc(5).
            flags = int(dict(line.split(":", 1) for line in file)["flags"], 8)
    except OSError as error:
        if not os.path.isdir(f"{folder}/fdinfo"):
            raise JobserverError("this system has no /proc to open a pipe anew with") from error
        raise JobserverError(f"descriptor {number} is closed") from error
    if not stat.S_ISFIFO(status.st_mode):
        raise JobserverError(f"descriptor {number} is not a pipe")
    return _End(
        identity=_identity(status),
        mode=flags & os.O_ACCMODE,
        is_inherited=not flags & os.O_CLOEXEC,
    )


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _ancestors() -> list[int]:
    """Return the ancestors that are make, the nearest first; as far as /proc tells."""
    found: list[int] = []
    pid: str | int = "self"
    while True:
        try:
            with open(f"{PROC}/{pid}/status", encoding="utf-8", errors="replace") as file:
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except OSError:
            return found
        if pid != "self" and _IS_MAKE.fullmatch(fields.get("Name", "")):
            found.append(int(pid))
        pid = int(fields.get("PPid", 0))
        if not pid:
            return found


def _pipe_environment(*, fd: int, makeflags: str, jobs: int | None) -> dict[str, str]:
    """Return variables that name our own descriptor by a path, which children can open.

    R and W are closed in most children, and ninja and cargo look for a path.
    """
    path = f"{PROC}/{os.getpid()}/fd/{fd}"
    try:
        is_ours = _identity(os.stat(path)) == _identity(os.fstat(fd))
    except OSError:
        is_ours = False
    if not is_ours:  # a /proc of another PID namespace
        return {}
    return tell_children(makeflags=makeflags, path=path, jobs=jobs)
