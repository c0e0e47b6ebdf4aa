"""Put back what a hook that ran in the caller's own process is known to change."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["put_back"]


@contextlib.contextmanager
def put_back() -> Iterator[None]:
    """Put the best known state back in place after a hook that ran in this very process."""
    import logging

    environ, folder, umask = dict(os.environ), os.getcwd(), os.umask(0)
    os.umask(umask)
    argv, argv_items, path, path_items = sys.argv, list(sys.argv), sys.path, list(sys.path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:], root.level = handlers, level
        sys.argv = argv
        sys.argv[:] = argv_items
        sys.path = path
        sys.path[:] = path_items
        os.chdir(folder)
        os.umask(umask)
        for key in set(os.environ) - set(environ):
            del os.environ[key]
        for key, value in environ.items():
            if os.environ.get(key) != value:
                os.environ[key] = value
        _forget_caches()


def _forget_caches() -> None:
    """Empty the caches of distutils that tell of folders and variables which are gone."""
    import distutils.dir_util
    import distutils.util

    repeat: Any = getattr(distutils.dir_util, "SkipRepeatAbsolutePaths", None)
    if repeat is not None:
        repeat.instance.clear()
    check: Any = distutils.util.check_environ
    if hasattr(check, "cache_clear"):
        check.cache_clear()
