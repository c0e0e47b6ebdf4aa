"""The ``DIST_EXTRA_CONFIG`` file of one hook call.

setuptools reads the ini file that this variable names after every other configuration file, so
``parallel`` in it reaches every build command, custom ones and child processes included. The
options of a file that the user's own variable names are in it as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parallel_backend.errors import HookProcessError
from parallel_backend.settings import Settings

__all__ = ["extra_config"]

_VARIABLE = "DIST_EXTRA_CONFIG"


@contextmanager
def extra_config(*, settings: Settings, jobs: int, private: Path) -> Iterator[Path]:
    """Make setuptools read ``jobs`` as ``parallel`` of [build] and [build_ext].

    The file is in the directory ``private``. Afterwards it is gone and the variable as it was.
    """
    path = private / "extra.cfg"
    before = os.environ.get(_VARIABLE)
    try:
        _write(path, settings.user_options, jobs=jobs)
        os.environ[_VARIABLE] = str(path)
        yield path
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before
        path.unlink(missing_ok=True)


def _write(path: Path, user_options: dict[str, dict[str, str]], *, jobs: int) -> None:
    from configparser import RawConfigParser

    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_dict(user_options)
    for section in ("build", "build_ext"):
        options = user_options.get(section, {})
        # setuptools lowercases the names of options and lets the last one win.
        spellings = {name for name in options if name.lower() == "parallel"} | {"parallel"}
        parser.read_dict({section: options | dict.fromkeys(spellings, str(jobs))})
    try:
        with path.open("w", encoding="utf-8") as file:
            parser.write(file)
    except OSError as error:
        raise HookProcessError(
            f"{path} cannot be written: {error.strerror}; make room there, or name another "
            "directory (TMPDIR)"
        ) from error
