"""Prove promise P1 on real packages: the same bytes as a serial build by plain setuptools.

    python -m bench.fidelity
    python -m bench.fidelity --packages brotli,psutil --pythons 3.12 --setuptools newest --jobs 8

Each package is built serially by ``setuptools.build_meta``, then by this project at each number of
jobs, under one SOURCE_DATE_EPOCH and always from one absolute folder (debug
information names it). Exit status 0: every wheel equals the serial one. 1: one differs, or could
not be built. The whole table takes hours, nearly all of it Cython's; ``CFLAGS=-O0`` shortens it,
and counts as much.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.builds import BuildError, Peer, build_wheel, clean_environment, parallel, say, serial
from bench.environments import Environment, find_interpreter, make_environment
from bench.sources import Source, fetch, read_source

__all__ = [
    "PACKAGES",
    "Verdict",
    "aligned",
    "compare",
    "different_members",
    "find_sources",
    "main",
    "table",
    "words",
]

PACKAGES = {
    "markupsafe": "3.0.4",
    "multidict": "7.2.1",
    "msgpack": "1.2.4",
    "pyyaml": "6.0.3",
    "coverage": "7.17.3",
    "psutil": "7.2.2",
    "greenlet": "3.5.6",
    "librt": "0.16.0",
    "pycryptodome": "4.4.0",
    "brotli": "1.2.1",
    "cython": "3.0.9",
}
"""The quick ones first."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of one package on one interpreter with one setuptools."""

    package: str
    python: str
    setuptools: str
    extensions: int
    """Compiled members of the serial wheel: 0 would prove little."""
    same: int
    builds: int
    faults: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Every build was made and gave the serial wheel's bytes."""
        return not self.faults and self.same == self.builds > 0

    def cells(self) -> tuple[str, ...]:
        """The verdict as text, a cell for each column."""
        answer = "same" if self.good else "DIFFERS"
        count = f"{self.same} of {self.builds}"
        return (
            self.package,
            self.python,
            self.setuptools,
            str(self.extensions),
            f"{answer} ({count})",
        )


def different_members(one: Path, other: Path) -> list[str]:
    """The members in which two wheels differ, or which only one of them has."""
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        names = sorted({*first.namelist(), *second.namelist()})
        found = [name for name in names if _member(first, name) != _member(second, name)]
        if first.namelist() != second.namelist():
            found.append("(order of members)")
    return found or ["(the archive's own bytes)"]


def _member(archive: zipfile.ZipFile, name: str) -> tuple[object, ...] | None:
    try:
        info = archive.getinfo(name)
    except KeyError:
        return None
    return (archive.read(name), info.date_time, info.external_attr, info.compress_type)


def compare(
    source: Source, *, environment: Environment, peers: Sequence[Peer], work: Path
) -> Verdict:
    """Build serially, then with each peer, all in `work`, and compare the wheels' bytes."""
    where = (
        f"{source.name}, Python {environment.python_version}, setuptools {environment.setuptools}"
    )
    reference, same, faults = work / "serial.whl", 0, []
    try:
        _build(source, environment=environment, peer=serial(), work=work, keep=reference)
    except BuildError as error:
        say(f"{where}: plain setuptools fails: {error}")
        faults.append("plain setuptools fails")
        peers = ()
    for peer in peers:
        fault = _fault(source, environment=environment, peer=peer, work=work, reference=reference)
        say(f"{where}, {_settings(peer)}: {fault or 'same'}")
        same += not fault
        if fault:
            faults.append(f"{_settings(peer)}: {fault}")
    return Verdict(
        package=source.name,
        python=environment.python_version,
        setuptools=environment.setuptools,
        extensions=_extensions(reference),
        same=same,
        builds=len(peers),
        faults=tuple(faults),
    )


def _fault(
    source: Source, *, environment: Environment, peer: Peer, work: Path, reference: Path
) -> str:
    """Why one peer's wheel is not the reference; empty if it is."""
    wheel = work / "parallel.whl"
    try:
        _build(source, environment=environment, peer=peer, work=work, keep=wheel)
    except BuildError as error:
        return f"fails: {error}"
    if wheel.read_bytes() == reference.read_bytes():
        return ""
    members = ", ".join(different_members(reference, wheel))
    again = work / "again.whl"
    _build(source, environment=environment, peer=serial(), work=work, keep=again)
    if again.read_bytes() != reference.read_bytes():
        return f"differs in {members}; so does a second serial build: not reproducible"
    return f"differs in {members}"


def _build(source: Source, *, environment: Environment, peer: Peer, work: Path, keep: Path) -> None:
    """Build into one folder, the same for all; the wheel moves to `keep`."""
    built = build_wheel(source, peer=peer, python=environment.python, work=work / "build")
    shutil.move(built.wheel, keep)


def _extensions(wheel: Path) -> int:
    if not wheel.exists():
        return 0
    with zipfile.ZipFile(wheel) as archive:
        return sum(name.endswith((".so", ".pyd")) for name in archive.namelist())


def _settings(peer: Peer) -> str:
    return ", ".join(f"{key}={value}" for key, value in peer.config_settings.items())


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as aligned text, the faults below."""
    cells: list[tuple[str, ...]] = [("package", "Python", "setuptools", "extensions", "wheels")]
    cells += [verdict.cells() for verdict in verdicts]
    text = aligned(cells)
    for verdict in verdicts:
        head = f"{verdict.package}, Python {verdict.python}, setuptools {verdict.setuptools}"
        text += [f"{head}: {fault.splitlines()[0]}" for fault in verdict.faults]
    return "\n".join(text)


def find_sources(packages: Sequence[str], *, cache: Path, python: Path) -> list[Source]:
    """The sources to compare: names of PACKAGES, pins, or folders."""
    found = []
    for name in packages:
        if Path(name).is_dir():
            found.append(read_source(Path(name).resolve(), name=Path(name).name))
            continue
        pin = f"{name}=={PACKAGES[name]}" if name in PACKAGES else name
        # Any environment has a pip of its own; the interpreter that runs this may not.
        tools = make_environment(cache, python=python)
        found.append(fetch(pin, cache=cache, python=tools.python, environment=clean_environment()))
    return found


def _verdicts(options: argparse.Namespace, pythons: Sequence[Path]) -> Iterator[Verdict]:
    peers = [parallel(jobs) for jobs in options.jobs]
    for source in find_sources(options.packages, cache=options.cache, python=pythons[0]):
        for python in pythons:
            for setuptools in options.setuptools:
                environment = make_environment(
                    options.cache, python=python, setuptools=setuptools, requires=source.requires
                )
                work = options.cache / "work"
                shutil.rmtree(work, ignore_errors=True)
                yield compare(source, environment=environment, peers=peers, work=work)


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells, as text with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", type=words, default=list(PACKAGES), help="names or pins")
    parser.add_argument("--pythons", type=words, default=["3.11", "3.12", "3.13"])
    parser.add_argument("--setuptools", type=words, default=["77.0.1", "newest"])
    parser.add_argument(
        "--jobs", type=lambda text: [int(word) for word in words(text)], default=[1, 2, 8]
    )
    parser.add_argument("--cache", type=Path, default=Path("build/fidelity"))
    options = parser.parse_args(arguments)
    options.cache = options.cache.resolve()
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare what the command line names, print the table; the exit status."""
    options = _arguments(arguments)
    pythons = []
    for version in options.pythons:
        python = find_interpreter(version)
        if python is None:
            print(f"Python {version} is not on this machine: not compared", flush=True)
        else:
            pythons.append(python)
    if not pythons:
        return 1
    verdicts = list(_verdicts(options, pythons))
    print(table(verdicts))
    return 0 if all(verdict.good for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
