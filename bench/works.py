"""What is built, and by whom: packages by their names, and the peers that take turns.

A package is a pinned sdist (``NAME==VERSION``, pip fetches it), the folder of a source tree, or
made up: ``made:sourcesN`` (one extension of N sources that take a compiler a moment), ``made:extN``
(N one-line extensions) and ``made:extN+cython`` (the same, where Cython is installed).
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from bench import ninja
from bench.builds import (
    BuildError,
    Peer,
    build_wheel,
    clean_environment,
    extra_config,
    parallel,
    parallel_compile,
    serial,
    warm_up,
)
from bench.environments import Environment, install_apart, make_environment
from bench.made_up import many_extensions, real_sources
from bench.recording import Recorded, record
from bench.sources import Source, fetch, read_source
from bench.turns import Result, Way

__all__ = [
    "PACKAGES",
    "PEERS",
    "TOOLS",
    "Suite",
    "Work",
    "by_name",
    "by_peer",
    "find_work",
    "make_work",
    "ninja_of",
    "recorded",
    "ways",
]

PACKAGES = (
    "django==5.0.3",
    "greenlet==3.5.6",
    "psutil==7.2.2",
    "librt==0.16.0",
    "brotli==1.2.1",
    "made:sources200",
    "pycryptodome==4.4.0",
    "cython==3.0.9",
)
"""The quick ones first."""

PEERS = ("serial", "extra-config", "parallel-compile", "ninja", "parallel")
TOOLS = {"ninja": "1.13.2", "pybind11": "3.1.0"}
"""Versions of what peers are made of."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is the same for all packages."""

    python: Path
    cache: Path
    work: Path
    """Where builds run; it is emptied for each."""
    jobs: int
    peers: tuple[str, ...] = PEERS


@dataclass(frozen=True, kw_only=True)
class Work:
    """A package, and the environment that all peers build it in."""

    name: str
    source: Source
    environment: Environment


def find_work(name: str, suite: Suite) -> Work:
    """The package of a name, fetched or made up. Raises ValueError, CalledProcessError."""
    return make_work(_source(name, suite), suite)


def make_work(source: Source, suite: Suite) -> Work:
    """A source tree, and an environment for it."""
    requires = [*source.requires, *(["cython"] if source.name.endswith("+cython") else [])]
    environment = make_environment(suite.cache, python=suite.python, requires=requires)
    return Work(name=source.name, source=source, environment=environment)


def _source(name: str, suite: Suite) -> Source:
    made = re.fullmatch(r"made:(sources|ext)([1-9][0-9]*)(?:\+cython)?", name)
    if made:
        make = {"sources": real_sources, "ext": many_extensions}[made[1]]
        return read_source(make(suite.cache / f"made-{made[1]}{made[2]}", int(made[2])), name=name)
    if Path(name).is_dir():
        return read_source(Path(name).resolve(), name=name)
    # Any environment has a pip of its own; the interpreter that runs this may not.
    tools = make_environment(suite.cache, python=suite.python)
    return fetch(name, cache=suite.cache, python=tools.python, environment=clean_environment())


def ways(work: Work, suite: Suite) -> Iterator[Way]:
    """The peers, ready to build a package."""
    for name in suite.peers:
        if name == "ninja":
            if _compiles(work):
                yield _replaying(work, suite)
        else:
            yield by_name(name, work, suite)


def by_name(
    name: str,
    work: Work,
    suite: Suite,
    *,
    jobs: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> Way:
    """How the backend of a peer builds a package. One that cannot be installed fails later."""
    jobs = jobs or suite.jobs
    try:
        peer = _peer(name, suite, jobs)
    except subprocess.CalledProcessError as error:
        return Way(peer=name, jobs=jobs, prepare=_failing(str(error)), build=_failing(str(error)))
    return by_peer(peer, work, suite, jobs=jobs, variables=variables)


def _failing(message: str) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise BuildError(message)

    return fail


def _peer(name: str, suite: Suite, jobs: int) -> Peer:
    if name == "serial":
        return serial()
    if name == "extra-config":
        return extra_config(jobs)
    if name == "parallel-compile":
        return parallel_compile(jobs, pybind11=_tool("pybind11", suite))
    return parallel(jobs, fresh="true")


def by_peer(
    peer: Peer,
    work: Work,
    suite: Suite,
    *,
    jobs: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> Way:
    """How a build backend builds a package, with these environment variables."""
    python, folder = work.environment.python, suite.work

    def build() -> Result:
        built = build_wheel(work.source, peer=peer, python=python, work=folder, variables=variables)
        digest = hashlib.sha256(built.wheel.read_bytes()).hexdigest()
        return Result(built.wall, built.cpu, built.memory, digest)

    return Way(
        peer=peer.name,
        jobs=1 if peer.name == "serial" else jobs or suite.jobs,
        prepare=lambda: warm_up(work.source, peer=peer, python=python, work=folder),
        build=build,
    )


def _compiles(work: Work) -> bool:
    """Whether there is a source that a compiler would read."""
    kinds = {".c", ".cc", ".cpp", ".cxx", ".pyx"}
    return any(path.suffix in kinds for path in work.source.tree.rglob("*"))


def recorded(work: Work, suite: Suite) -> Recorded:
    """What a serial build of a package runs, from the cache if it is there."""
    flags = [os.environ.get(name, "") for name in ("CC", "CXX", "CFLAGS", "CPPFLAGS", "LDFLAGS")]
    facts = (_content(work), str(work.environment.python), str(suite.work), *flags)
    key = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:12]
    keep = suite.cache / "recorded" / f"{work.source.tree.name}-{key}"
    return record(work.source, python=work.environment.python, work=suite.work, keep=keep)


def _content(work: Work) -> str:
    """What is built: the pin of a release, or a hash of all files of a tree that may change."""
    if "==" in work.name:
        return work.name
    hashed = hashlib.sha256()
    for path in sorted(work.source.tree.rglob("*")):
        if path.is_file():
            hashed.update(f"{path}\0".encode() + path.read_bytes())
    return hashed.hexdigest()


def _tool(name: str, suite: Suite) -> Path:
    return install_apart(suite.cache, f"{name}=={TOOLS[name]}", python=suite.python)


def ninja_of(suite: Suite) -> Path:
    """Ninja, installed once."""
    return _tool("ninja", suite) / "bin" / "ninja"


def _replaying(work: Work, suite: Suite) -> Way:
    """How ninja runs the commands of a package's serial build."""

    def replay(*, check: bool = False) -> Result:
        found = recorded(work, suite)
        cost = ninja.replay(
            found,
            ninja=ninja_of(suite),
            jobs=suite.jobs,
            work=suite.work,
            log=found.tree.with_name("ninja"),
            check=check,
        )
        return Result(*cost, digest="")

    return Way(peer="ninja", jobs=suite.jobs, prepare=lambda: replay(check=True), build=replay)
