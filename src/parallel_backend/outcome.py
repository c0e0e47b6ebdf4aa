"""What a function returned or raised in a fork, as bytes for the process that waits for it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import traceback
from typing import Any

from parallel_backend.errors import HookProcessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["fork_traceback", "pack", "signal_name", "travels", "unpack"]

_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


class _ForkTraceback(Exception):
    """The traceback of a fork, shown as the cause of the exception that it raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def pack(succeeded: bool, value: Any) -> bytes:
    """Pickle a result, or an exception with its traceback, notes and attributes.

    What does not pickle, or does not come back, becomes a `HookProcessError` that tells it.
    """
    told, text, notes = "", "", []
    if not succeeded:
        kind = type(value)
        told = f"{kind.__module__}.{kind.__qualname__}: {_text(value)}"
        notes = [str(note) for note in getattr(value, "__notes__", ())]
        with contextlib.suppress(Exception):  # a class whose __str__ fails
            text = "".join(traceback.format_exception(kind, value, _of_others(value)))
    try:
        data = pickle.dumps(value)
        pickle.loads(data)
    except Exception as error:  # whatever a class's own __reduce__ or __init__ raises
        data = b""
        told = told or f"the result cannot be sent back: {error}"
    return pickle.dumps((succeeded, data, told, notes, text))


def _of_others(error: BaseException) -> TracebackType | None:
    """Its traceback without the frames of this package that come first, if there are others."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        trace = trace.tb_next
    return trace or error.__traceback__


def fork_traceback(text: str) -> str:
    """Of a formatted exception that came from a fork what was raised there, or all of it."""
    _, _, rest = text.partition(f'{_ForkTraceback.__name__}: \n"""\n')
    inner, end, _ = rest.rpartition('"""\n\nThe above exception was the direct cause ')
    return inner if end else text


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # a class whose __str__ fails
        return "(it has no text)"


def signal_name(number: int) -> str:
    """A signal's name, or its number if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def travels(error: BaseException) -> bool:
    """Whether `unpack` gives an exception of the same class as `pack` was given."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:  # whatever a class's own __reduce__ or __init__ raises
        return False


def unpack(data: bytes) -> tuple[bool, Any]:
    """What `pack` was given; an exception has the fork's traceback as its cause."""
    succeeded, value_data, told, notes, text = pickle.loads(data)
    modules = set(sys.modules)
    try:
        value = pickle.loads(value_data)
    except Exception:  # a class that only the fork can find, or none at all
        succeeded, value = False, HookProcessError(told)
        for note in notes:
            value.add_note(note)
    finally:
        # Finding an exception's class may import modules, which this process did not have.
        for name in set(sys.modules) - modules:
            del sys.modules[name]
    if not succeeded:
        value.__cause__ = _ForkTraceback(text)
    return succeeded, value
