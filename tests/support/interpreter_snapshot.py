"""What one can see of the interpreter that this runs in, for hooks that must leave it as it was.

Standard library only, and little that a process which has imported `setuptools` would not have:
the rest is looked at if some hook has imported it.
"""

from __future__ import annotations

import _locale
import atexit
import gc
import os
import signal
import sys
import sysconfig
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

from interpreter_look import Look, is_own

__all__ = ["look"]

_SIGNALS_OF_THREADS = 0b11 << 31  # 32 and 33: the C library takes them at need, see nptl(7)
# Who looks, and the backend, whose memory is its own.
_LEFT_OUT = frozenset(
    {"__main__", "interpreter_look", "interpreter_snapshot", "parallel_backend", "sequence_driver"}
)
_TOLD_ELSEWHERE = ("__builtins__", "__warningregistry__", "_config_vars", "_CONFIG_VARS")
# In classes: made when they are asked for, or kept for itself.
_MADE_BY_PYTHON = ("__weakref__", "__dict__", "__abstractmethods__", "_abc_impl", "__slotnames__")


def look() -> Look:
    """Look at all that there is."""
    sysconfig.get_config_vars()  # read once, whoever asks first
    gc.collect()
    # A thread that has ended and was joined is there for a moment yet, as the system sees it.
    until = time.monotonic() + 10
    while (
        len(os.listdir("/proc/self/task")) > threading.active_count() and time.monotonic() < until
    ):
        time.sleep(0.001)
    taken = Look()
    for glance in (
        _process,
        _descriptors,
        _signals,
        _switches,
        _imports,
        _warnings_and_logs,
        _libraries,
        _modules,
    ):
        glance(taken)
    return taken


def _process(taken: Look) -> None:
    import resource

    for name, value in os.environ.items():
        taken.tell(f"environ/{name}", value)
    taken.tell("folder", os.getcwd())
    taken.tell("locale", _locale.setlocale(_locale.LC_ALL))
    taken.tell("time zone", time.tzname, time.timezone)
    taken.tell("process", os.getpid(), os.getppid(), os.getpgrp(), os.getsid(0))
    taken.tell("nice", os.getpriority(os.PRIO_PROCESS, 0))
    taken.tell("cores", sorted(os.sched_getaffinity(0)))
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            taken.tell(f"limit/{name}", resource.getrlimit(getattr(resource, name)))
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        lines = [line.partition(":") for line in status]
    for name, _, value in lines:
        if name in ("Umask", "Threads"):
            taken.tell(f"status/{name}", value.strip())
        elif name in (
            "SigBlk",
            "SigIgn",
            "SigCgt",
        ):  # less those that the C library has for threads
            taken.tell(f"status/{name}", hex(int(value, 16) & ~_SIGNALS_OF_THREADS))
    taken.tell("children", *_children())


def _children() -> Iterator[str]:
    """Children of this process, and how each one is called."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    program, _, rest = file.read().rpartition(")")
            except OSError:  # it has ended meanwhile
                continue
            if int(rest.split()[1]) == os.getpid():
                yield program


def _descriptors(taken: Look) -> None:
    import fcntl

    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
            flags = [fcntl.fcntl(int(name), each) for each in (fcntl.F_GETFD, fcntl.F_GETFL)]
        except OSError:  # that of the listing itself
            continue
        taken.tell(f"descriptor/{name}", target, *flags)


def _signals(taken: Look) -> None:
    for number in sorted(signal.valid_signals()):
        taken.identify(f"signal/{int(number)}", signal.getsignal(number))
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    taken.tell("wakeup descriptor", wakeup)
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    taken.tell("timer", left > 0, interval)


def _switches(taken: Look) -> None:
    for name in (
        "getrecursionlimit getswitchinterval getdlopenflags getprofile get_asyncgen_hooks "
        "get_int_max_str_digits get_coroutine_origin_tracking_depth"
    ).split():
        taken.tell(f"sys.{name}", getattr(sys, name)())
    taken.tell("gc", gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.get_freeze_count())
    taken.tell("atexit", atexit._ncallbacks())
    taken.tell("threads", *sorted(f"{each.name} {each.ident}" for each in threading.enumerate()))
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        for attribute in ("closed", "encoding", "errors", "line_buffering"):
            taken.tell(f"sys.{name} {attribute}", getattr(stream, attribute, None))


def _imports(taken: Look) -> None:
    for name in ("argv", "path", "meta_path", "path_hooks", "warnoptions", "orig_argv"):
        taken.note(f"sys.{name}", getattr(sys, name))
    for entry, finder in sys.path_importer_cache.items():
        if finder is not None:  # such an entry says that nobody knows it, which is soon found again
            taken.identify(f"importer/{entry}", finder)
    for name, module in sys.modules.copy().items():
        taken.identify(f"modules/{name}", module)


def _warnings_and_logs(taken: Look) -> None:
    taken.note("warnings.filters", warnings.filters)
    taken.note("warnings.onceregistry", getattr(warnings, "onceregistry", None))
    for name, module in sys.modules.copy().items():
        registry = getattr(module, "__dict__", {}).get("__warningregistry__")
        if registry:
            for key in registry.keys() - {"version"}:
                taken.tell(f"{name}/__warningregistry__/{key!r}", registry[key])
    logging: Any = sys.modules.get("logging")
    if logging is None:
        return
    taken.tell("logging.disable", logging.root.manager.disable)
    taken.identify("logging class", logging.root.manager.loggerClass)
    for name in ("_handlerList", "_levelToName", "lastResort", "raiseExceptions"):
        taken.note(f"logging.{name}", getattr(logging, name))
    for name, logger in [("root", logging.root), *logging.root.manager.loggerDict.items()]:
        taken.identify(f"logger/{name}", logger)
        for attribute in ("handlers", "filters", "level", "disabled", "propagate"):
            if hasattr(logger, attribute):
                taken.note(f"logger/{name}/{attribute}", getattr(logger, attribute))


def _libraries(taken: Look) -> None:
    """What modules of the standard library keep out of sight, or in objects of theirs."""
    there: Any = sys.modules.get
    weakref, random = there("weakref"), there("random")
    socket, faulthandler = there("_socket"), there("faulthandler")
    context: Any = there("multiprocessing.context")
    taken.tell("weakref.finalize", len(weakref.finalize._registry) if weakref else 0)
    taken.tell("socket timeout", socket.getdefaulttimeout() if socket else None)
    taken.tell("faulthandler", bool(faulthandler and faulthandler.is_enabled()))
    taken.tell("random", hash(random.getstate()) if random else None)
    taken.identify("start method", context._default_context._actual_context if context else None)
    for name in ("sysconfig", "distutils.sysconfig", "setuptools._distutils.sysconfig"):
        own = "_CONFIG_VARS" if name == "sysconfig" else "_config_vars"
        for key, value in (getattr(there(name), own, None) or {}).items():
            taken.note(f"{name} variables/{key}", value)


def _modules(taken: Look) -> None:
    """What is in every module and its classes: of setuptools the contents, else the identities."""
    for name, module in sys.modules.copy().items():
        space = getattr(module, "__dict__", None)
        if name.partition(".")[0] in _LEFT_OUT or not isinstance(space, dict):
            continue
        own = is_own(name)
        for attribute, value in space.copy().items():
            if attribute in _TOLD_ELSEWHERE:
                continue
            key = f"{name}/{attribute}"
            (taken.note if own else taken.identify)(key, value)
            if isinstance(value, type) and (
                value.__module__ == name or (own and is_own(value.__module__))
            ):
                _class(taken, key, value, own=own)
            if own and callable(getattr(value, "cache_info", None)):
                taken.tell(f"{key} cache", value.cache_info().currsize)


def _is_from(kind: type, name: str, *, own: bool) -> bool:
    # Setuptools puts its classes where distutils' were, and keeps those under names of its own.
    return kind.__module__ == name or (own and is_own(kind.__module__))


def _class(taken: Look, key: str, kind: type, *, own: bool) -> None:
    for attribute, value in vars(kind).copy().items():
        if attribute not in _MADE_BY_PYTHON:
            (taken.note if own else taken.identify)(f"{key}.{attribute}", value)
