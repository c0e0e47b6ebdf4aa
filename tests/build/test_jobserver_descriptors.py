"""A client of two descriptors R,W, inherited or an ancestor's."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from jobserver_harness import Opener
from parallel_backend.jobserver import client

pytest_plugins = ["jobserver_fixtures"]


@pytest.mark.parametrize("option", ["auth", "fds"])
def test_inherited_descriptors_serve_tokens(
    option: str, pipe: tuple[int, int], opened: Opener
) -> None:
    reader, writer = pipe
    os.write(writer, b"a\x00")
    with opened(f" -j3 --jobserver-{option}={reader},{writer}") as tokens:
        assert tokens.acquire() == b"a"
        assert tokens.acquire() == b"\x00"
        assert tokens.acquire() is None
    assert sorted(os.read(reader, 9)) == sorted(b"a\x00")
    assert opened.reports == []


def test_inherited_descriptors_stay_blocking(pipe: tuple[int, int], opened: Opener) -> None:
    reader, writer = pipe
    before = [fcntl.fcntl(end, fcntl.F_GETFL) for end in pipe]
    with opened(f"--jobserver-auth={reader},{writer}") as tokens:
        assert tokens.acquire() is None
        assert [fcntl.fcntl(end, fcntl.F_GETFL) for end in pipe] == before
        assert not fcntl.fcntl(tokens.fileno(), fcntl.F_GETFD) & ~fcntl.FD_CLOEXEC
    assert os.get_blocking(reader)
    assert os.get_blocking(writer)


def test_a_pipe_client_names_a_path_that_children_can_open(
    pipe: tuple[int, int], opened: Opener
) -> None:
    reader, writer = pipe
    os.write(writer, b"ab")
    with opened(f"k -j3 --jobserver-auth={reader},{writer} -- A=b", jobs=3) as tokens:
        path = f"fifo:/proc/{os.getpid()}/fd/{tokens.fileno()}"
        assert tokens.environment["CARGO_MAKEFLAGS"] == f"-j3 --jobserver-auth={path}"
        flags = tokens.environment["MAKEFLAGS"]
        assert flags.startswith("k ")
        assert "A=b" in flags.split()
        assert f"{reader},{writer}" not in flags
        with opened(flags) as child:
            assert child.acquire() == b"a"
            assert tokens.acquire() == b"b"
            assert child.acquire() is None
    assert sorted(os.read(reader, 9)) == sorted(b"ab")
    assert opened.reports == []


def refused(opened: Opener, reader: int, writer: int) -> str:
    """Return why R,W are refused, as reported."""
    with opened(f"--jobserver-auth={reader},{writer}"):
        pass
    (report,) = opened.reports
    start = f"the jobserver {reader},{writer} of MAKEFLAGS is not usable: "
    end = ", and no parent that is make has it; a + in front of the recipe's command passes it on"
    assert report.startswith(start)
    reason, found, _ = report.removeprefix(start).partition(end)
    assert found
    return reason


@pytest.fixture
def _no_make_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # These tests may themselves run under make.
    monkeypatch.setattr(client, "_ancestors", list)


@pytest.mark.usefixtures("_no_make_above")
class TestDescriptorsAreRefused:
    def test_closed(self, pipe: tuple[int, int], opened: Opener) -> None:
        reader = os.dup(pipe[0])
        os.close(reader)
        assert refused(opened, reader, pipe[1]) == f"descriptor {reader} is closed"

    def test_another_file(self, pipe: tuple[int, int], opened: Opener, tmp_path: Path) -> None:
        with (tmp_path / "log").open("w") as file:
            reason = refused(opened, pipe[0], file.fileno())
            assert reason == f"descriptor {file.fileno()} is not a pipe"

    def test_two_pipes(self, pipe: tuple[int, int], opened: Opener) -> None:
        reader, writer = os.pipe()
        try:
            reason = refused(opened, pipe[0], writer)
            assert reason == f"descriptors {pipe[0]} and {writer} are not one pipe"
        finally:
            os.close(reader)
            os.close(writer)

    def test_read_end_twice(self, pipe: tuple[int, int], opened: Opener) -> None:
        assert refused(opened, pipe[0], pipe[0]) == f"descriptor {pipe[0]} cannot be written"

    def test_write_end_first(self, pipe: tuple[int, int], opened: Opener) -> None:
        assert refused(opened, pipe[1], pipe[1]) == f"descriptor {pipe[1]} cannot be read"

    def test_a_pipe_made_since(self, opened: Opener) -> None:
        reader, writer = os.pipe()
        try:
            reason = refused(opened, reader, writer)
            assert reason == f"descriptors {reader} and {writer} are a pipe of this process"
        finally:
            os.close(reader)
            os.close(writer)

    def test_another_user_s_pipe(
        self, pipe: tuple[int, int], opened: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.open

        def forbid(path: str, flags: int, *mode: int) -> int:
            if path.startswith("/proc/self/fd/"):
                raise PermissionError(13, "Permission denied")
            return real(path, flags, *mode)

        monkeypatch.setattr(os, "open", forbid)
        reason = refused(opened, *pipe)
        assert reason == f"descriptor {pipe[0]} cannot be opened: Permission denied"

    def test_a_number_that_changes_hands_meanwhile(
        self, pipe: tuple[int, int], opened: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        identities = iter([(1, 1), (1, 1), (1, 2)])
        monkeypatch.setattr(client, "_identity", lambda _: next(identities))
        assert refused(opened, *pipe) == f"descriptor {pipe[0]} changed meanwhile"

    def test_no_proc(
        self,
        pipe: tuple[int, int],
        opened: Opener,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr(client, "PROC", str(tmp_path / "none"))
        assert refused(opened, *pipe) == "this system has no /proc to open a pipe anew with"


def process(proc: Path, pid: str, *, name: str, parent: int, fds: dict[int, int]) -> None:
    """Write a process into a made-up /proc, whose descriptors are some of this process."""
    folder = proc / pid
    for part in ("fd", "fdinfo"):
        (folder / part).mkdir(parents=True)
    (folder / "status").write_text(f"Name:\t{name}\nUmask:\t0022\nPPid:\t{parent}\nPid:\t{pid}\n")
    for number, real in fds.items():
        (folder / "fd" / str(number)).symlink_to(f"/proc/self/fd/{real}")
        info = Path(f"/proc/self/fdinfo/{real}").read_text()
        (folder / "fdinfo" / str(number)).write_text(info)


@pytest.mark.parametrize("name", ["make", "gmake", "make-4.3", "x86_64-linux-gnu-make", "remake"])
def test_the_nearest_make_above_that_has_the_pipe_is_asked(
    name: str,
    pipe: tuple[int, int],
    opened: Opener,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = os.pipe()
    fds = {33: pipe[0], 34: pipe[1]}
    others = {33: other[0], 34: other[1]}
    process(tmp_path, "self", name="python", parent=9, fds={})
    process(tmp_path, "9", name="cmake", parent=8, fds=others)
    process(tmp_path, "8", name="make", parent=7, fds={33: pipe[0]})
    process(tmp_path, "7", name=name, parent=6, fds=fds)
    process(tmp_path, "6", name="make", parent=0, fds=others)
    monkeypatch.setattr(client, "PROC", str(tmp_path))
    os.write(pipe[1], b"x")
    try:
        with opened("--jobserver-auth=33,34") as tokens:
            assert tokens.acquire() == b"x"
            assert tokens.description == "the jobserver 33,34 of process 7"
            # This made-up /proc has no folder for our own number: nothing to tell children.
            assert tokens.environment == {}
        assert os.read(pipe[0], 9) == b"x"
        assert opened.reports == []
    finally:
        os.close(other[0])
        os.close(other[1])


@pytest.mark.parametrize("above", ["the top", "a hidden process"])
def test_the_search_for_make_ends_at(
    above: str, opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(tmp_path, "self", name="python", parent=9, fds={})
    process(tmp_path, "9", name="qmake", parent=0 if above == "the top" else 8, fds={})
    monkeypatch.setattr(client, "PROC", str(tmp_path))
    assert refused(opened, 33, 34) == "descriptor 33 is closed"
