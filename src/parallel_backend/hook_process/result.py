"""What a hook returned or raised, as bytes for the process that waits for it.

An exception arrives as it was raised: its class, arguments, attributes and notes, what caused it,
and a traceback of its own frames, less those of this package. Frames cannot be sent, so theirs are
made anew, of their file names, function names and line numbers, as template engines do.

Nothing is imported to read a result. An exception of a class that the reader has not imported, or
one that cannot be pickled, gets a class of the same name over the nearest built-in one.
"""

from __future__ import annotations

import builtins
import io
import os
import pickle
import signal
import sys
import types
from dataclasses import dataclass, field
from typing import Any

__all__ = ["pack", "signal_name", "travels", "unpack"]

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")

Frame = tuple[str, str, int]  # file name, function, line


@dataclass
class _Raised:
    """One exception: what is needed to raise it elsewhere."""

    data: bytes
    module: str
    name: str
    base: str
    text: str
    frames: list[Frame] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cause: _Raised | None = None
    context: _Raised | None = None
    suppress: bool = False


def pack(succeeded: bool, value: Any) -> bytes:
    """Turn a result, or an exception, into bytes; a result that does not pickle is a TypeError."""
    if succeeded:
        try:
            return pickle.dumps((True, pickle.dumps(value)))
        except Exception as error:  # whatever a class's own __reduce__ raises
            value = TypeError(f"the result of the build hook cannot be sent back: {error}")
    return pickle.dumps((False, _described(value, set())))


def unpack(data: bytes) -> tuple[bool, Any]:
    """Give what `pack` was given."""
    succeeded, value = pickle.loads(data)
    return (True, _Known(io.BytesIO(value)).load()) if succeeded else (False, _raised(value))


def travels(error: BaseException) -> bool:
    """Whether `unpack` gives an exception of the same class as `pack` was given."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:  # whatever a class's own __reduce__ or __init__ raises
        return False


def signal_name(number: int) -> str:
    """A signal's name, or its number if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _described(error: BaseException, seen: set[int]) -> _Raised:
    seen.add(id(error))
    kind = type(error)
    try:
        data = pickle.dumps(error)
    except Exception:  # whatever a class's own __reduce__ raises
        data = b""
    base = next(each for each in kind.__mro__ if vars(builtins).get(each.__name__) is each)
    return _Raised(
        data=data,
        module=kind.__module__,
        name=kind.__qualname__,
        base=base.__name__,
        text=_text(error),
        frames=_frames(error.__traceback__),
        notes=[str(note) for note in getattr(error, "__notes__", ())],
        cause=_linked(error.__cause__, seen),
        context=_linked(error.__context__, seen),
        suppress=error.__suppress_context__,
    )


def _linked(error: BaseException | None, seen: set[int]) -> _Raised | None:
    return None if error is None or id(error) in seen else _described(error, seen)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # a class whose __str__ fails
        return "(it has no text)"


def _frames(trace: types.TracebackType | None) -> list[Frame]:
    found = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith(_PACKAGE):
            found.append((code.co_filename, code.co_name, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _raised(described: _Raised) -> BaseException:
    error = _instance(described)
    error.__cause__ = None if described.cause is None else _raised(described.cause)
    error.__context__ = None if described.context is None else _raised(described.context)
    error.__suppress_context__ = described.suppress
    for note in described.notes:
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    return error.with_traceback(_traceback(described.frames))


def _instance(described: _Raised) -> BaseException:
    try:
        error = _Known(io.BytesIO(described.data)).load()
        if isinstance(error, BaseException):
            return error
    except Exception:  # a class that is not known here, or whatever its __init__ raises
        pass
    base: Any = vars(builtins)[described.base]
    names = {"__module__": described.module, "__str__": lambda _: described.text}
    kind = type(described.name.rpartition(".")[2], (base,), names)
    kind.__qualname__ = described.name
    try:
        return kind(described.text)  # type: ignore[no-any-return]
    except TypeError:  # a built-in class that takes more, such as UnicodeDecodeError
        return type(kind.__name__, (Exception,), names)(described.text)  # type: ignore[no-any-return]


class _Known(pickle.Unpickler):
    """Finds classes in modules that are imported already, and nowhere else."""

    def find_class(self, module: str, name: str) -> Any:
        if module not in sys.modules:
            raise pickle.UnpicklingError(f"{module} is not imported here")
        return super().find_class(module, name)


def _traceback(frames: list[Frame]) -> types.TracebackType | None:
    trace = None
    for name, function, line in reversed(frames):
        code = _HERE.replace(
            co_filename=name,
            co_name=function,
            co_qualname=function,
            co_firstlineno=line,
            co_linetable=_ONE_LINE,
        )
        frame = types.FunctionType(code, {"__name__": "", "_getframe": sys._getframe})()
        trace = types.TracebackType(trace, frame, frame.f_lasti, line)
    return trace


_HERE = compile("def f(): return _getframe()", "", "exec").co_consts[0]
# All of it on its first line, in no column, so that no caret is drawn: for up to 8 code units each
# an entry of kind 13 (InternalDocs/code_objects.md of CPython).
_UNITS = range(len(_HERE.co_code) // 2, 0, -8)
_ONE_LINE = b"".join(bytes([0x80 | 13 << 3 | min(8, left) - 1, 0]) for left in _UNITS)
