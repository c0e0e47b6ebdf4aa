"""A recorder beside the serial build: started, listened to, ended."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from parallel_backend.build.recorder import Recorder
from parallel_backend.build.runner import end_failed
from parallel_backend.build.translation import Task, Translations
from parallel_backend.timings.record import Span, begun, current

if TYPE_CHECKING:
    from parallel_backend.build.replay import Replay
    from parallel_backend.build.scheduler import Scheduler

__all__ = ["Recording"]

_log = logging.getLogger(__name__)

# Seconds after which a recorder hangs that the serial build has passed, and that says nothing.
_PATIENCE = 5.0


class Recording:
    """What a recorder finds out becomes nodes. It holds a job slot until it ends.

    :param translations: what Cython translates, if it is there.
    """

    def __init__(
        self, scheduler: Scheduler, replay: Replay, translations: Translations | None
    ) -> None:
        self._scheduler = scheduler
        self._replay = replay
        self._translations = translations
        self._lock = threading.Lock()
        self._has_ended = False
        self._recorder: Recorder
        self._slot = 0
        self._span: Span | None = None
        self._heard = 0.0

    def start(self, function: Callable[[], object], command: Any, *, private: str) -> bool:
        """Fork a recorder of `function`; false: there are too many processes.

        :param command: the distutils command that builds.
        :param private: a directory for the recorder, to be made.
        """
        self._slot = self._scheduler.acquire()
        self._span = begun("recorder", "recorder", slot=self._slot, up=current())
        below = [
            os.fspath(folder)
            for name in ("build_temp", "build_lib", "build_clib")
            if (folder := getattr(command, name, None))
        ]
        try:
            self._recorder = Recorder(
                function,
                private=private,
                below=below,
                extension=lambda: self._replay.extension,
                translations=self._translations,
            )
        except OSError as error:
            end_failed(self._span, error)
            self._scheduler.release(self._slot)
            return False
        self._heard = time.monotonic()
        self._replay.on_command = self._end_if_it_hangs
        self._scheduler.watch(self._recorder.fileno(), self._read)
        return True

    def end(self, reason: str = "") -> None:
        """End the recorder, once."""
        with self._lock:  # it may be listened to in the scheduler's thread
            if self._has_ended:
                return
            self._has_ended = True
        recorder = self._recorder
        self._scheduler.unwatch(recorder.fileno())
        recorder.end()
        self._scheduler.release(self._slot)
        why = recorder.reason or reason
        if self._span is not None:
            self._span.note(commands=recorder.commands, why=why)
            self._span.end()
        stopped = f"; stopped: {why}" if why else ""
        _log.debug("parallel-backend: recorded %d commands%s", recorder.commands, stopped)

    def _read(self) -> bool:
        with self._lock:
            if self._has_ended:
                return False
            self._heard = time.monotonic()
            commands, more = self._recorder.read()
            for recorded, extension in commands:
                if isinstance(recorded, Task):
                    self._replay.add_translation(recorded, self._translations)
                else:
                    self._replay.add_recorded(recorded, extension)
        if not more:
            self.end()
        return more

    def _end_if_it_hangs(self) -> None:
        """The serial build comes to a command."""
        is_late = time.monotonic() - self._heard > _PATIENCE
        if is_late and self._replay.plan.is_ahead_of_recorder():
            self.end("the serial build was faster")
