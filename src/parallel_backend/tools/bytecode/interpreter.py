"""The interpreter that is compiled for, and where its files go."""

from __future__ import annotations

# importlib.util has it too, but takes as long to import as to look at a hundred files.
import _frozen_importlib_external
import os
import sys
from typing import NamedTuple

from parallel_backend.tools.bytecode.options import Options

__all__ = ["Interpreter", "own_interpreter"]


class Interpreter(NamedTuple):
    """An interpreter.

    :param version: such as ``(3, 12)``.
    :param magic: the number that its ``.pyc`` files begin with.
    :param tag: such as ``cpython-312``.
    """

    version: tuple[int, int]
    magic: bytes
    tag: str

    def folder(self, folder: str, options: Options) -> str:
        """The folder for the ``.pyc`` files of the sources in `folder` (PEP 3147)."""
        if options.legacy:
            return folder
        if sys.pycache_prefix is None:
            return os.path.join(folder, "__pycache__")
        return os.path.join(sys.pycache_prefix, os.path.abspath(folder).lstrip(os.sep))

    def stem(self, name: str, options: Options) -> str:
        """The name of the ``.pyc`` of the source `name`, without the ending of its level."""
        if options.legacy:
            return f"{name}c"
        base, _, rest = name.rpartition(".")
        return f"{base or rest}.{self.tag}"

    def shown(self, path: str, top: str, options: Options) -> str | None:
        """The path that code is to name, None for `path` itself; `top` is what was given."""
        if options.destination is None:
            return self._moved(path, options.strip, options.prepend)
        if path == top:
            return os.path.join(options.destination, os.path.basename(path))
        return self._moved(path, top, options.destination)

    def _moved(self, path: str, strip: str | None, prepend: str | None) -> str | None:
        shown = None
        if strip is not None:
            parts, stripped = path.split(os.sep), strip.split(os.sep)
            if self.version < (3, 13):
                # Until https://github.com/python/cpython/issues/105931
                for part, other in zip(stripped, [*parts], strict=False):
                    if part == other:
                        parts.remove(part)
                shown = os.path.join(*parts)
            elif parts[: len(stripped)] == stripped:
                shown = os.path.join(*parts[len(stripped) :])
        if prepend is not None:
            shown = os.path.join(prepend, shown or path)
        return shown


def own_interpreter() -> Interpreter | None:
    """The interpreter that runs; None if it keeps no ``.pyc`` files."""
    tag = sys.implementation.cache_tag
    return (
        Interpreter(sys.version_info[:2], _frozen_importlib_external.MAGIC_NUMBER, tag)
        if tag
        else None
    )
