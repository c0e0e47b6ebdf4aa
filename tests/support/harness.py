"""What the tests build with: sample projects, hooks in fresh processes, wheels side by side."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = [
    "COVERAGE_VARIABLES",
    "PACKAGES",
    "PLAIN_BACKEND",
    "QUICK_COMPILE",
    "REPOSITORY",
    "SOURCE",
    "BuildFailedError",
    "Expectation",
    "HookRun",
    "build_wheel",
    "clean_environment",
    "copy_package",
    "expectation",
    "load_extension_values",
    "run_hook",
    "serial_wheel",
    "understood",
    "wheel_bytes_equal",
]

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "src"
PACKAGES = REPOSITORY / "tests" / "projects"
PLAIN_BACKEND = "setuptools.build_meta"

# Debug information stays: it holds paths and the compiler's options, so equal bytes say more.
QUICK_COMPILE = {"CFLAGS": "-O0 -g", "CXXFLAGS": "-O0 -g"}

# coverage starts itself in each process of Python that finds one of these variables.
COVERAGE_VARIABLES = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")

_DRIVER = Path(__file__).parent / "hook_driver.py"
_HOOK_TIMEOUT = 600  # seconds; a hook that hangs fails its test, not the whole run

# Variables that change what setuptools, Python or the compiler do, or what the backend reads.
_FOREIGN_PREFIXES = ("PARALLEL_BACKEND_", "DISTUTILS_", "SETUPTOOLS_", "CCACHE_", "SCCACHE_")
_FOREIGN_NAMES = frozenset(
    """
    AR ARFLAGS ARCHFLAGS CC CFLAGS CPP CPPFLAGS CXX CXXFLAGS LDCXXSHARED LDFLAGS LDSHARED RANLIB
    CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH DEPENDENCIES_OUTPUT GCC_EXEC_PREFIX LIBRARY_PATH
    CARGO_MAKEFLAGS MAKEFLAGS MAKELEVEL MFLAGS DIST_EXTRA_CONFIG SOURCE_DATE_EPOCH
    PYTEST_ADDOPTS PYTHONDONTWRITEBYTECODE PYTHONHASHSEED PYTHONHOME PYTHONPATH PYTHONSAFEPATH
    PYTHONWARNINGS PYTHON_CPU_COUNT
    """.split()
)
_FIXED = {"SOURCE_DATE_EPOCH": "1700000000"}

# Runs isolated in the interpreter that the wheel was built with; imports the names it meets.
_EVALUATE = """
import ast, builtins, importlib, importlib.util, json, sys
sys.path.insert(0, sys.argv[1])
tree = ast.parse(sys.argv[2], mode="eval")
names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
wanted = {node.id for node in names} - own - set(dir(builtins))
space = {name: importlib.import_module(name) for name in sorted(wanted)}
print(json.dumps(eval(compile(tree, "<expression>", "eval"), space)))
"""


class BuildFailedError(AssertionError):
    """A hook that had to succeed did not; the message holds all that it printed."""


@dataclass(frozen=True, kw_only=True)
class HookRun:
    """What came of one hook call. `result` is None where the hook failed."""

    returncode: int
    result: Any
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both streams, for an assertion's message."""
        return (
            f"exit status {self.returncode}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What `[tool.expect]` in a sample's pyproject.toml says.

    `values` maps expressions over the wheel's modules to their values. `fails` is the source that
    must be named when the build fails, or "". `missing` says what this machine lacks, or "".
    """

    values: dict[str, Any]
    fails: str
    missing: str


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` less what would change a build, with a fixed SOURCE_DATE_EPOCH, and with the
    interpreter's own folder first on PATH: tools such as swig and ninja are installed there."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _FOREIGN_NAMES and not name.startswith(_FOREIGN_PREFIXES)
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return {**kept, **_FIXED, "PATH": path}


def copy_package(name: str, tmp_path: Path) -> Path:
    """A fresh copy of the sample `name` in `tmp_path`; returns its project folder.

    The folder is `tmp_path/name`, or `tmp_path/name/project` for a sample that has files beside
    its project. What stood there before is deleted.
    """
    target = tmp_path / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(PACKAGES / name, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target if (target / "pyproject.toml").exists() else target / "project"


def expectation(name: str) -> Expectation:
    """What the sample `name` is expected to do."""
    [file] = [*(PACKAGES / name).glob("pyproject.toml"), *(PACKAGES / name).glob("project/*.toml")]
    table = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["expect"]
    lacking = [
        *(f"module {module}" for module in table.get("modules", ()) if not _has_module(module)),
        *(f"program {tool}" for tool in table.get("programs", ()) if not _has_program(tool)),
    ]
    return Expectation(
        values=table.get("values", {}),
        fails=table.get("fails", ""),
        missing=", ".join(lacking),
    )


def run_hook(
    folder: Path,
    hook: str,
    *args: str | Path | None,
    backend: str = "parallel_backend",
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
    config_settings: Mapping[str, str | list[str]] | None = None,
    path: Sequence[str | Path] = (SOURCE,),
) -> HookRun:
    """Call `backend`'s `hook` in a fresh `python`, in `folder`, with `path` before `sys.path`.

    `env` is laid over the present environment. A hook that raises or dies is a non-zero
    `returncode`, not an exception.
    """
    kwargs = {} if config_settings is None else {"config_settings": config_settings}
    with tempfile.TemporaryDirectory(prefix="hook-") as private:
        request, result = Path(private, "request.json"), Path(private, "result.json")
        request.write_text(
            json.dumps(
                {
                    "path": [str(entry) for entry in path],
                    "backend": backend,
                    "hook": hook,
                    "args": [None if arg is None else str(arg) for arg in args],
                    "kwargs": kwargs,
                    "result": str(result),
                }
            ),
            encoding="utf-8",
        )
        done = subprocess.run(
            [python, str(_DRIVER), str(request)],
            cwd=folder,
            env={**(_unmeasured() if backend == PLAIN_BACKEND else os.environ), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=_HOOK_TIMEOUT,
            check=False,
        )
        answer = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    return HookRun(
        returncode=done.returncode,
        result=answer.get("result"),
        stdout=done.stdout,
        stderr=done.stderr,
    )


def build_wheel(
    folder: Path,
    *,
    backend: str = "parallel_backend",
    jobs: int | str | None = None,
    config_settings: Mapping[str, str | list[str]] | None = None,
    out: Path | None = None,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
    path: Sequence[str | Path] = (SOURCE,),
) -> Path:
    """Build `folder`'s wheel into `out`, a new folder beside `folder` by default; returns its path.

    `jobs` is a config setting. Raises BuildFailedError.
    """
    settings = dict(config_settings or {})
    if jobs is not None:
        settings["jobs"] = str(jobs)
    out = out or Path(tempfile.mkdtemp(prefix="wheel-", dir=folder.parent))
    done = run_hook(
        folder,
        "build_wheel",
        out,
        backend=backend,
        python=python,
        env=env,
        config_settings=settings or None,
        path=path,
    )
    if done.returncode:
        raise BuildFailedError(f"{backend} did not build {folder.name}: {done.output}")
    return out / str(done.result)


def serial_wheel(
    folder: Path,
    *,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
    path: Sequence[str | Path] = (),
) -> Path:
    """The wheel that plain setuptools builds, one command after another, of `folder` as it is now.

    It is built in a copy that stands, for that time, at `folder`'s own path, since debug
    information and `__FILE__` hold paths; `folder` itself is put back untouched. Built once for
    equal contents at one path.
    """
    key = [str(folder), _digest(folder), python, sorted((env or {}).items()), [*map(str, path)]]
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    out = Path(_serial_wheels().name, name)
    if not out.exists():
        aside = folder.with_name(f"{folder.name}-aside")
        folder.rename(aside)
        try:
            shutil.copytree(aside, folder, symlinks=True)
            with tempfile.TemporaryDirectory(prefix="serial-", dir=out.parent) as fresh:
                built = build_wheel(
                    folder,
                    backend=PLAIN_BACKEND,
                    out=Path(fresh),
                    python=python,
                    env=env,
                    path=path,
                )
                out.mkdir()
                shutil.copy2(built, out)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
    [wheel] = out.iterdir()
    return wheel


def wheel_bytes_equal(first: Path, second: Path) -> bool:
    """True where two wheels are equal byte for byte; else AssertionError, naming what differs."""
    if first.name == second.name and first.read_bytes() == second.read_bytes():
        return True
    differences = [] if first.name == second.name else [f"names: {first.name} and {second.name}"]
    with zipfile.ZipFile(first) as one, zipfile.ZipFile(second) as two:
        differences += _archive_differences(one, two)
    differences = differences or ["in the archive's own fields"]
    raise AssertionError("\n  ".join([f"{first} and {second} differ:", *differences]))


def understood(options: str, folder: Path) -> bool:
    """Whether the compiler of this machine knows the options; `folder` is for what it writes."""
    source = folder / "understood.c"
    source.write_text("int understood;\n")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    command = [compiler, *options.split(), "-c", source, "-o", folder / "understood.o"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def load_extension_values(wheel: Path, expression: str, *, python: str = sys.executable) -> Any:
    """Evaluate `expression` in a fresh `python` that can import what `wheel` holds.

    Names that are not builtins are imported; the value must be one that JSON can carry.
    """
    with tempfile.TemporaryDirectory(prefix="unpacked-") as unpacked:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
        done = subprocess.run(
            [python, "-I", "-c", _EVALUATE, unpacked, expression],
            env=_unmeasured(),
            capture_output=True,
            encoding="utf-8",
            timeout=_HOOK_TIMEOUT,
            check=False,
        )
    assert done.returncode == 0, f"{wheel.name}: {expression}\n{done.stderr}"
    return json.loads(done.stdout)


def _archive_differences(one: zipfile.ZipFile, two: zipfile.ZipFile) -> list[str]:
    names, others = one.namelist(), two.namelist()
    differences = [
        *(f"only in the first: {name}" for name in names if name not in others),
        *(f"only in the second: {name}" for name in others if name not in names),
    ]
    if not differences and names != others:
        differences.append(f"order of members: {names} and {others}")
    for name in (name for name in names if name in others):
        here, there = one.read(name), two.read(name)
        if here != there:
            pairs = enumerate(zip(here, there, strict=False))
            at = next((i for i, (x, y) in pairs if x != y), min(len(here), len(there)))
            sizes = f"{len(here)} and {len(there)} bytes"
            differences.append(f"contents of {name}: {sizes}, first different at {at}")
        for field in ("date_time", "external_attr", "compress_type", "create_system", "extra"):
            values = [getattr(archive.getinfo(name), field) for archive in (one, two)]
            if values[0] != values[1]:
                differences.append(f"{field} of {name}: {values[0]!r} and {values[1]!r}")
    return differences


def _unmeasured() -> dict[str, str]:
    """The environment of a process that has nothing to measure."""
    return {name: value for name, value in os.environ.items() if name not in COVERAGE_VARIABLES}


def _digest(folder: Path) -> str:
    """A hash over every file's path and contents."""
    total = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = str(file.relative_to(folder)).encode("utf-8", "surrogateescape")
        content = file.read_bytes()
        total.update(b"%d %d " % (len(name), len(content)) + name + content)
    return total.hexdigest()


@cache
def _serial_wheels() -> tempfile.TemporaryDirectory[str]:
    """One folder for the run's serial wheels; deleted when the interpreter ends."""
    return tempfile.TemporaryDirectory(prefix="serial-wheels-")


@cache
def _has_module(name: str) -> bool:
    return find_spec(name) is not None


def _has_program(name: str) -> bool:
    return shutil.which(name, path=clean_environment(os.environ)["PATH"]) is not None
