"""The pool that this build serves, in a FIFO or in memory."""

from __future__ import annotations

import contextlib
import os
import selectors
from collections.abc import Callable
from pathlib import Path

import pytest

from jobserver_harness import Opener, take_all
from parallel_backend.errors import JobserverError
from parallel_backend.jobserver import Pool, makeflags, server

pytest_plugins = ["jobserver_fixtures"]


@pytest.mark.parametrize("slots", [1, 2, 64])
def test_the_server_has_a_token_for_each_slot_but_its_own(
    slots: int, opened: Opener, tmp_path: Path
) -> None:
    with opened("", slots=slots) as tokens:
        assert tokens.limit == slots
        assert tokens.description == f"{slots} job slots of this build's own"
        path = tmp_path / "jobserver"
        words = f"-j{slots} --jobserver-auth=fifo:{path}"
        assert tokens.environment["CARGO_MAKEFLAGS"] == words
        assert tokens.environment["MAKEFLAGS"].split()[-1] == words.split()[1]
        assert path.stat().st_mode & 0o777 == 0o600
        assert len(take_all(tokens)) == slots - 1
        with opened(tokens.environment["MAKEFLAGS"]) as child:
            assert child.acquire() is None
    assert list(tmp_path.iterdir()) == []
    assert opened.reports == []


def test_the_fifo_is_gone_after_an_error(opened: Opener, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), opened(""):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_does_not_delete_the_fifo(opened: Opener, tmp_path: Path) -> None:
    with opened("") as tokens:
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                tokens.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert (tmp_path / "jobserver").is_fifo()


def served_at(tokens: Pool) -> Path:
    auth = makeflags.find_auth(tokens.environment["MAKEFLAGS"])
    assert auth is not None
    return Path(auth.removeprefix("fifo:"))


@pytest.mark.parametrize("name", ["a b", "a$b", "a\\b", "\udcff", "none"])
def test_a_folder_that_cannot_serve_is_replaced_by_a_temporary_one(
    name: str, opened: Opener
) -> None:
    opened.private /= name
    if name != "none":
        opened.private.mkdir()
    with opened("") as tokens:
        path = served_at(tokens)
        assert path.is_fifo()
        assert path.parent.name.startswith("parallel-backend-")
        assert len(take_all(tokens)) == 2
    assert not path.parent.exists()
    assert opened.reports == []


def test_a_fifo_that_cannot_be_opened_is_not_left(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with opened("", slots=2):
            assert list(tmp_path.iterdir()) == []
    assert opened.reports[0].startswith("no FIFO can be made here")


def test_more_slots_than_a_fifo_holds_are_cut(opened: Opener) -> None:
    with opened("", slots=2_000_000) as tokens:
        assert tokens.limit is not None
        assert 1 < tokens.limit < 2_000_000
        assert f"-j{tokens.limit} " in tokens.environment["CARGO_MAKEFLAGS"]
        expected = f"2000000 job slots are more than a FIFO holds; going on with {tokens.limit}"
        assert opened.reports == [expected]


def test_nothing_is_left_when_children_cannot_be_told(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> dict[str, str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "tell_children", fail)
    with pytest.raises(KeyboardInterrupt), opened(""):
        pass
    assert list(tmp_path.iterdir()) == []


# Without FIFOs


def _no_mkfifo(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(os, "mkfifo")


def _failing_mkfifo(patch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    patch.setattr(os, "mkfifo", fail)


def _nowhere_to_write(patch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> str:
        raise OSError(30, "Read-only file system")

    _failing_mkfifo(patch)
    patch.setattr("tempfile.mkdtemp", fail)


SHARES_NOTHING = "no FIFO can be made here, so what the build starts does not share its job slots"


@pytest.mark.parametrize(
    ("break_it", "reports"),
    [
        (_no_mkfifo, []),
        (_failing_mkfifo, [SHARES_NOTHING]),
        (_nowhere_to_write, [SHARES_NOTHING]),
    ],
)
def test_without_fifos_tokens_are_in_memory(
    break_it: Callable[[pytest.MonkeyPatch], None],
    reports: list[str],
    opened: Opener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_it(monkeypatch)
    with opened("", slots=3) as tokens, selectors.DefaultSelector() as selector:
        selector.register(tokens, selectors.EVENT_READ)
        assert (tokens.limit, tokens.environment) == (3, {})
        for _ in range(2):
            assert selector.select(0)
            assert take_all(tokens) == [b"+", b"+"]
            assert not selector.select(0)
            tokens.release(b"+")
            assert selector.select(0)
            tokens.release(b"+")
        with pytest.raises(JobserverError, match="not held"):
            tokens.release(b"+")
        assert tokens.acquire() == b"+"
        with pytest.raises(JobserverError, match="not held"):
            tokens.release(b"-")
        selector.unregister(tokens)
        tokens.close()
        with pytest.raises(JobserverError, match="is closed"):
            tokens.acquire()
    assert opened.reports == reports


def test_one_slot_in_memory_has_no_token(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    _no_mkfifo(monkeypatch)
    with opened("", slots=1) as tokens, selectors.DefaultSelector() as selector:
        selector.register(tokens, selectors.EVENT_READ)
        assert tokens.acquire() is None
        assert not selector.select(0)


def test_a_jobserver_that_needs_fifos_is_reported_without_them(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_mkfifo(monkeypatch)
    with opened("--jobserver-auth=gmake_semaphore_12"):
        pass
    (report,) = opened.reports
    assert "is not usable: this system has no FIFOs; going on with 3 job slots" in report
