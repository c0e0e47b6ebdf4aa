"""The hooks of PEP 517 and PEP 660, each delegated to `setuptools.build_meta`."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Imported here, and not in a hook, so that every hook's fork has it already. Never
# setuptools.command.build_ext: it looks for Cython once, when it is imported.
import setuptools.build_meta

from parallel_backend.errors import ParallelBackendError
from parallel_backend.extra_config import extra_config
from parallel_backend.hook_process import run_hook
from parallel_backend.settings import Settings, read_settings

if TYPE_CHECKING:
    from typing import TypeAlias

    ConfigSettings: TypeAlias = Mapping[str, str | list[str] | None] | None
    StrPath: TypeAlias = str | os.PathLike[str]

__all__ = ["Backend", "delegate"]

_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")

# What a fork needs, and the signal handlers around it, are the whole process', so hooks that
# several threads call take turns.
_turn = threading.RLock()


def _hook(method: Callable[..., Any]) -> Callable[..., Any]:
    """Raise what `method` raises by this frame alone; a ParallelBackendError as one plain line."""

    @functools.wraps(method)
    def hook(*args: Any, **kwargs: Any) -> Any:
        error: BaseException
        try:
            with _turn:
                return method(*args, **kwargs)
        except ParallelBackendError as ours:
            error = SystemExit(f"parallel-backend: error: {ours}")
            error.__cause__ = ours
        except BaseException as raised:
            trace = raised.__traceback__
            while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
                trace = trace.tb_next
            error = raised.with_traceback(trace)
        raise error

    return hook


class Backend:
    """A backend object: its methods are the hooks, with the standard's arguments.

    Every hook raises `SystemExit` with one line for a mistake in the user's settings, and
    otherwise what setuptools raised.
    """

    def __init__(self, *, legacy: bool = False) -> None:
        self._legacy = legacy

    def get_requires_for_build_wheel(self, config_settings: ConfigSettings = None) -> list[str]:
        """Requirements of `build_wheel` beyond ``build-system.requires`` (PEP 517)."""
        return self._requires("get_requires_for_build_wheel", config_settings)

    def get_requires_for_build_sdist(self, config_settings: ConfigSettings = None) -> list[str]:
        """Requirements of `build_sdist` beyond ``build-system.requires`` (PEP 517)."""
        return self._requires("get_requires_for_build_sdist", config_settings)

    def get_requires_for_build_editable(self, config_settings: ConfigSettings = None) -> list[str]:
        """Requirements of `build_editable` beyond ``build-system.requires`` (PEP 660)."""
        return self._requires("get_requires_for_build_editable", config_settings)

    def prepare_metadata_for_build_wheel(
        self, metadata_directory: StrPath, config_settings: ConfigSettings = None
    ) -> str:
        """Write a ``.dist-info`` folder into `metadata_directory`; its base name (PEP 517)."""
        return self._name("prepare_metadata_for_build_wheel", config_settings, metadata_directory)

    def prepare_metadata_for_build_editable(
        self, metadata_directory: StrPath, config_settings: ConfigSettings = None
    ) -> str:
        """Write a ``.dist-info`` folder into `metadata_directory`; its base name (PEP 660)."""
        return self._name(
            "prepare_metadata_for_build_editable", config_settings, metadata_directory
        )

    def build_wheel(
        self,
        wheel_directory: StrPath,
        config_settings: ConfigSettings = None,
        metadata_directory: StrPath | None = None,
    ) -> str:
        """Build a wheel into `wheel_directory`; its base name (PEP 517)."""
        return self._name("build_wheel", config_settings, wheel_directory, metadata_directory)

    def build_sdist(self, sdist_directory: StrPath, config_settings: ConfigSettings = None) -> str:
        """Build an sdist into `sdist_directory`; its base name (PEP 517)."""
        return self._name("build_sdist", config_settings, sdist_directory)

    def build_editable(
        self,
        wheel_directory: StrPath,
        config_settings: ConfigSettings = None,
        metadata_directory: StrPath | None = None,
    ) -> str:
        """Build an editable wheel into `wheel_directory`; its base name (PEP 660)."""
        return self._name("build_editable", config_settings, wheel_directory, metadata_directory)

    def _requires(self, hook: str, config_settings: ConfigSettings) -> list[str]:
        requirements: list[str] = self._run(hook, config_settings)
        return requirements

    def _name(self, hook: str, config_settings: ConfigSettings, *folders: StrPath | None) -> str:
        name: str = self._run(hook, config_settings, *folders)
        return name

    def _run(self, hook: str, config_settings: ConfigSettings, *folders: StrPath | None) -> Any:
        settings = read_settings(
            config_settings=config_settings, environ=os.environ, folder=Path.cwd()
        )
        place = None
        if settings.timings is not None:
            from parallel_backend.timings.folder import check_folder, is_shared

            check_folder(settings.timings)
            # Where this process is killed, whoever runs it deletes what it leaves.
            place = settings.timings if is_shared(settings.timings) else None
        function = functools.partial(delegate, hook, settings, folders, legacy=self._legacy)
        return run_hook(function, place=place)


# Not as decorators, whose result no type checker follows through the package's own lazy import.
for _name in vars(Backend).copy():
    if not _name.startswith("_"):
        setattr(Backend, _name, _hook(getattr(Backend, _name)))


def delegate(
    hook: str,
    settings: Settings,
    folders: tuple[StrPath | None, ...],
    private: Path,
    *,
    legacy: bool,
) -> Any:
    """Call setuptools' hook with ours around it; this runs in the hook's own process."""
    backend: Any = setuptools.build_meta
    function = getattr(backend.__legacy__ if legacy else backend, hook)
    arguments = (*folders[:1], settings.backend_config, *folders[1:])
    with contextlib.ExitStack() as stack:
        from parallel_backend.build.session import installed

        timed = None
        if settings.timings is not None:
            from parallel_backend.timings.session import hook_recorded

            recorded = hook_recorded(hook, folder=settings.timings, private=private)
            timed = stack.enter_context(recorded)
        jobs = stack.enter_context(installed(hook, settings=settings, private=private))
        stack.enter_context(extra_config(settings=settings, jobs=jobs, private=private))
        if timed is None:
            return function(*arguments)
        timed.note(slots=jobs)
        result = function(*arguments)
        timed.note(made=result)
        return result
