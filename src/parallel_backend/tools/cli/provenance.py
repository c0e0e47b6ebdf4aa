"""Where the package that runs comes from: its version, its commit, its license."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import urlsplit

import parallel_backend
from parallel_backend.errors import ParallelBackendError
from parallel_backend.tools.cli.projects import OWN_REQUIREMENT

__all__ = ["PACKAGE", "Provenance", "ProvenanceError", "provenance"]

#: The package that runs.
PACKAGE = Path(parallel_backend.__file__).resolve().parent


class ProvenanceError(ParallelBackendError):
    """The package that runs is neither installed nor part of its repository."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What is known of the package; "" for what is not."""

    version: str
    commit: str
    #: Of the repository, without names and passwords.
    url: str
    #: The text of the license.
    terms: bytes


def provenance() -> Provenance:
    """Ask the repository that the package lies in, else what an installer wrote down.

    Raises ProvenanceError.
    """
    root = PACKAGE.parents[1]
    version = _version_in(root)
    if version:
        commit, url = _commit_in(root)
        terms = (root / "LICENSE").read_bytes()
        return Provenance(version=version, commit=commit, url=url, terms=terms)
    for found in Distribution.discover(name=OWN_REQUIREMENT, path=[str(PACKAGE.parent)]):
        text = found.read_text("licenses/LICENSE") or found.read_text("LICENSE")
        if text:
            # https://packaging.python.org/en/latest/specifications/direct-url/
            direct = json.loads(found.read_text("direct_url.json") or "{}")
            commit = direct.get("vcs_info", {}).get("commit_id", "")
            return Provenance(
                version=found.version,
                commit=commit,
                url=_public(direct["url"]) if commit else "",
                terms=text.encode("utf-8"),
            )
    raise ProvenanceError(
        f"{PACKAGE} has no LICENSE and no version beside it; install {OWN_REQUIREMENT} by pip"
    )


def _version_in(root: Path) -> str:
    """The version that the package's own repository, or its sdist, states; "": it is another's."""
    try:
        table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return str(table["version"]) if table["name"] == OWN_REQUIREMENT else ""
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _commit_in(root: Path) -> tuple[str, str]:
    """The commit that is checked out, and where the repository was cloned from."""
    if not (root / ".git").exists() or not shutil.which("git"):  # as in an sdist
        return "", ""
    commit = _git(root, "rev-parse", "HEAD")
    if commit and _git(root, "status", "--porcelain", "--", str(PACKAGE)):
        commit += ", with changes that are not committed"
    return commit, _public(_git(root, "config", "--get", "remote.origin.url"))


def _git(root: Path, *words: str) -> str:
    """What it prints; "" where it fails, as in a repository of another user."""
    # A hook of git, such as one that checks a copy, has variables that name its own repository.
    environ = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _public(url: str) -> str:
    """The URL without a name and password; "" for a path of this machine."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ssh", "git"):
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
