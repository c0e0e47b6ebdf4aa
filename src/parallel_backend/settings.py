"""What the user asked for, read once into one frozen :class:`Settings`.

For each key the first place that names it wins:

1. the frontend's config settings (``-C jobs=4``),
2. the environment (``PARALLEL_BACKEND_JOBS``),
3. for ``jobs``: ``-jN`` or a jobserver in ``MAKEFLAGS``,
4. for ``jobs``: ``parallel`` of ``[build_ext]`` or ``[build]`` in the file that
   ``DIST_EXTRA_CONFIG`` names, then in ``setup.cfg``,
5. ``[tool.parallel-backend]`` in ``pyproject.toml``,
6. the machine (:mod:`parallel_backend.machine`), or the default.

Places 1, 2 and 5 are ours, so they are checked even where an earlier place wins: a mistake there
stops the build before it starts.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from parallel_backend.errors import SettingsError

__all__ = ["VARIABLES", "Settings", "read_settings"]

_PREFIX = "PARALLEL_BACKEND_"
_TABLE = "[tool.parallel-backend] in pyproject.toml"
_DEFAULT_MEMORY_PER_JOB = 512 * 2**20
_DEFAULT_STORE_SIZE = 2 * 2**30

# setuptools.build_meta reads these and ignores the rest; all others of its keys begin with "--".
_SETUPTOOLS_KEYS = frozenset(
    {"editable-mode", "editable_mode", "verbose", "quiet", "tag-date", "tag-build"}
)
# At this ratio "job", "jbos" and "extension" are near misses; "version" and "jobserver" are not.
_NEAR_MISS = 0.75
# How reading an ini file fails.
_UNREADABLE = (configparser.Error, UnicodeDecodeError, OSError)
_SWITCH = dict.fromkeys(("true", "1", "yes", "on"), True)
_SWITCH |= dict.fromkeys(("false", "0", "no", "off"), False)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One build's settings.

    :param jobs: the number of job slots that was asked for; None: the machine decides, or the
        jobserver that ``makeflags`` names.
    :param jobs_source: the place that decided ``jobs``, for humans.
    :param memory_per_job: bytes of memory to count on for each job.
    :param keep_going: build what can be built before a failure is reported.
    :param launcher: what stands before the compiler: a command's words, "auto", or "none"; None:
        nothing, but what the user's own compiler begins with is recognized.
    :param local_jobs: slots of this machine where `jobs` counts those of others; None: as many as
        the machine offers.
    :param lock_timeout: seconds to wait for another build of the same tree.
    :param fresh: compile everything, and take nothing from the object store.
    :param store_size: bytes that the object store may hold after a build.
    :param timings: a folder for the trace and the page of what ran when; None: there are none.
    :param makeflags: ``MAKEFLAGS`` as found, "" if there is none.
    :param user_options: the options of the user's ``DIST_EXTRA_CONFIG`` file by section, those of
        [DEFAULT] in each, and not interpolated.
    :param backend_config: the config settings without our keys, for setuptools.
    """

    jobs: int | None = None
    jobs_source: str = "the machine"
    memory_per_job: int = _DEFAULT_MEMORY_PER_JOB
    keep_going: bool = False
    lock_timeout: int = 3600
    launcher: str | None = None
    local_jobs: int | None = None
    fresh: bool = False
    store_size: int = _DEFAULT_STORE_SIZE
    timings: str | None = None
    makeflags: str = ""
    user_options: dict[str, dict[str, str]] = field(default_factory=dict)
    backend_config: dict[str, Any] | None = None

    def slots(self) -> int:
        """The number of job slots: ``jobs``, or else what the machine offers now."""
        if self.jobs is not None:
            return self.jobs
        return self._offer()

    def local_slots(self) -> int:
        """The same, of this machine alone, while `jobs` counts those of others, too."""
        return self.local_jobs or self._offer()

    def _offer(self) -> int:
        from parallel_backend import machine

        return machine.offer(memory_per_job=self.memory_per_job).jobs


class _Found(NamedTuple):
    value: Any
    where: str


def read_settings(
    *, config_settings: Mapping[str, Any] | None, environ: Mapping[str, str], folder: Path
) -> Settings:
    """Read the settings of a build of the project in ``folder``.

    :param config_settings: as the frontend gave them to the hook (PEP 517): a value is a string,
        a list where the key was repeated (the last one counts), or None.
    :raises SettingsError: a key is unknown, or a value is not allowed.
    """
    told, backend_config = _split_config_settings(config_settings)
    from_environment = _from_environment(environ)
    from_pyproject = _from_pyproject(folder / "pyproject.toml")
    makeflags = environ.get("MAKEFLAGS", "")
    user_options, user_parallel = _from_user_config(folder / environ.get("DIST_EXTRA_CONFIG", ""))

    found = {**from_environment, **told}
    if "jobs" not in found:
        jobs = (
            _from_makeflags(makeflags)
            or _parse_parallel(user_parallel)
            or _parse_parallel(_from_setup_cfg(folder / "setup.cfg"))
        )
        if jobs:
            found["jobs"] = jobs
    found = {**from_pyproject, **found}

    values: dict[str, Any] = {key.replace("-", "_"): each.value for key, each in found.items()}
    if "timings" in values:
        values["timings"] = os.path.join(folder, values["timings"])
    if "jobs" in found:
        where = found["jobs"].where
        asked_for_auto = values["jobs"] == "auto"
        values["jobs_source"] = f"the machine, as {where} says" if asked_for_auto else where
        values["jobs"] = None if asked_for_auto else values["jobs"]
    return Settings(
        **values, makeflags=makeflags, user_options=user_options, backend_config=backend_config
    )


def _jobs(value: object) -> int | Literal["auto"]:
    return "auto" if _text(value) == "auto" else _whole_number(value)


def _whole_number(value: object) -> int:
    text = _text(value)
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        raise ValueError(text)
    return int(text)


def _memory(value: object) -> int:
    match = re.fullmatch(
        r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(?:([kmgt])(?:ib)?|b)", _text(value).lower()
    )
    if match is None:
        raise ValueError(value)
    number, unit = match.groups()
    size = int(float(number) * 1024 ** ("kmgt".index(unit) + 1 if unit else 0))
    if size < 1:
        raise ValueError(value)
    return size


def _folder(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    if not value or "\0" in value:
        raise ValueError(value)
    return value


def _switch(value: object) -> bool:
    word = _text(value).lower()
    if word not in _SWITCH:
        raise ValueError(value)
    return _SWITCH[word]


def _text(value: object) -> str:
    # TOML, and a frontend's own configuration file, can give an integer or a bool.
    if not isinstance(value, str | int):
        raise TypeError(value)
    return str(value).strip()


def _local_jobs(value: object) -> int | None:
    jobs = _jobs(value)
    return None if jobs == "auto" else jobs


def _launcher(value: object) -> str:
    """A command's words; CMake parts them by semicolons."""
    if not isinstance(value, str):
        raise TypeError(value)
    import shlex

    words = shlex.split(value.replace(";", " "))
    if not words or not all(words):
        raise ValueError(value)
    return shlex.join(words)


class _Key(NamedTuple):
    parse: Callable[[object], Any]
    allowed: str


_KEYS = {
    "jobs": _Key(_jobs, 'a whole number from 1, or "auto"'),
    "memory-per-job": _Key(_memory, 'more than 0 with B, KiB, MiB, GiB or TiB, such as "2GiB"'),
    "keep-going": _Key(_switch, "true, false, 1, 0, yes, no, on or off"),
    "fresh": _Key(_switch, "true, false, 1, 0, yes, no, on or off"),
    "store-size": _Key(_memory, 'more than 0 with B, KiB, MiB, GiB or TiB, such as "2GiB"'),
    "lock-timeout": _Key(_whole_number, "seconds, a whole number from 1"),
    "launcher": _Key(_launcher, 'a command such as "ccache", or "auto" or "none"'),
    "local-jobs": _Key(_local_jobs, 'a whole number from 1, or "auto"'),
    "timings": _Key(_folder, "the path of a folder"),
}


#: The environment variable of each key.
VARIABLES = {key: _PREFIX + key.upper().replace("-", "_") for key in _KEYS}


def _parse(key: str, value: object, *, where: str) -> Any:
    try:
        return _KEYS[key].parse(value)
    except (TypeError, ValueError) as error:
        raise _wrong_value(where, value, _KEYS[key].allowed) from error


def _wrong_value(where: str, value: object, allowed: str) -> SettingsError:
    shown = "no value" if value is None else repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return SettingsError(f"{where}: {shown} is not allowed; allowed is {allowed}")


def _unknown(where: str, name: str, known: list[str]) -> SettingsError:
    (nearest,) = _nearest(name, known, cutoff=0.0)
    return SettingsError(
        f"{where}: unknown key {name!r}; the nearest is {nearest!r}, known are {', '.join(known)}"
    )


def _nearest(name: str, known: list[str], *, cutoff: float) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(name, known, n=1, cutoff=cutoff)


def _split_config_settings(
    config_settings: Mapping[str, Any] | None,
) -> tuple[dict[str, _Found], dict[str, Any] | None]:
    found: dict[str, _Found] = {}
    rest: dict[str, Any] = {}
    for name, value in (config_settings or {}).items():
        key = name.replace("_", "-")
        if key in _KEYS:
            last = (value or [None])[-1] if isinstance(value, list | tuple) else value
            is_bare_switch = _KEYS[key].parse is _switch and last in (None, "")
            told = "true" if is_bare_switch else last
            found[key] = _Found(_parse(key, told, where=f"-C {name}"), f"-C {name}")
            continue
        is_setuptools_own = name in _SETUPTOOLS_KEYS or name.startswith("--")
        if not is_setuptools_own and _nearest(key.lower(), list(_KEYS), cutoff=_NEAR_MISS):
            raise _unknown("-C", name, list(_KEYS))
        rest[name] = value
    return found, None if config_settings is None else rest


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Found]:
    variables = {name: key for key, name in VARIABLES.items()}
    found = {}
    for name in sorted(name for name in environ if name.startswith(_PREFIX)):
        if name not in variables:
            raise _unknown("environment", name, list(variables))
        # An empty variable is how shells and CI files say "not set".
        if environ[name]:
            key = variables[name]
            found[key] = _Found(_parse(key, environ[name], where=name), name)
    return found


def _from_makeflags(makeflags: str) -> _Found | None:
    """-jN, or else a jobserver."""
    if not makeflags:
        return None
    from parallel_backend.jobserver.makeflags import find_auth, find_jobs

    number = find_jobs(makeflags)
    if number is not None:
        return _Found(number, f"MAKEFLAGS -j{number}")
    auth = find_auth(makeflags)
    # "-2,-2" is make's own way to say that there is none.
    if auth and not auth.startswith("-"):
        return _Found(None, "the jobserver in MAKEFLAGS")
    return None


def _from_user_config(path: Path) -> tuple[dict[str, dict[str, str]], _Found | None]:
    """All options of the user's extra file, and its ``parallel``."""
    try:
        parser = _read_ini(path)
        options = {
            section: {name: parser.get(section, name, raw=True) for name in parser.options(section)}
            for section in parser.sections()
        }
        return options, _parallel(parser, path)
    except _UNREADABLE as error:
        # setuptools would name our copy of the file.
        reason = " ".join(str(error).split())
        raise SettingsError(
            f"DIST_EXTRA_CONFIG names {path}, which cannot be read: {reason}"
        ) from error


def _from_setup_cfg(path: Path) -> _Found | None:
    try:
        return _parallel(_read_ini(path), path.name)
    except _UNREADABLE:
        # setuptools reads this file too, and says what is wrong with it.
        return None


def _parse_parallel(found: _Found | None) -> _Found | None:
    if found is None:
        return None
    try:
        return _Found(_whole_number(found.value), found.where)
    except ValueError as error:
        raise _wrong_value(found.where, found.value, "a whole number from 1") from error


def _read_ini(path: Path) -> configparser.ConfigParser:
    """Read a file as setuptools does; what is no file has no options."""
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    if path.is_file():
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    return parser


def _parallel(parser: configparser.ConfigParser, file: Path | str) -> _Found | None:
    """``parallel`` of [build_ext], else of [build]."""
    for section in ("build_ext", "build"):
        names = parser.options(section) if parser.has_section(section) else []
        # setuptools lowercases the names, then the last one counts.
        for name in [name for name in names if name.lower() == "parallel"][-1:]:
            return _Found(parser.get(section, name), f"[{section}] parallel in {file}")
    return None


def _from_pyproject(path: Path) -> dict[str, _Found]:
    import tomllib

    try:
        tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool")
    except (OSError, ValueError, RecursionError):
        # setuptools reads this file too, and says what is wrong with it.
        return {}
    if not isinstance(tool, dict):
        return {}
    if "parallel_backend" in tool:
        raise SettingsError(
            "[tool.parallel_backend] in pyproject.toml: the table is [tool.parallel-backend]"
        )
    table = tool.get("parallel-backend", {})
    if not isinstance(table, dict):
        raise _wrong_value(_TABLE, table, f"a table of {', '.join(_KEYS)}")
    found = {}
    for name, value in table.items():
        key = name.replace("_", "-")
        if key not in _KEYS:
            raise _unknown(_TABLE, name, list(_KEYS))
        where = f"[tool.parallel-backend] {name} in pyproject.toml"
        found[key] = _Found(_parse(key, value, where=where), where)
    return found
