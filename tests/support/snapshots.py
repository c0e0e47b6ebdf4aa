"""What a hook may leave in its caller, and why: all else is a fault."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

__all__ = ["faults"]


def _vendored() -> list[str]:
    """Packages that setuptools carries with it: its modules hold theirs, whichever are found."""
    spec = find_spec("setuptools")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "_vendor"
    return sorted({path.stem for path in folder.iterdir() if path.stem.isidentifier()})


_SETUPTOOLS = "|".join(["setuptools", "distutils", "parallel_backend", *_vendored()])
_STANDARD = "|".join(map(re.escape, sorted(sys.stdlib_module_names)))
_NEW_LOGGER = r"logging\.(Logger|PlaceHolder)@\w+|builtins\.list@\w+\[\]|int 0|bool (True|False)"
# What comes once, with the import of a module that stays; the next hook finds it so.
_IMPORTS = {
    rf"modules/({_SETUPTOOLS}|{_STANDARD})(\..*)?: \(absent\) -> ": (
        "a module of the standard library may keep its state in C, and setuptools' modules hold on "
        "to each other's classes, and to what they carry: imported anew, there were two of a kind"
    ),
    rf"logger/[^:]*: \(absent\) -> ({_NEW_LOGGER})$": (
        "a logger is made when a module asks for it, and those who have it keep it: as it was made"
    ),
    r"(atexit|weakref/finalize\._(dirty|registered_with_atexit)): ": (
        "modules that stay have registered what they do at the exit of the process"
    ),
}
_BOTH_WAYS = {
    r"tempfile/_name_sequence: NoneType None -> ": "made with the first temporary folder, for good",
}
_IN_PLACE = {
    r"_frozen_importlib_external/_NamespacePath\._epoch: ": (
        "counts how often it was said that a folder may have changed"
    ),
    r"platform/_uname_cache: NoneType None -> ": "what the system is called, asked once",
    r"[^:]*/__warningregistry__/": (
        "says which warnings were shown, until the filters change, as they do after each hook"
    ),
}


def faults(left: Sequence[Sequence[str]], *, way: str, again: bool = False) -> Iterator[str]:
    """What should not be left of what `interpreter_look.differences` gave for one hook.

    `way`: how the hook ran. `again`: another hook had imported the same before.
    """
    allowed = dict(_BOTH_WAYS)
    if way == "in-place":
        allowed |= _IN_PLACE | ({} if again else _IMPORTS)
    parts: set[str] = set()  # new modules, which are names in their packages, too
    for key, before, after in sorted(left, key=lambda change: not change[0].startswith("modules/")):
        line = f"{key}: {before} -> {after}"
        if any(re.match(pattern, line) for pattern in allowed):
            parts |= {after} if key.startswith("modules/") else set()
        elif before != "(absent)" or after not in parts:
            yield line if len(line) < 1000 else f"{line[:990]} ..."
