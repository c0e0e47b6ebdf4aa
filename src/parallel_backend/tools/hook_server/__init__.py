"""One warm interpreter that runs many hooks, and a client for it.

``server`` is the server: a script for any interpreter, which the rest of this package must not
reach. `HookServer` is a client for frontends in Python.
"""

from __future__ import annotations

from parallel_backend.tools.hook_server.client import HookServer
from parallel_backend.tools.hook_server.connection import SERVER
from parallel_backend.tools.hook_server.errors import (
    BackendMissingError,
    HookCancelledError,
    HookExitedError,
    HookFailedError,
    HookKilledError,
    HookMissingError,
    HookServerError,
    HookTimedOutError,
    RequestRefusedError,
    ServerEndedError,
)

__all__ = [
    "SERVER",
    "BackendMissingError",
    "HookCancelledError",
    "HookExitedError",
    "HookFailedError",
    "HookKilledError",
    "HookMissingError",
    "HookServer",
    "HookServerError",
    "HookTimedOutError",
    "RequestRefusedError",
    "ServerEndedError",
]
