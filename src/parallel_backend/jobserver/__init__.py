"""Job tokens: the GNU make jobserver protocol, as a client and as a server.

A build owns one job slot from the start, its *implicit slot*; every job beyond the first costs one
token, a single byte read from a pipe that all who take part share, and the same byte is written
back when the job ends. `open_pool` joins the pool that MAKEFLAGS names, or serves one to what the
build starts.

Source: GNU make's manual, "Sharing Job Slots with GNU make" and "POSIX Jobserver Interaction".
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from parallel_backend.errors import JobserverError
from parallel_backend.jobserver.client import connect
from parallel_backend.jobserver.makeflags import find_auth
from parallel_backend.jobserver.pool import Pool
from parallel_backend.jobserver.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Pool", "open_pool"]


@contextmanager
def open_pool(
    *,
    makeflags: str,
    jobs: int | None,
    slots: Callable[[], int],
    private: Path,
    report: Callable[[str], None],
) -> Iterator[Pool]:
    """Give the pool that this build takes its job tokens from, and close it at the end.

    `makeflags` is MAKEFLAGS as found. `jobs` is the number of slots that the user asked for, if
    any: it bounds a client. `slots` is asked once, and only if this build must serve itself; it
    counts the implicit slot. `private` is a folder for the server's FIFO. `report` gets one line
    if MAKEFLAGS names a jobserver that is not usable; the build then serves itself.
    """
    auth = find_auth(makeflags)
    pool: Pool | None = None
    unusable = ""
    if auth is not None:
        try:
            pool = connect(auth=auth, makeflags=makeflags, jobs=jobs)
        except JobserverError as error:
            unusable = f"the jobserver {auth} of MAKEFLAGS is not usable: {error}"
    if pool is None:
        pool = serve(makeflags=makeflags, slots=slots(), private=private, report=report)
        if unusable:
            report(f"{unusable}; going on with {pool.description}")
    try:
        yield pool
    finally:
        pool.close()
