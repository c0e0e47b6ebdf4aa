"""The commands of one stretch of the serial build, as they become known."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parallel_backend.build.runner import CommandNode

__all__ = ["Plan"]


class Plan:
    """The commands of one stretch of the serial build, each once, however it became known.

    The recorder and the serial build both count how often they have come to a command: what is the
    third one for both is one node.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.nodes: dict[tuple[Any, ...], list[CommandNode]] = {}
        self._recorded: dict[tuple[Any, ...], int] = {}
        self._asked: dict[tuple[Any, ...], int] = {}
        #: Who makes what is at a path, as of the last command that was recorded.
        self.latest: dict[str, Any] = {}

    def recorded(self, key: tuple[Any, ...]) -> tuple[int, CommandNode | None]:
        """The recorder came to a command; the node that is there for it already."""
        return self._counted(self._recorded, key)

    def asked(self, key: tuple[Any, ...]) -> tuple[int, CommandNode | None]:
        """The serial build came to a command; its node, if there is one."""
        return self._counted(self._asked, key)

    def expected(self, key: tuple[Any, ...], more: int) -> CommandNode | None:
        """The node of a command that the serial build will come to, after `more` equal ones."""
        known = self.nodes.get(key, [])
        at = self._asked.get(key, 0) + more
        return known[at] if at < len(known) else None

    def is_ahead_of_recorder(self) -> bool:
        """Whether the serial build has come to more commands than the recorder."""
        with self.lock:
            return sum(self._asked.values()) > sum(self._recorded.values())

    def _counted(
        self, counts: dict[tuple[Any, ...], int], key: tuple[Any, ...]
    ) -> tuple[int, CommandNode | None]:
        at = counts.get(key, 0)
        counts[key] = at + 1
        known = self.nodes.setdefault(key, [])
        return at, known[at] if at < len(known) else None
