"""What a scheduler deals with: nodes, who runs them, and the slots in which they run."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Node", "Runner", "Slots"]


@dataclass(eq=False)
class Node:
    """A command in the graph of a build.

    :param number: its place in the order of a serial build.
    :param cost: an estimate; the costliest node that is ready begins first.
    :param needs: nodes that make what it reads.
    :param is_external: the scheduler never begins it; `Scheduler.settle` says that it is done.
    :param is_local: it needs one of the machine's own slots, where there are more than those.
    """

    number: int
    cost: int = 0
    needs: tuple[Node, ...] = ()
    is_external: bool = False
    is_local: bool = False
    failed: bool = False
    begun: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    dependents: list[Node] = field(default_factory=list)
    missing: int = 0
    dropped: bool = False
    abandoned: bool = False
    urgent: bool = False
    #: The slot in which it runs.
    slot: int = 0

    def comes_now(self) -> None:
        """All that it needs is done, and where the serial build wants it."""


class Runner(Protocol):
    """Runs commands."""

    def start(self, node: Any) -> int | None:
        """Begin; a descriptor that becomes readable when the command has ended.

        None: there was nothing to run, it is done.
        """

    def ended(self, node: Any) -> bool:
        """Take note that a command has ended, quickly: its slot is still held. False: it failed."""

    def finish(self, node: Any) -> bool:
        """Collect the result of a command that has ended; whether it succeeded."""

    def cancel(self, nodes: Iterable[Any], *, kill: bool) -> None:
        """Tell what runs to end, or kill it."""


class Slots(Protocol):
    """Where job slots come from."""

    def take(self) -> int | None:
        """The number of a slot that is now held; None: there is none at present."""

    def give(self, number: int) -> None:
        """Give a slot back."""

    def fileno(self) -> int:
        """A descriptor that is readable when a slot may be had; -1: there is none to wait for."""
