"""How a hook server becomes another interpreter in the same process, and goes on where it was."""

from __future__ import annotations

import os
import sys

from parallel_backend.tools.hook_server.channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Resumption", "interpreter", "start_afresh"]

# Nanoseconds that an interpreter takes at most until its first statement, on a machine at ease.
_START = 40_000_000


class Resumption:
    """What an interpreter leaves to the next one. `began`: when that was started, in nanoseconds.

    `lines` are requests that wait, `rest` is the beginning of another message, and `unsent` what
    of the answers is not written yet. `ended`: no more will come. `starts` counts in vain ones.
    `commands`: not every request came with a reason to have none of setuptools' imported.
    """

    def __init__(self, state: dict[str, Any], *, began: int) -> None:
        self.began: int = state.get("began", began - _START)
        self.asked: dict[str, str] | None = state.get("asked")
        self.base: dict[str, str] | None = state.get("base")
        self.commands: bool = state.get("commands", True)
        self.ended: bool = state.get("ended", False)
        self.leaving: list[int] = state.get("leaving", [])
        self.lines = [line.encode("latin-1") for line in state.get("lines", ())]
        self.mask: list[int] | None = state.get("mask")
        self.rest: bytes = state.get("rest", "").encode("latin-1")
        self.starts: int = state.get("starts", 0)
        self.unfit: list[str] = state.get("unfit", [])
        self.unsent: bytes = state.get("unsent", "").encode("latin-1")

    @classmethod
    def read(cls, descriptor: int, *, began: int) -> Resumption:
        """Take what `start_afresh` has left."""
        import json

        with open(descriptor, encoding="ascii") as file:
            return cls(json.load(file), began=began)


def start_afresh(
    channel: Channel, *, command: list[str], folder: str, state: dict[str, Any]
) -> None:
    """Become another interpreter by `command`, in the environment that ``state["asked"]`` is.

    `folder`: where; empty: here. Raises OSError if that cannot be.
    """
    import json
    import time

    for file in (command[0], __file__):
        os.stat(file)
    if folder:
        os.chdir(folder)
    whole = {**state, "began": time.time_ns(), "unsent": bytes(channel.unsent)}
    text = json.dumps(whole, default=lambda value: value.decode("latin-1"))
    left = _nameless_file(text.encode("ascii"))
    handed_on = (channel.read, channel.write, left)
    words = ["--channel", *map(str, handed_on[:2]), "--resume", str(left)]
    try:
        for descriptor in handed_on:
            os.set_inheritable(descriptor, True)
        os.execve(command[0], [*command, *words], state["asked"])
    finally:
        for descriptor in handed_on:
            os.set_inheritable(descriptor, False)
        os.close(left)


def interpreter() -> list[str]:
    """The command that runs this script in this interpreter again, less the script's arguments.

    It must be asked for before `sys.argv` is changed.
    """
    script = os.path.abspath(sys.argv[0])
    if hasattr(sys, "orig_argv"):
        # Everything up to the script is the interpreter's.
        return [sys.executable, *sys.orig_argv[1 : -len(sys.argv)], script]
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    return [sys.executable, *_args_from_interpreter_flags(), script]


def _nameless_file(content: bytes) -> int:
    try:
        descriptor = os.memfd_create("hook-server")
    except (AttributeError, OSError):  # pragma: no cover - Linux has it
        from tempfile import TemporaryFile

        with TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    while content:
        content = content[os.write(descriptor, content) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
