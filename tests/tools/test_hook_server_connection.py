"""The connection of a client to its server: what happens where the system says no."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from hook_server_harness import before_end_is_no_child
from parallel_backend.tools.hook_server import ServerEndedError
from parallel_backend.tools.hook_server.connection import Connection


def test_ctrl_c_ends_the_server_also_where_nothing_can_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    def interrupted() -> None:
        monkeypatch.setattr(os, "read", refuse)
        raise KeyboardInterrupt

    connection = Connection(sys.executable, environment=os.environ, fork=True, patience=None)
    with pytest.raises(KeyboardInterrupt):
        connection.ask({"hook": "none"}, begun=interrupted)
    assert connection.closed
    monkeypatch.undo()
    before_end_is_no_child()


def test_a_server_that_is_gone_when_a_request_is_sent_is_told() -> None:
    connection = Connection(sys.executable, environment=os.environ, fork=True, patience=None)
    connection._process.kill()
    connection._process.wait()
    with pytest.raises(ServerEndedError, match=r"ended by signal 9, without an answer"):
        connection.ask({"hook": "none"})
    before_end_is_no_child()
