"""What the system keeps for this process, as it was, so that it can be put back after a hook."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from parallel_backend.process_state.relay import flush

__all__ = [
    "descriptors",
    "environment",
    "folder",
    "limits",
    "locales",
    "signals",
    "streams",
    "umask",
]

PutBack = Callable[[], None]

_NAMES = ("stdin", "stdout", "stderr")
_TIMERS = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
_HAS_MASK = hasattr(signal, "pthread_sigmask")


def environment() -> PutBack:
    """`os.environ` itself, key by key."""
    environ, saved = os.environ, dict(os.environ)

    def put_back() -> None:
        os.environ = environ  # noqa: B003 - it is the former one
        zone = os.environ.get("TZ")
        for key in os.environ.keys() - saved.keys():
            del os.environ[key]
        for key, value in saved.items():
            if os.environ.get(key) != value:
                os.environ[key] = value
        if zone != saved.get("TZ") and hasattr(time, "tzset"):
            time.tzset()

    return put_back


def folder() -> PutBack:
    """The current folder."""
    saved = os.getcwd()
    return lambda: os.chdir(saved)


def umask() -> PutBack:
    """The file mode creation mask."""
    saved = os.umask(0o022)
    os.umask(saved)
    return lambda: (os.umask(saved), None)[1]


def signals() -> PutBack:
    """Signal handlers and timers; in the main thread alone, where Python sets them."""
    saved = {number: signal.getsignal(number) for number in signal.valid_signals()}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, []) if _HAS_MASK else None

    timers = [getattr(signal, name) for name in _TIMERS if hasattr(signal, name)]
    idle = [timer for timer in timers if signal.getitimer(timer)[0] == 0]

    def put_back() -> None:
        for timer in idle:
            signal.setitimer(timer, 0)
        for number, handler in saved.items():
            # None: not set by Python, so that Python cannot set it.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return put_back


def limits() -> PutBack:
    """Soft resource limits; a hard one that was lowered stays so."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Linux has it
        return lambda: None
    names = [name for name in vars(resource) if name.startswith("RLIMIT_")]
    saved = {number: resource.getrlimit(number) for number in {getattr(resource, n) for n in names}}

    def put_back() -> None:
        for number, (soft, hard) in saved.items():
            now_soft, now_hard = resource.getrlimit(number)
            if (now_soft, now_hard) != (soft, hard):
                with contextlib.suppress(ValueError, OSError):
                    resource.setrlimit(number, (soft, now_hard))

    return put_back


def locales() -> PutBack:
    """The C library's locale, each category."""
    import locale

    names = ("COLLATE", "CTYPE", "MESSAGES", "MONETARY", "NUMERIC", "TIME")
    categories = [getattr(locale, f"LC_{name}") for name in names if hasattr(locale, f"LC_{name}")]
    saved = {category: locale.setlocale(category) for category in categories}

    def put_back() -> None:
        for category, value in saved.items():
            if locale.setlocale(category) != value:
                locale.setlocale(category, value)

    return put_back


def streams() -> PutBack:
    """`sys.stdin`, `sys.stdout` and `sys.stderr`, and how they encode and buffer."""
    names = (*_NAMES, *(f"__{name}__" for name in _NAMES))
    saved = {name: getattr(sys, name) for name in names}
    texts = [(stream, _text_options(stream)) for stream in saved.values() if _is_text(stream)]

    def put_back() -> None:
        for name, stream in saved.items():
            now = getattr(sys, name, None)
            if now is not stream:
                flush(now)
                setattr(sys, name, stream)
        for stream, options in texts:
            with contextlib.suppress(OSError, ValueError):  # it is detached, or closed
                if _text_options(stream) != options:
                    stream.reconfigure(**options)

    return put_back


def _is_text(stream: Any) -> bool:
    return isinstance(stream, io.TextIOWrapper) and not stream.closed


def _text_options(stream: Any) -> dict[str, Any]:
    names = ("encoding", "errors", "line_buffering", "write_through")
    return {name: getattr(stream, name) for name in names}


def descriptors() -> PutBack:
    """What the descriptors 0 to 2 are: a project may have turned them elsewhere, or closed them."""
    saved: dict[int, int] = {}
    for number in range(3):
        with contextlib.suppress(OSError):
            saved[number] = _duplicate(number)

    def put_back() -> None:
        for number, duplicate in saved.items():
            if _status(number) != _status(duplicate):
                flush(getattr(sys, _NAMES[number]))
                os.dup2(duplicate, number)
            os.close(duplicate)

    return put_back


def _duplicate(number: int) -> int:
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Linux has it
        return os.dup(number)
    # Above what a project may take for free, such as 3.
    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10)


def _status(number: int) -> Any:
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_rdev
