"""What Python and its library keep for all of a process, as it was, to be put back after a hook."""

from __future__ import annotations

import atexit
import faulthandler
import gc
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from parallel_backend.process_state.imports import stays

__all__ = ["arguments", "exit_handlers", "interpreter", "libraries", "logs"]

PutBack = Callable[[], None]

_MISSING: Any = object()
_HOOKS = ("excepthook", "displayhook", "unraisablehook", "breakpointhook")


def arguments() -> PutBack:
    """`sys.argv`: the list itself, and what is in it."""
    saved, items = sys.argv, list(sys.argv)

    def put_back() -> None:
        saved[:] = items
        sys.argv = saved

    return put_back


def interpreter() -> PutBack:
    """Hooks, limits and switches of the interpreter."""
    names = (*_HOOKS, "dont_write_bytecode", "pycache_prefix", "tracebacklimit")
    saved = {name: getattr(sys, name, _MISSING) for name in names}
    thread_hook = threading.excepthook
    calls: list[tuple[Callable[..., Any], Any, Callable[[], Any]]] = [
        (sys.setrecursionlimit, sys.getrecursionlimit(), sys.getrecursionlimit),
        (sys.setswitchinterval, sys.getswitchinterval(), sys.getswitchinterval),
        (sys.settrace, sys.gettrace(), sys.gettrace),
        (sys.setprofile, sys.getprofile(), sys.getprofile),
        (lambda threshold: gc.set_threshold(*threshold), gc.get_threshold(), gc.get_threshold),
        (gc.set_debug, gc.get_debug(), gc.get_debug),
        (lambda on: gc.enable() if on else gc.disable(), gc.isenabled(), gc.isenabled),
        (sys.set_int_max_str_digits, sys.get_int_max_str_digits(), sys.get_int_max_str_digits),
    ]
    if hasattr(sys, "setdlopenflags"):
        calls.append((sys.setdlopenflags, sys.getdlopenflags(), sys.getdlopenflags))
    if not faulthandler.is_enabled():
        calls.append((lambda _: faulthandler.disable(), False, faulthandler.is_enabled))

    def put_back() -> None:
        for name, value in saved.items():
            if value is not _MISSING:
                setattr(sys, name, value)
            elif hasattr(sys, name):
                delattr(sys, name)
        threading.excepthook = thread_hook
        for put, value, get in calls:
            if get() != value:
                put(value)

    return put_back


def logs() -> PutBack:
    """Every logger's handlers, filters and level; a new logger is as one that was just made."""
    manager = logging.Logger.manager
    saved = {logger: _logger_state(logger) for logger in _loggers()}
    disabled, known = manager.disable, set(manager.loggerDict)
    names: list[dict[Any, Any]] = [logging._levelToName, logging._nameToLevel]
    saved_names = [dict(each) for each in names]
    plain = (logging.PlaceHolder, logging.getLoggerClass())
    exceptions, last = logging.raiseExceptions, logging.lastResort

    def put_back() -> None:
        for logger in _loggers():
            handlers, filters, rest = saved.get(logger, ([], [], {"level": logging.NOTSET}))
            logger.handlers[:], logger.filters[:] = handlers, filters
            vars(logger).update({"propagate": True, "disabled": False, **rest})
        manager.disable = disabled
        for each, items in zip(names, saved_names, strict=True):
            each.clear()
            each.update(items)
        for name in manager.loggerDict.keys() - known:
            if type(manager.loggerDict[name]) not in plain:
                del manager.loggerDict[name]
        logging.raiseExceptions, logging.lastResort = exceptions, last
        # A logger remembers what it logs; only to set a level makes all think anew.
        logging.root.setLevel(logging.root.level)

    return put_back


def _loggers() -> list[logging.Logger]:
    known = list(logging.Logger.manager.loggerDict.values())
    return [logging.root, *(logger for logger in known if isinstance(logger, logging.Logger))]


def _logger_state(logger: logging.Logger) -> tuple[list[Any], list[Any], dict[str, Any]]:
    rest = {name: getattr(logger, name) for name in ("level", "propagate", "disabled")}
    return list(logger.handlers), list(logger.filters), rest


def libraries() -> PutBack:
    """Settings of the standard library's modules that a project's ``setup.py`` changes."""
    parts = (_temporary_folder(), _socket_timeout(), _start_method(), _random_state())

    def put_back() -> None:
        for part in parts:
            part()

    return put_back


def _temporary_folder() -> PutBack:
    import tempfile

    saved = tempfile.tempdir, tempfile.template

    def put_back() -> None:
        tempfile.tempdir, tempfile.template = saved

    return put_back


def _socket_timeout() -> PutBack:
    before = sys.modules.get("socket")
    saved = before.getdefaulttimeout() if before else None

    def put_back() -> None:
        now = sys.modules.get("socket")
        if now is not None and now.getdefaulttimeout() != saved:
            now.setdefaulttimeout(saved)

    return put_back


def _start_method() -> PutBack:
    """How `multiprocessing` starts processes, which can be chosen once."""
    before = sys.modules.get("multiprocessing.context")
    saved = before._default_context._actual_context if before else None

    def put_back() -> None:
        now = sys.modules.get("multiprocessing.context")
        if now is not None:
            now._default_context._actual_context = saved

    return put_back


def _random_state() -> PutBack:
    module = sys.modules.get("random")
    state = module.getstate() if module else None

    def put_back() -> None:
        if module is not None:
            module.setstate(state)

    return put_back


def exit_handlers() -> PutBack:
    """Run at the hook's end what it has registered to run at exit, the last one first.

    What modules have registered that stay here is left to the process' own exit.
    """
    register, unregister = atexit.register, atexit.unregister
    waiting: list[tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def register_here(function: Any, /, *arguments: Any, **named: Any) -> Any:
        caller = str(sys._getframe(1).f_globals.get("__name__"))
        waiting.append((caller, function, arguments, named))
        return function

    def unregister_here(function: Any, /) -> None:
        waiting[:] = [one for one in waiting if one[1] != function]
        unregister(function)

    atexit.register, atexit.unregister = register_here, unregister_here

    def put_back() -> None:
        atexit.register, atexit.unregister = register, unregister
        for caller, function, arguments, named in waiting:
            if stays(caller):
                register(function, *arguments, **named)
        for caller, function, arguments, named in reversed(waiting):
            if not stays(caller):
                try:
                    function(*arguments, **named)
                except Exception:  # as the interpreter does: told, and the next one runs
                    sys.excepthook(*sys.exc_info())

    return put_back
