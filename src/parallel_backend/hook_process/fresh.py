"""A hook's process that is a fresh interpreter: where a fork is not safe.

It reads a request from a file in the hook's private directory, becomes as a fork would be
(`sys.path`, `sys.argv`, what is to be called), and goes on as one. Environment, current directory
and standard input it inherits.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parallel_backend.descriptors import Private
from parallel_backend.errors import HookProcessError
from parallel_backend.hook_process.channel import Channel, HookProcess, Mask
from parallel_backend.hook_process.child import be_the_hook
from parallel_backend.hook_process.process_groups import record_of, take_record

__all__ = ["attend_by_threads", "main", "start"]

_PACKAGE = Path(__file__).resolve().parents[1]
_REQUEST = "request"

# A frontend may find this package by a finder of its own (PEP 517's backend-path), so that its
# place is told. Nothing is imported from the current directory.
_BOOTSTRAP = """
import importlib.util, pickle, sys
with open(sys.argv[1], "rb") as stream:
    request = pickle.load(stream)
sys.path[:], sys.argv[:] = request["path"], request["argv"]
spec = importlib.util.spec_from_file_location(request["name"], request["init"])
sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from parallel_backend.hook_process.fresh import main
main(request)
"""


def start(
    function: Callable[[Path], Any], private: Path, channel: Channel, mask: Mask
) -> HookProcess:
    """Start a fresh interpreter that calls `function`, which must be picklable."""
    relayed = {relay.name: relay.outlet.number for relay in channel.relays}
    inherited = (channel.result, channel.lifeline, record_of(private))
    # Elsewhere descriptors are not inherited: the result then comes in a file.
    numbers = [each.number for each in inherited] if inherits_descriptors() else []
    request = {
        "path": sys.path,
        "argv": getattr(sys, "argv", [""]),
        "name": _PACKAGE.name,
        "init": str(_PACKAGE / "__init__.py"),
        "private": private,
        "descriptors": numbers,
        "relayed": [*relayed],
        "mask": mask,
        "function": _pickled(function),
    }
    (private / _REQUEST).write_bytes(pickle.dumps(request))
    options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    command = [sys.executable, *options, "-c", _BOOTSTRAP, str(private / _REQUEST)]
    try:
        process = subprocess.Popen(
            command,
            stdout=relayed.get("stdout"),
            stderr=relayed.get("stderr"),
            pass_fds=numbers,
        )
    except OSError as error:
        raise HookProcessError(
            f"the process of the build hook cannot be started: {error.strerror or error}"
        ) from error
    if inherits_descriptors():
        return HookProcess(
            process.pid, process.wait, lambda patience: channel.attend(process.pid, patience)
        )
    return HookProcess(
        process.pid, process.wait, lambda patience: attend_by_threads(process, channel, patience)
    )


def inherits_descriptors() -> bool:
    """Whether a process has the descriptors that its parent passes: not on Windows."""
    return os.name == "posix"


def _pickled(function: Callable[[Path], Any]) -> bytes:
    try:
        return pickle.dumps(function)
    except Exception as error:  # whatever the class of a config setting raises
        raise HookProcessError(
            f"the arguments of the build hook cannot be sent to its process: {error}"
        ) from error


def attend_by_threads(
    process: subprocess.Popen[bytes], channel: Channel, patience: float | None
) -> bool:
    """Do what `Channel.attend` does, where pipes cannot be selected, as on Windows."""
    readers = [threading.Thread(target=relay.drain, daemon=True) for relay in channel.relays]
    for reader in readers:
        reader.start()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        return False
    for reader in readers:
        reader.join(1.0)  # what the hook left running may hold the pipe open
    return True


def main(request: dict[str, Any]) -> None:
    """Be the hook's process."""
    private = request["private"]
    result = lifeline = None
    if request["descriptors"]:
        result, lifeline, record = request["descriptors"]
        result, lifeline = Private(result), Private(lifeline)
        take_record(private, record)
    for name in request["relayed"]:
        stream: Any = getattr(sys, name)
        stream.reconfigure(encoding="utf-8", errors="surrogateescape", line_buffering=True)

    def function(directory: Path) -> Any:
        return pickle.loads(request["function"])(directory)

    be_the_hook(
        function, private, result=result, lifeline=lifeline, relays=[], mask=request["mask"]
    )
    os._exit(0)
