"""What runs in a hook's own process: the backend's hook, or a script, and its answer."""

from __future__ import annotations

import os
import sys

from parallel_backend.tools.hook_server.messages import Request, answer_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, TracebackType
    from typing import Any

__all__ = ["answer_of", "compiled", "finished", "open_streams", "status_of_fork"]

# The scripts that were run last, each with what its file was like.
_compiled: dict[str, tuple[object, CodeType]] = {}
_KEPT = 8


def answer_of(request: Request, begin: Callable[[], None]) -> dict[str, Any]:
    """Do what is asked for.

    `begin` prepares this process: an `OSError` or `ValueError` of it refuses the request.
    """
    try:
        try:
            begin()
        except (OSError, ValueError) as error:
            return {"outcome": "refused", "message": f"the hook cannot begin: {error}"}
        if request.script is not None:
            return _run(request.script, request.arguments)
        return _call(request)
    except BaseException as error:
        return _raised(error)


def status_of_fork(answer: dict[str, Any]) -> int:
    """The exit status of a fork which the hook has made, and which came back out of the hook."""
    return int(answer.get("status", 0 if answer["outcome"] == "returned" else 1))


def open_streams(request: Request) -> None:
    """Put descriptors 1 and 2, and `sys.stdout` over the first, to where the request wants them."""
    for path, descriptor in ((request.stdout, 1), (request.stderr, 2)):
        if path is not None:
            opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.dup2(opened, descriptor)
            os.close(opened)
    stream: Any = sys.stdout
    # Only at a terminal each line is written out at once.
    if hasattr(stream, "reconfigure") and not stream.write_through:
        stream.reconfigure(line_buffering=os.isatty(1))


def finished(answer: dict[str, Any], request: Request) -> bytes:
    """The answer as a line. What an interpreter does at its end is done: the process just exits."""
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
    """False: what was written to ``sys.stdout`` cannot be written out."""
    import atexit

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
    """Files that nobody has closed are written out by an interpreter that ends."""
    import gc
    import io

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
    folders = [os.path.join(os.path.realpath(entry), "") for entry in backend_path]
    for place in filter(None, places):
        if os.path.realpath(place).startswith(tuple(folders)):
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
    """A traceback without the frames of this module that come first."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


# --- a script


def compiled(script: str) -> CodeType:
    """The code of a script; from the second time on at no cost, as long as its file is the same."""
    found = os.stat(script)
    stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    known = _compiled.get(script)
    if known is not None and known[0] == stamp:
        return known[1]
    import io

    with io.open_code(script) as file:
        code: CodeType = compile(file.read(), script, "exec", dont_inherit=True)
    while len(_compiled) >= _KEPT:
        del _compiled[next(iter(_compiled))]
    _compiled[script] = (stamp, code)
    return code


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
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
    try:
        try:
            code = compiled(script)
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
