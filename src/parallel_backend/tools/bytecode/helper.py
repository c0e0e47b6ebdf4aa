"""A fork that takes a part of a walk."""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, Self

__all__ = ["Helper", "can_help"]

MOST_NUMBERS = 2_000  # numbers, of two bytes; they must fit into the smallest pipe, of 4 KiB


def can_help() -> bool:
    """Whether there is a core for a fork, and no other thread, which a fork could break."""
    try:
        return len(os.sched_getaffinity(0)) > 1 and len(os.listdir("/proc/self/task")) == 1
    except (AttributeError, OSError):  # it is not Linux
        return False


class Helper:
    """Shares the numbers below `count` between this process and a fork: each takes the next one.

    `work` runs in the fork with the numbers that it gets, and returns what marshal can write. A
    fork that fails is as none.

    Raises OSError if there can be no fork.
    """

    def __init__(self, count: int, work: Callable[[Iterator[int]], Any]) -> None:
        self._left = set(range(count))
        with contextlib.ExitStack() as stack:
            # Whoever reads two bytes has taken a number.
            self._queue, source = os.pipe()
            stack.callback(os.close, self._queue)
            with open(source, "wb") as file:
                file.writelines(n.to_bytes(2, "little") for n in range(min(count, MOST_NUMBERS)))
            self._answer, answer = os.pipe()
            stack.callback(os.close, self._answer)
            with open(answer, "wb") as stream:
                self._process = os.fork()
                if self._process == 0:
                    try:
                        taken: list[int] = []
                        told = work(self._taken(taken.append))
                        marshal.dump((taken, told), stream)
                        stream.flush()
                        os._exit(0)
                    finally:  # nothing that the parent does at its end is for a fork
                        os._exit(1)
            self._opened = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)

    def numbers(self) -> Iterator[int]:
        """Those that this process is to see to, while the fork sees to others."""
        return self._taken(self._left.discard)

    def result(self) -> Any:
        """What the fork's work has returned; None if it failed."""
        try:
            with open(self._answer, "rb", closefd=False) as stream:
                taken, told = marshal.load(stream)
        except (EOFError, ValueError, TypeError):
            return None
        self._left.difference_update(taken)
        return told

    def left(self) -> list[int]:
        """Those that nobody has seen to."""
        return sorted(self._left)

    def _taken(self, note: Callable[[int], object]) -> Iterator[int]:
        while number := os.read(self._queue, 2):
            note(int.from_bytes(number, "little"))
            yield int.from_bytes(number, "little")
