"""setuptools-rust and PyO3: an interpreter whose path stays from one isolated build to the next.

cargo builds a crate again when a variable that its build script has named holds something else.
PyO3's name ``PYO3_PYTHON``, which setuptools-rust sets to `sys.executable`: in an isolated build
that lies in a folder with a random name. So it is set here, to the same interpreter by way of a
link to its environment. The link's own path tells the interpreter and what is installed beside it,
and so it is a new one if either is; a build script that imports from the environment still can.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

__all__ = ["steady_interpreter"]

# Who sets one of these (or PYO3_CROSS*) has chosen the interpreter, and PyO3 may ask another first.
_CHOICES = (
    "PYO3_BASE_PYTHON",
    "PYO3_CONFIG_FILE",
    "PYO3_CROSS",
    "PYO3_NO_PYTHON",
    "PYO3_PYTHON",
    "PYTHON_SYS_EXECUTABLE",
    "SETUPTOOLS_RUST_PEP517_USE_BASE_PYTHON",
)


@contextlib.contextmanager
def steady_interpreter() -> Iterator[None]:
    """Set what cargo's build scripts read, from the moment that ``build_rust`` is to run.

    It is taken back at the end of the ``with`` block.
    """
    import distutils.cmd

    kind: Any = distutils.cmd.Command
    original: Callable[..., None] = kind.__init__
    with contextlib.ExitStack() as stack:
        is_set = False

        def __init__(self: Any, dist: Any) -> None:
            nonlocal is_set
            bases = type(self).__mro__
            if not is_set and any(base.__module__ == "setuptools_rust.build" for base in bases):
                is_set = True
                _set_variables(stack)
            original(self, dist)

        kind.__init__ = __init__
        stack.callback(setattr, kind, "__init__", original)
        yield


def _set_variables(stack: contextlib.ExitStack) -> None:
    if any(name.startswith(_CHOICES) for name in os.environ):
        return
    interpreter = _interpreter()
    # Since 0.18 PyO3 names this one: the interpreter may be another one at the same path.
    variables = {"PYO3_ENVIRONMENT_SIGNATURE": interpreter}
    base = getattr(sys, "_base_executable", None)
    if base and os.path.exists(base):
        variables["PYO3_BASE_PYTHON"] = base
    python = None
    # Another build may have the link, or the tree is one without locks, or not to be written to.
    with contextlib.suppress(OSError):
        python = _linked_python(interpreter, stack)
    python = python or _versioned_python()
    if python:
        variables |= dict.fromkeys(("PYO3_PYTHON", "PYTHON_SYS_EXECUTABLE"), python)
    for name in variables.keys() - os.environ.keys():
        os.environ[name] = variables[name]
        stack.callback(os.environ.pop, name, None)


def _versioned_python() -> str | None:
    """The interpreter's path with its version in it: PyO3 before 0.18 goes by nothing else."""
    path = Path(sys.executable).with_name(f"python{sys.version_info[0]}.{sys.version_info[1]}")
    return str(path) if path.exists() and path.samefile(sys.executable) else None


def _linked_python(interpreter: str, stack: contextlib.ExitStack) -> str | None:
    """The interpreter's path through a link to its environment, until `stack` is closed.

    None if it has no environment of its own. Raises OSError.
    """
    import sysconfig

    program = Path(sys.executable)
    # An isolated build of pip takes the environment's own modules off the path, by their folder.
    if (
        sys.prefix == sys.base_prefix
        or os.name != "posix"
        or not program.is_relative_to(sys.prefix)
        or sysconfig.get_path("purelib") not in sys.path
    ):
        return None
    import fcntl

    # Both setuptools and cargo look for files here and follow links. No package has a dot in its
    # name, and what is hidden, or ignored by git, is no file of a crate.
    build = Path(os.environ.get("CARGO_TARGET_DIR") or "build").absolute()
    folder = build / "parallel-backend" / ".rust"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    record = stack.enter_context((folder / f"{interpreter}.json").open("a+", encoding="utf-8"))
    fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for old in folder.glob(f"{interpreter}-*"):  # left by a build that was killed
        old.unlink()
    link = folder / f"{interpreter}-{_state(record)}"
    link.symlink_to(sys.prefix, target_is_directory=True)
    stack.callback(link.unlink, missing_ok=True)
    return str(link / program.relative_to(sys.prefix))


def _interpreter() -> str:
    """A name for the interpreter: another one, or one that was built again, has another."""
    parts = [sys.version, sys.platform, sys.base_prefix, getattr(sys, "_base_executable", "")]
    return f"{sys.implementation.cache_tag}-{_digest(parts)}"


def _state(record: IO[str]) -> str:
    """A name for what is installed beside the interpreter, another one if that is not as it was.

    The file `record` tells of the last build. An environment that is still at its old path keeps
    its name, whatever has been installed there since: plain setuptools-rust goes by the path, too.
    """
    import json

    installed = _digest(_installed())
    record.seek(0)
    try:
        prefix, before, name = json.load(record)
    except ValueError:
        prefix, before, name = "", "", ""
    if not name or (prefix != sys.prefix and before != installed):
        name = _digest([installed, name])
    record.truncate(0)
    json.dump([sys.prefix, installed, name], record)
    return str(name)


def _installed() -> Iterator[str]:
    """The names of the distributions that can be imported, and the hashes of their files.

    Scripts and what an installer notes hold the environment's own path, so they do not count.
    """
    for folder in dict.fromkeys(sys.path):
        for path in sorted(Path(folder).glob("*.dist-info/RECORD")):
            yield path.parent.name
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
            for line in sorted(text.splitlines()):
                if "=" in line and not line.startswith("..") and ".dist-info/" not in line:
                    yield line


def _digest(parts: Iterable[str]) -> str:
    import hashlib

    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:12]
