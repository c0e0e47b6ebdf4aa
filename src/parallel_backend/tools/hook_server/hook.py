"""A hook's own process: it runs the backend's hook, or a script, and reports the answer."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys

from parallel_backend.tools.hook_server.descriptors import write_all
from parallel_backend.tools.hook_server.messages import Request, answer_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, NoReturn

__all__ = ["be_the_hook"]

# The standard library's `signal` makes enumerations of all this, which takes milliseconds.
_signal: Any = __import__("_signal")


def be_the_hook(request: Request, reports: int) -> NoReturn:
    """Do what is asked for. The descriptor `reports` gets this process' number, then the answer.

    A hook may close it, or put another file in its place; a fork of the hook may return.
    """
    status = 1
    try:
        process, pipe = os.getpid(), os.fstat(reports)
        answer = _answer(request, reports)
        line = _finished(answer, request)
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        if os.getpid() != process:
            status = int(answer.get("status", 0 if answer["outcome"] == "returned" else 1))
        elif os.path.samestat(os.fstat(reports), pipe):
            write_all(reports, line)
            status = 0
    finally:
        os._exit(status)


def _answer(request: Request, reports: int) -> dict[str, Any]:
    try:
        try:
            _begin(request, reports)
        except (OSError, ValueError) as error:
            return {"outcome": "refused", "message": f"the hook cannot begin: {error}"}
        if request.script is not None:
            return _run(request.script, request.arguments)
        return _call(request)
    except BaseException as error:
        return _raised(error)


def _begin(request: Request, reports: int) -> None:
    """Lead a process group, heed signals as a process in the background does, and say so."""
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    if hasattr(os, "setpgid"):
        # Who asks something at the terminal shall fail, and not be stopped for ever.
        for number in (_signal.SIGTTIN, _signal.SIGTTOU):
            _signal.signal(number, _signal.SIG_IGN)
        os.setpgid(0, 0)
    os.write(reports, b"hook %d\n" % os.getpid())
    for path, descriptor in ((request.stdout, 1), (request.stderr, 2)):
        if path is not None:
            opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.dup2(opened, descriptor)
            os.close(opened)
    stream: Any = sys.stdout
    # Only at a terminal each line is written out at once.
    if hasattr(stream, "reconfigure") and not stream.write_through:
        stream.reconfigure(line_buffering=os.isatty(1))
    os.chdir(request.source)


def _finished(answer: dict[str, Any], request: Request) -> bytes:
    """Do what an interpreter does at its end, and return the answer as a line."""
    flushed = _finish()
    if answer["outcome"] == "exited" and not flushed:
        answer["status"] = 120  # as Python's own
    whole = {"id": request.identity, **answer}
    try:
        return answer_line(whole)
    except (TypeError, ValueError, RecursionError) as error:
        hook = f"{request.hook} of {request.backend}"
        message = f"{hook} returned a value that JSON cannot carry: {error}"
        whole = {"id": request.identity, **_raised(TypeError(message))}
        return answer_line(whole)


def _finish() -> bool:
    """Join threads, run exit functions and write files out; false: `sys.stdout` cannot be."""
    for step in (getattr(sys.modules.get("threading"), "_shutdown", None), atexit._run_exitfuncs):
        try:
            if step is not None:
                step()
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
    flushed = True
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except BaseException:
            flushed = flushed and stream is not sys.stdout
    _write_out_files()
    return flushed


def _write_out_files() -> None:
    """Write out files that nobody has closed."""
    kinds = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    for each in gc.get_objects():
        if type(each) in kinds:
            try:
                each.flush()
            except (OSError, ValueError):
                continue


# --- a hook


def _call(request: Request) -> dict[str, Any]:
    sys.argv[1:] = []
    sys.path[:0] = request.backend_path
    module, _, path = request.backend.partition(":")
    try:
        __import__(module)
        _check_origin(module, request.backend_path)
    except ImportError as error:
        return _no_backend(request, error)
    backend: Any = sys.modules[module]
    try:
        for name in path.split(".") if path else ():
            backend = getattr(backend, name)
    except AttributeError as error:
        return _no_backend(request, error)
    try:
        hook = getattr(backend, str(request.hook))
    except AttributeError:
        message = f"{request.backend} has no {request.hook}"
        return {"outcome": "no-hook", "message": message}
    return {"outcome": "returned", "value": hook(**request.arguments)}


def _no_backend(request: Request, error: Exception) -> dict[str, Any]:
    message = f"{request.backend} cannot be imported: {error}"
    return {"outcome": "no-backend", "message": message, "traceback": _raised(error)["traceback"]}


def _check_origin(module: str, backend_path: list[str]) -> None:
    """PEP 517: an in-tree backend must be loaded from the backend path."""
    if not backend_path:
        return
    package = sys.modules[module.partition(".")[0]]
    places = [getattr(package, "__file__", None), *getattr(package, "__path__", ())]
    directories = [os.path.join(os.path.realpath(entry), "") for entry in backend_path]
    for place in filter(None, places):
        if os.path.realpath(place).startswith(tuple(directories)):
            return
    shown = ", ".join(backend_path)
    raise ImportError(f"{package.__name__} was found, but not in the backend path ({shown})")


def _raised(error: BaseException) -> dict[str, Any]:
    import traceback

    error.__traceback__ = _of_others(error.__traceback__)
    kind = type(error)
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    try:
        message = str(error)
    except Exception as failure:
        message = f"(its __str__ raises {type(failure).__name__})"
    try:
        text = "".join(traceback.format_exception(kind, error, error.__traceback__))
    except Exception:  # it has a __str__ or an attribute that raises
        text = "".join(traceback.format_tb(error.__traceback__))
    answer: dict[str, Any] = {
        "outcome": "raised",
        "type": f"{where}{kind.__qualname__}",
        "message": message,
        "traceback": text,
        "notes": [],
    }
    try:
        answer["notes"] = [str(note) for note in getattr(error, "__notes__", None) or ()]
    except Exception:
        answer["notes"] = ["(notes that cannot be shown)"]
    if isinstance(error, SystemExit):
        known = error.code is None or isinstance(error.code, (int, str))
        answer["code"] = error.code if known else str(error.code)
    return answer


def _of_others(trace: TracebackType | None) -> TracebackType | None:
    """Cut the frames of this module off the beginning of a traceback."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


# --- a script


def _run(script: str, arguments: list[str]) -> dict[str, Any]:
    """Do what ``python SCRIPT ARGUMENTS`` does."""
    from importlib.machinery import SourceFileLoader

    main = type(sys)("__main__")
    main.__dict__.update(
        __builtins__=__builtins__,
        __file__=script,
        __loader__=SourceFileLoader("__main__", script),
    )
    # What else there is, is a matter of the interpreter's version.
    for name, value in (("__annotations__", {}), ("__cached__", None)):
        if name in vars(sys.modules["__main__"]):
            setattr(main, name, value)
    sys.modules["__main__"] = main
    sys.argv[:] = [script, *arguments]
    if not (sys.flags.safe_path or sys.flags.isolated):
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
    try:
        try:
            with io.open_code(script) as file:
                code = compile(file.read(), script, "exec", dont_inherit=True)
        except OSError as error:
            text = f"can't open file {script!r}: [Errno {error.errno}] {error.strerror}"
            print(f"{sys.executable}: {text}", file=sys.stderr)
            return {"outcome": "exited", "status": 2}
        exec(code, main.__dict__)
    except SystemExit as error:
        return {"outcome": "exited", "status": _exit_status(error.code)}
    except BaseException as error:
        trace = _of_others(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        if isinstance(error, KeyboardInterrupt):
            return {"outcome": "killed", "signal": "SIGINT"}
        return {"outcome": "exited", "status": 1}
    return {"outcome": "exited", "status": 0}


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1
