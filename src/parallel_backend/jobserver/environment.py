"""The variables by which the programs that a build starts find its job tokens.

cargo's crate `jobserver` reads CARGO_MAKEFLAGS first, ninja (from 1.13 on) and make MAKEFLAGS.
"""

from __future__ import annotations

import os
import re

from parallel_backend.jobserver.makeflags import is_tellable, with_jobserver

__all__ = ["add_for_cargo", "tell_children"]

_READS_FIFOS = (4, 4)
_ANSWER_SECONDS = 10.0


def tell_children(*, makeflags: str, path: str, jobs: int | None) -> dict[str, str]:
    """Return MAKEFLAGS and CARGO_MAKEFLAGS that name the FIFO `path`, the rest of `makeflags` kept.

    CARGO_MAKEFLAGS only if there is none yet: the user's own, or that of a cargo around us, stays.

    `jobs` is the number for -j, None for a -j without one. MAKEFLAGS names the FIFO in a place
    that no make on PATH dies of.
    """
    number, auth = _options(path=path, jobs=jobs)
    versions = _make_versions()
    words = [number, auth]
    is_sheltered = any(version < _READS_FIFOS for version in versions)
    if is_sheltered and any(version >= _READS_FIFOS for version in versions):
        # A newer make takes every word there that is no VARIABLE=VALUE for a target.
        words.remove(number)
    flags = {"MAKEFLAGS": with_jobserver(makeflags, words=words, sheltered=is_sheltered)}
    return {**flags, **add_for_cargo(path=path, jobs=jobs)}


def add_for_cargo(*, path: str, jobs: int | None) -> dict[str, str]:
    """Return CARGO_MAKEFLAGS that names the FIFO `path`, if there is none yet and it can."""
    if "CARGO_MAKEFLAGS" in os.environ or not is_tellable(path):
        return {}
    return {"CARGO_MAKEFLAGS": " ".join(_options(path=path, jobs=jobs))}


def _options(*, path: str, jobs: int | None) -> tuple[str, str]:
    return f"-j{jobs or ''}", f"--jobserver-auth=fifo:{path}"


def _make_versions() -> list[tuple[int, ...]]:
    import shutil

    found = [path for name in ("make", "gmake") if (path := shutil.which(name))]
    return [_version(path) for path in {os.path.realpath(path) for path in found}]


def _version(program: str) -> tuple[int, ...]:
    """Return GNU make's version, (0,) if `program` is another make or cannot be asked."""
    import subprocess

    # A make that does not understand its MAKEFLAGS does not even tell its version.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS")
    }
    try:
        answer = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_ANSWER_SECONDS,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return (0,)
    match = re.match(rb"GNU Make (\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0,)
