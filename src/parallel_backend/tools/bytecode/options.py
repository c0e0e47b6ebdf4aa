"""What is to be compiled, and how."""

from __future__ import annotations

import os
import re
import sys
from typing import NamedTuple

from parallel_backend.errors import SettingsError

__all__ = ["MODES", "Options"]

MODES = ("timestamp", "checked-hash", "unchecked-hash")


class Options(NamedTuple):
    """The options of :func:`parallel_backend.tools.bytecode.compile_tree`; most are compileall's.

    :param python: the interpreter to compile for; None: the one that runs.
    :param levels: optimization levels from 0 to 2; -1: the level of the interpreter that runs.
    :param force: compile what is up to date too.
    :param mode: how a ``.pyc`` tells that its source changed (PEP 552): "timestamp",
        "checked-hash" or "unchecked-hash"; None: "checked-hash" if ``SOURCE_DATE_EPOCH`` is set,
        else "timestamp".
    :param strip: what to take from the front of the paths that the code names.
    :param prepend: what to put in front of them.
    :param destination: the folder that code is to name in place of each path given. Not with
        ``strip`` or ``prepend``.
    :param exclude: leave out each file whose path this regular expression is found in.
    :param most_levels: how many folders to go down; None: all the way.
    :param limit_links: leave out symbolic links that lead out of this folder.
    :param hardlink_dupes: make equal ``.pyc`` files of several levels links to one.
    :param legacy: write ``x.pyc`` beside ``x.py``, and not into ``__pycache__``.
    :param timeout: seconds that one file may take.
    :param update_record: bring the ``RECORD`` files of the distributions found up to date.
    """

    python: str | None = None
    levels: tuple[int, ...] = (-1,)
    force: bool = False
    mode: str | None = None
    strip: str | None = None
    prepend: str | None = None
    destination: str | None = None
    exclude: re.Pattern[str] | None = None
    most_levels: int | None = None
    limit_links: str | None = None
    hardlink_dupes: bool = False
    legacy: bool = False
    timeout: float = 60.0
    update_record: bool = False

    def settled(self) -> Options:
        """These options with nothing left to the surroundings.

        :raises SettingsError: they do not go together, or a value is not allowed.
        """
        levels = {sys.flags.optimize if each == -1 else each for each in self.levels}
        if not levels or not levels <= {0, 1, 2}:
            raise SettingsError(f"levels {self.levels} are not allowed; allowed are -1, 0, 1 and 2")
        if self.hardlink_dupes and len(levels) < 2:
            raise SettingsError("to link equal files takes more than one level; name several")
        if self.destination is not None and (self.strip is not None or self.prepend is not None):
            raise SettingsError("a destination cannot be used with what to strip or to prepend")
        if self.timeout <= 0:
            raise SettingsError(f"a timeout of {self.timeout} s is not allowed; it must be above 0")
        mode = self.mode
        if mode is None:
            mode = "checked-hash" if os.environ.get("SOURCE_DATE_EPOCH") else "timestamp"
        if mode not in MODES:
            raise SettingsError(f"mode {mode!r} is not allowed; allowed are {', '.join(MODES)}")
        # There is one legacy file for all levels, and the last one written stays.
        kept = sorted(levels)[-1:] if self.legacy else sorted(levels)
        return self._replace(levels=tuple(kept), mode=mode)

    def endings(self) -> list[tuple[int, str]]:
        """Each level with the ending of its ``.pyc`` (PEP 488)."""
        if self.legacy:
            return [(level, "") for level in self.levels]
        return [(level, f".opt-{level}.pyc" if level else ".pyc") for level in self.levels]
