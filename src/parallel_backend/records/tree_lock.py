"""One build of a tree at a time: setuptools' build/ directories do not support concurrent builds.

The lock is the system's, on a file, so that it ends with its holder, however that dies. In the
file stands who holds it, by process id and start time, for the one who waits: to name it, and to
see that it is an ancestor. A build that a build has started in its own tree does not wait for it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from parallel_backend.descriptors import Private
from parallel_backend.errors import TreeLockError
from parallel_backend.hook_process.process_groups import process_start

__all__ = ["tree_lock"]

_INTERVAL = 0.05  # seconds; what holds a lock tells nobody when it lets go


@contextlib.contextmanager
def tree_lock(path: Path, *, timeout: float, report: Callable[[str], object]) -> Iterator[None]:
    """Be the only build of a tree for the length of a ``with`` block.

    Wait for another one's end at most `timeout` seconds, then raise TreeLockError. Where the file
    cannot be written, or its file system has no locks, nobody waits.
    """
    if os.name != "posix":  # pragma: no cover - there is no lock that ends with its process
        yield
        return
    try:
        lock = Private(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
    except OSError:  # a disk that is full, somebody else's file
        yield
        return
    try:
        is_ours = _acquire(lock.number, timeout=timeout, report=report)
        if is_ours:
            _write_holder(lock.number)
        try:
            yield
        finally:
            if is_ours and lock.is_open():  # a project may have closed it
                _release(lock.number)
    finally:
        lock.close()


def _acquire(lock: int, *, timeout: float, report: Callable[[str], object]) -> bool:
    """Take the lock; false where it is an ancestor's, or there are no locks."""
    import fcntl

    until = time.monotonic() + timeout
    reported = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return False
        pid, start = _holder(lock)
        if _is_ancestor(pid, start):
            return False
        named = f"another build of this tree (pid {pid})" if pid else "another build of this tree"
        if time.monotonic() >= until:
            raise TreeLockError(
                f"{named} is still running after {timeout:g} s; wait for it, end it, "
                "or allow more time (lock-timeout)"
            )
        if not reported and (pid or time.monotonic() > until - timeout + 1):
            report(f"waiting for {named} to finish")
            reported = True
        time.sleep(_INTERVAL)


def _write_holder(lock: int) -> None:
    pid = os.getpid()
    with contextlib.suppress(OSError):  # the disk may be full
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d %d\n" % (pid, process_start(pid)), 0)


def _release(lock: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        fcntl.flock(lock, fcntl.LOCK_UN)  # a process that was left running may have it, too


def _holder(lock: int) -> tuple[int, int]:
    """The process id and the start time that stand in the file; 0: nothing yet."""
    try:
        pid, start = map(int, os.pread(lock, 100, 0).split())
    except (OSError, ValueError):
        return 0, 0
    # It has taken the lock, and may not have written yet: then this is who held it before.
    return (pid, start) if not start or process_start(pid) == start else (0, 0)


def _is_ancestor(pid: int, start: int) -> bool:
    """Whether it is this process, or one that it descends from."""
    ancestor = os.getpid()
    while ancestor > 1:
        if ancestor == pid and process_start(pid) == start:
            return True
        ancestor = _parent(ancestor)
    return False


def _parent(pid: int) -> int:
    """The parent of a process (proc_pid_stat(5)); 0 where it cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
