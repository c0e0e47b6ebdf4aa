"""Sdists, fetched and unpacked once, and what their ``pyproject.toml`` says of building them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Source", "fetch", "read_source", "requirement_name"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source tree and its build system, less setuptools: which one is the caller's choice."""

    name: str
    tree: Path
    requires: tuple[str, ...]
    """Build requirements but setuptools."""
    legacy: bool
    """It needs its own folder on ``sys.path`` (PEP 517: a project that names no backend)."""
    backend_path: tuple[str, ...]


def requirement_name(requirement: str) -> str:
    """The normalised name of a requirement (PEP 503)."""
    name = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return re.sub(r"[-_.]+", "-", name[1]).lower() if name else ""


def fetch(pin: str, *, cache: Path, python: Path, environment: Mapping[str, str]) -> Source:
    """The sdist of ``NAME==VERSION``, by pip if the cache does not have it, unpacked in the cache.

    Raises ValueError for what is not a pin, CalledProcessError if pip fails.
    """
    name, equals, version = pin.partition("==")
    if not (equals and name and version):
        raise ValueError(f"{pin}: not NAME==VERSION")
    sdists = cache / "sdists"
    sdists.mkdir(parents=True, exist_ok=True)
    if _archive(sdists, name=name, version=version) is None:
        options = ["--quiet", "--no-deps", "--no-binary", name, "--dest", str(sdists)]
        subprocess.run(
            [str(python), "-m", "pip", "download", *options, pin], check=True, env=environment
        )
    archive = _archive(sdists, name=name, version=version)
    if archive is None:
        raise ValueError(f"{pin}: pip left no {name}-{version}.tar.gz in {sdists}")
    return read_source(_unpacked(archive, into=cache / "trees"), name=pin)


def read_source(tree: Path, *, name: str) -> Source:
    """What the ``[build-system]`` of a source tree says.

    A wrapper in the tree around ``setuptools.build_meta`` (PyYAML's) is passed by: its folder
    stays on ``sys.path``, but every peer calls its own backend.
    """
    path = tree / "pyproject.toml"
    data = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    system = data.get("build-system", {})
    requires = [str(one) for one in system.get("requires", ())]
    # No backend named, or by name the legacy one: both mean setup.py's own folder on sys.path.
    backend = str(system.get("build-backend", "setuptools.build_meta:__legacy__"))
    return Source(
        name=name,
        tree=tree,
        requires=tuple(one for one in requires if requirement_name(one) != "setuptools"),
        legacy=backend.endswith(":__legacy__"),
        backend_path=tuple(str(one) for one in system.get("backend-path", ())),
    )


def _archive(folder: Path, *, name: str, version: str) -> Path | None:
    """The sdist of a release, however its file name is spelled."""
    wanted = f"{requirement_name(name)}-{version}.tar.gz"
    for path in sorted(folder.glob("*.tar.gz")):
        stem, _, rest = path.name.rpartition("-")
        if f"{requirement_name(stem)}-{rest}" == wanted:
            return path
    return None


def _unpacked(archive: Path, *, into: Path) -> Path:
    """The one folder of an archive, unpacked unless it is there already."""
    folder = into / archive.name.removesuffix(".tar.gz")
    if not folder.is_dir():
        into.mkdir(parents=True, exist_ok=True)
        unfinished = into / f".{folder.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(unfinished, filter="data")
        (inner,) = unfinished.iterdir()
        inner.rename(folder)
        unfinished.rmdir()
    return folder
