"""`HookServer`, by the name that frontends import it by."""

from __future__ import annotations

from parallel_backend.tools import hook_server
from parallel_backend.tools.hook_server import *  # noqa: F403 - all of its names

__all__ = hook_server.__all__
