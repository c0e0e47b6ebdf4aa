"""A client of a FIFO or a character device that somebody else serves."""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
from pathlib import Path

import pytest

from jobserver_harness import SECONDS, Opener, run_python, start_python, take_all, tokens_in
from parallel_backend.errors import JobserverError
from parallel_backend.jobserver import makeflags

pytest_plugins = ["jobserver_fixtures"]


def test_tokens_come_back_byte_for_byte(fifo: tuple[Path, int], opened: Opener) -> None:
    path, fd = fifo
    os.write(fd, b"a\x00\xff+")
    with opened(f" -j5 --jobserver-auth=fifo:{path}") as tokens:
        assert take_all(tokens) == [b"a", b"\x00", b"\xff", b"+"]
        for token in (b"\xff", b"a"):
            tokens.release(token)
        assert tokens_in(fd) == b"\xffa"
    assert sorted(tokens_in(fd)) == sorted(b"\x00+")
    assert opened.reports == []


def test_closing_twice_gives_back_once(fifo: tuple[Path, int], opened: Opener) -> None:
    path, fd = fifo
    os.write(fd, b"xy")
    with opened(f"--jobserver-auth=fifo:{path}") as tokens:
        assert tokens.acquire() == b"x"
        tokens.close()
        tokens.close()
        for use in (tokens.acquire, tokens.fileno, lambda: tokens.release(b"x")):
            with pytest.raises(JobserverError, match="is closed"):
                use()
    assert tokens_in(fd) == b"yx"


def test_only_a_held_token_can_be_given_back(fifo: tuple[Path, int], opened: Opener) -> None:
    path, fd = fifo
    os.write(fd, b"x")
    with opened(f"--jobserver-auth=fifo:{path}") as tokens:
        assert tokens.acquire() == b"x"
        with pytest.raises(JobserverError, match="b'y' is not held"):
            tokens.release(b"y")
        tokens.release(b"x")
        with pytest.raises(JobserverError, match="b'x' is not held"):
            tokens.release(b"x")
    assert tokens_in(fd) == b"x"


def test_explicit_jobs_bound_a_client(fifo: tuple[Path, int], opened: Opener) -> None:
    path, fd = fifo
    os.write(fd, b"abcde")
    with opened(f"--jobserver-auth=fifo:{path}", jobs=3) as tokens:
        assert tokens.limit == 3
        assert take_all(tokens) == [b"a", b"b"]
        tokens.release(b"a")
        assert tokens.acquire() == b"c"
    assert sorted(tokens_in(fd)) == sorted(b"abcde")
    with opened(f"--jobserver-auth=fifo:{path}") as tokens:
        assert tokens.limit is None


def test_descriptor_is_readable_when_a_token_is_free(
    fifo: tuple[Path, int], opened: Opener
) -> None:
    path, fd = fifo
    with opened(f"--jobserver-auth=fifo:{path}") as tokens, selectors.DefaultSelector() as selector:
        selector.register(tokens, selectors.EVENT_READ)
        assert not selector.select(0)
        os.write(fd, b"x")
        assert selector.select(30)
        assert tokens.acquire() == b"x"
        assert not selector.select(0)


def test_a_forked_child_gives_nothing_back(fifo: tuple[Path, int], opened: Opener) -> None:
    path, fd = fifo
    os.write(fd, b"x")
    with opened(f"--jobserver-auth=fifo:{path}") as tokens:
        assert tokens.acquire() == b"x"
        child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(BaseException):
                with pytest.raises(JobserverError, match="belongs to the process"):
                    tokens.acquire()
                tokens.close()
                status = 0
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert tokens_in(fd) == b""
    assert tokens_in(fd) == b"x"


INTERRUPTED = """
import contextlib, os, pathlib, signal, sys
from parallel_backend.jobserver import open_pool

class Interrupted(BaseException):
    pass

def interrupt(*_):
    if armed:
        armed.clear()
        raise Interrupted

def work(pool):
    # Not in the with statement itself: CPython 3.13 leaves a loop's jump back out of it.
    while armed:
        token = pool.acquire()
        other = pool.acquire()
        pool.release(token)
        pool.release(other)

path = sys.argv[1]
fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
armed = []
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
for _ in range(1000):
    with open_pool(
        makeflags=f"--jobserver-auth=fifo:{path}",
        jobs=None, slots=lambda: 1, private=pathlib.Path(), report=sys.exit,
    ) as pool, contextlib.suppress(Interrupted):
        armed.append(True)
        work(pool)
    found = os.read(fd, 9)
    if sorted(found) != sorted(b"abc"):
        sys.exit(f"{found}")
    os.write(fd, found)
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signal_neither_loses_nor_doubles_a_token(fifo: tuple[Path, int]) -> None:
    path, fd = fifo
    os.write(fd, b"abc")
    # In a process of its own: an exception in the middle of coverage's tracer would stop it dead.
    run_python(INTERRUPTED, str(path))
    assert sorted(tokens_in(fd)) == sorted(b"abc")


def test_threads_share_a_pool(fifo: tuple[Path, int], opened: Opener) -> None:
    path, fd = fifo
    os.write(fd, b"abc")
    with opened(f"--jobserver-auth=fifo:{path}") as tokens:

        def work() -> None:
            for _ in range(300):
                token = tokens.acquire()
                if token is not None:
                    tokens.release(token)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(tokens_in(fd)) == sorted(b"abc")


CONTENDER = """
import fcntl, mmap, os, pathlib, selectors, sys
from parallel_backend.jobserver import open_pool

flags, board = sys.argv[1:]
with open(board, "r+b") as file, open_pool(
    makeflags=flags, jobs=None, slots=lambda: 1, private=pathlib.Path(), report=sys.exit
) as pool, selectors.DefaultSelector() as selector:
    in_use = mmap.mmap(file.fileno(), 2)
    selector.register(pool, selectors.EVENT_READ)

    def count(step):
        fcntl.lockf(file, fcntl.LOCK_EX)
        in_use[0] += step
        in_use[1] = max(in_use[1], in_use[0])
        fcntl.lockf(file, fcntl.LOCK_UN)

    done = 0
    while done < 200:
        selector.select()
        token = pool.acquire()
        if token is not None:
            count(+1)
            count(-1)
            pool.release(token)
            done += 1
"""


def test_contending_processes_never_exceed_the_tokens(
    fifo: tuple[Path, int], opened: Opener, tmp_path: Path
) -> None:
    path, fd = fifo
    os.write(fd, b"abc")
    board = tmp_path / "board"
    board.write_bytes(b"\0\0")
    flags = f"--jobserver-auth=fifo:{path}"
    children = [start_python(CONTENDER, flags, str(board)) for _ in range(6)]
    assert [child.communicate(timeout=SECONDS)[1] for child in children] == [""] * 6
    assert [child.returncode for child in children] == [0] * 6
    in_use, peak = board.read_bytes()
    assert in_use == 0
    assert 1 <= peak <= 3
    assert sorted(tokens_in(fd)) == sorted(b"abc")


def test_a_character_device_serves_tokens(opened: Opener) -> None:
    import tty

    try:
        master, slave = os.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal here: {error}")
    tty.setraw(slave)
    os.set_blocking(master, False)
    try:
        os.write(master, b"abc")
        with opened(f"--jobserver-auth=fifo:{os.ttyname(slave)}") as tokens:
            assert take_all(tokens) == [b"a", b"b", b"c"]
            tokens.release(b"b")
            assert os.read(master, 9) == b"b"
        assert os.read(master, 9) == b"ac"
        assert opened.reports == []
    finally:
        os.close(master)
        os.close(slave)


def test_a_device_that_goes_away_is_one_error(opened: Opener) -> None:
    try:
        master, slave = os.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal here: {error}")
    import tty

    tty.setraw(slave)
    os.write(master, b"ab")
    try:
        with opened(f"--jobserver-auth=fifo:{os.ttyname(slave)}") as tokens:
            assert tokens.acquire() == b"a"
            assert tokens.acquire() == b"b"
            os.close(master)
            # Hung up, it first reads as ended and cannot be written.
            with pytest.raises(JobserverError, match=r"has ended|cannot be read"):
                tokens.acquire()
            with pytest.raises(JobserverError, match="does not take a token back: Input/output"):
                tokens.release(b"a")
    finally:
        os.close(slave)


def test_a_device_that_is_empty_for_good_is_one_error(opened: Opener) -> None:
    ended = pytest.raises(JobserverError, match="the jobserver at /dev/null has ended")
    with opened("--jobserver-auth=fifo:/dev/null") as tokens, ended:
        tokens.acquire()


def test_a_pool_that_cannot_be_read_is_one_error(
    fifo: tuple[Path, int], opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    with opened(f"--jobserver-auth=fifo:{fifo[0]}") as tokens:
        monkeypatch.setattr(os, "read", fail)
        with pytest.raises(JobserverError) as caught:
            tokens.acquire()
        monkeypatch.undo()
    expected = f"the jobserver at {fifo[0]} cannot be read: Input/output error"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("auth", "reason"),
    [
        ("fifo:{folder}/none", "{folder}/none cannot be opened: No such file or directory"),
        ("fifo:", " cannot be opened: No such file or directory"),
        ("fifo:{folder}", "{folder} is neither a FIFO nor a character device"),
        ("gmake_semaphore_12", "it is neither fifo:PATH nor two descriptors R,W"),
        ("-2,-2", "make turned it off for this command"),
    ],
)
def test_an_unusable_jobserver_is_reported_once_and_replaced(
    auth: str, reason: str, opened: Opener, tmp_path: Path
) -> None:
    auth, reason = auth.format(folder=tmp_path), reason.format(folder=tmp_path)
    with opened(f"k -j4 --jobserver-auth={auth}", jobs=4) as tokens:
        assert len(opened.reports) == 1
        assert opened.reports[0].startswith(
            f"the jobserver {auth} of MAKEFLAGS is not usable: {reason}"
        )
        assert opened.reports[0].endswith("; going on with 3 job slots of this build's own")
        assert len(take_all(tokens)) == 2
        assert makeflags.find_auth(tokens.environment["MAKEFLAGS"]) == (
            f"fifo:{tmp_path}/jobserver"
        )
    assert len(opened.reports) == 1


def test_a_fifo_client_tells_cargo_what_make_knows(
    fifo: tuple[Path, int], opened: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    auth = f"--jobserver-auth=fifo:{fifo[0]}"
    with opened(f" -j4 {auth}", jobs=4) as tokens:
        assert tokens.environment == {"CARGO_MAKEFLAGS": f"-j4 {auth}"}
    with opened(auth) as tokens:
        assert tokens.environment == {"CARGO_MAKEFLAGS": f"-j {auth}"}
    spaced = tmp_path / "a b"
    spaced.symlink_to(fifo[0])
    with opened(f"--jobserver-auth=fifo:{tmp_path}/a\\ b") as tokens:
        assert tokens.environment == {}
    assert opened.reports == []
    monkeypatch.setenv("CARGO_MAKEFLAGS", "-j")
    with opened(auth) as tokens:
        assert tokens.environment == {}
