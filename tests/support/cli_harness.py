"""What the tests of the command line share: sdists, runs of it, what it leaves."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness import QUICK_COMPILE, SOURCE
from parallel_backend.tools.cli.building import Building, Result
from projects import TINY_C, make_project

__all__ = [
    "IN_TREE",
    "PATIENCE",
    "building",
    "command",
    "in_tree",
    "leftovers",
    "pack",
    "run",
    "tar_of",
    "variables",
    "wheel",
    "with_extension",
]

PATIENCE = 300  # seconds; a run that hangs fails its test, not all of them

# A backend in a project's own tree, which needs nothing installed. {body} is what it does first.
IN_TREE = """
import os, pathlib
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    {body}
    name = "{name}-1.0-py3-none-any.whl"
    pathlib.Path(wheel_directory, name).write_text("a wheel")
    return name
"""

_SETUP = (
    "from setuptools import Extension, setup\n"
    "setup(ext_modules=[Extension('{0}', ['{0}.c', '{0}_more.c'])])\n"
)


def building(tmp_path: Path, label: str, **result: Any) -> Building:
    """One that never ran."""
    shop: Any = SimpleNamespace(out=tmp_path, made=tmp_path, timings=tmp_path, private=tmp_path)
    made = Building(source=Path(label), label=label, shop=shop, estimate=10.0)
    made.result = Result(**result)
    return made


def with_extension(folder: Path, *, name: str, broken: bool = False) -> Path:
    """A project with an extension of two sources; the second one perhaps does not compile."""
    return make_project(
        folder,
        name=f"of_{name}",
        setup=_SETUP.format(name),
        files={
            f"{name}.c": TINY_C.format(name=name),
            f"{name}_more.c": "#error this is the broken line\n" if broken else "",
        },
    )


def in_tree(folder: Path, body: str = "pass") -> Path:
    """A project with a backend of its own, in its tree."""
    return make_project(
        folder,
        name=folder.name,
        build_system='requires = []\nbuild-backend = "own"\nbackend-path = ["."]',
        files={"own.py": IN_TREE.format(body=body, name=folder.name)},
    )


def variables(tmp_path: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a run: all that it writes lies in `tmp_path`."""
    temporary = tmp_path / "temporary"
    temporary.mkdir(exist_ok=True)
    return {
        **os.environ,
        **QUICK_COMPILE,
        "PYTHONPATH": str(SOURCE),
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "UV_OFFLINE": "1",
        "PIP_NO_INDEX": "1",
        **(more or {}),
    }


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "parallel_backend", *map(str, words)]


def run(
    *words: str | Path, tmp_path: Path, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line in `tmp_path`."""
    return subprocess.run(
        command(*words),
        cwd=tmp_path,
        env=variables(tmp_path, more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def leftovers(tmp_path: Path, out: Path) -> list[str]:
    """Temporary files and folders that a run has left."""
    return [each.name for each in (tmp_path / "temporary").iterdir()] + [
        each.name for each in out.glob(".*")
    ]


def pack(folder: Path, suffix: str = ".tar.gz", *, name: str = "") -> Path:
    """An sdist of a project, beside its folder."""
    name = name or f"{folder.name}-1.0"
    path = folder.parent / f"{name}{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, f"{name}/{file.relative_to(folder)}")
        return path
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        tar.add(folder, name)
    path.write_bytes(_COMPRESS[path.suffix](whole.getvalue()))
    return path


def wheel(path: Path, files: Mapping[str, str]) -> Path:
    """A wheel named NAME-VERSION-..., with these files and the metadata that installers want."""
    name, version = path.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    texts = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{each},,\n" for each in [*texts, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in {**texts, f"{info}/RECORD": record}.items():
            archive.writestr(each, text)
    return path


def tar_of(path: Path, members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """A tar file of any members, compressed as its name says."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    path.write_bytes(_COMPRESS[path.suffix](whole.getvalue()))
    return path


_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
    ".tar": bytes,
    ".tgz": gzip.compress,
    ".xz": lzma.compress,
}
