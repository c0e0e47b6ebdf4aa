"""The object store: what is in it is whole, holds, and stays within its size."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_backend.records.store import Store, open_store
from scripts import run_script

RECORD: dict[str, Any] = {"inputs": [], "absent": []}
LINE = b"[]\n"


@pytest.fixture(autouse=True)
def _in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("private").mkdir()


def opened(*, limit: int = 1 << 20, fresh: bool = False, private: str = "private") -> Store:
    return open_store(Path("build"), Path(private), limit=limit, fresh=fresh)


def keep(store: Store, key: str, content: bytes = b"object", *, build: str = "earlier") -> None:
    Path("made.o").write_bytes(content)
    store.keep(key, "made.o", RECORD, LINE, build=build)


def take(store: Store, key: str, *, holds: bool = True, mode: int = 0o666) -> bytes | None:
    Path("taken.o").unlink(missing_ok=True)
    record = store.take(key, "taken.o", holds=lambda *_: holds, mode=mode)
    taken = Path("taken.o").read_bytes() if Path("taken.o").exists() else None
    assert (record is None) == (taken is None)
    return taken


def entries() -> set[str]:
    return {path.name for path in Path("build/parallel-backend/objects").iterdir()}


@pytest.mark.parametrize("content", [b"", b"object", b"\n{}\n\0", bytes(range(256)) * 5000])
def test_what_was_kept_is_taken_byte_for_byte(content: bytes) -> None:
    keep(opened(limit=1 << 30), "key", content)
    assert take(opened(), "key") == content
    assert take(opened(), "other") is None
    assert entries() == {"key"}


def test_a_store_that_may_not_be_written_is_made_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        store = opened()
    keep(store, "key")
    assert [path.name for path in Path("private/parallel-backend/objects").iterdir()] == ["key"]


def test_a_record_that_does_not_hold_is_not_taken() -> None:
    keep(opened(), "key")
    assert take(opened(), "key", holds=False) is None
    assert take(opened(), "key") == b"object"


def test_the_record_comes_back() -> None:
    seen: list[dict[str, Any]] = []
    store = opened()
    Path("made.o").write_bytes(b"object")
    record: dict[str, Any] = {"inputs": [["é\udce9.h", [1], "x"]], "absent": []}
    store.keep("key", "made.o", record, b'["installed"]\n', build="b")

    def holds(record: dict[str, Any], line: bytes) -> bool:
        assert line == b'["installed"]\n'
        seen.append(record)
        return True

    assert store.take("key", "taken.o", holds=holds, mode=0o666) == seen[0]
    assert seen[0]["inputs"] == [["é\udce9.h", [1], "x"]]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": cut,
    "a bit": flip,
    "empty": lambda path: path.write_bytes(b""),
    "no record": lambda path: path.write_bytes(b"object"),
    "another record": lambda path: path.write_bytes(b'{"a": 1}\nobject'),
    "a list": lambda path: path.write_bytes(b"[]\nobject"),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\nobject"),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_not_taken_and_is_replaced(damage: str) -> None:
    keep(opened(), "key")
    DAMAGES[damage](Path("build/parallel-backend/objects/key"))
    assert take(opened(), "key") is None
    keep(opened(), "key")
    assert take(opened(), "key") == b"object"


def test_a_fresh_build_takes_what_it_has_kept_itself() -> None:
    keep(opened(), "earlier")
    keep(opened(), "own", build="private")
    fresh = opened(fresh=True)
    assert take(fresh, "earlier") is None
    assert take(fresh, "own") == b"object"


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o775, 0o666])
def test_the_permissions_are_those_asked_for_whatever_the_umask_is_now(mode: int) -> None:
    keep(opened(), "key")
    before = os.umask(0o027)
    try:
        assert take(opened(), "key", mode=mode) == b"object"
        assert stat.S_IMODE(Path("taken.o").stat().st_mode) == mode
    finally:
        os.umask(before)


def test_the_least_recently_used_goes_first() -> None:
    store = opened(limit=2600)
    for number, key in enumerate(("a", "b", "c")):
        keep(store, key, b"x" * 1000)
        os.utime(f"build/parallel-backend/objects/{key}", (number + 1, number + 1))
    assert take(store, "a") is not None
    store.trim()
    assert entries() == {"a", "c"}
    keep(store, "huge", b"x" * 2700)
    assert "huge" not in entries()


def test_nothing_goes_while_there_is_room() -> None:
    store = opened()
    for key in "abc":
        keep(store, key)
    store.trim()
    assert entries() == {"a", "b", "c"}


def test_what_a_killed_build_has_left_goes_after_a_day() -> None:
    store = opened()
    folder = Path("build/parallel-backend/objects")
    for name in ("tmp-old", "tmp-new"):
        (folder / name).write_bytes(b"half")
    os.utime(folder / "tmp-old", (1, 1))
    store.trim()
    assert entries() == {"tmp-new"}


def test_the_folder_says_what_it_is() -> None:
    opened()
    folder = Path("build/parallel-backend")
    assert (folder / ".gitignore").read_text() == "*\n"
    assert (folder / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172")


def test_without_a_folder_of_its_own_the_build_has_one_for_itself() -> None:
    Path("build").write_text("a file")
    store = opened()
    keep(store, "key")
    assert take(store, "key") == b"object"
    assert Path("private/parallel-backend/objects/key").exists()
    assert Path("build").read_text() == "a file"


def test_a_folder_that_goes_meanwhile_stops_nothing() -> None:
    store = opened()
    keep(store, "key")
    Path("build/parallel-backend/objects/key").unlink()
    Path("build/parallel-backend/objects").rmdir()
    assert take(store, "key") is None
    keep(store, "key")
    store.trim()


def test_threads_share_it() -> None:
    store = opened()
    Path("made.o").write_bytes(b"object" * 1000)
    wrong: list[object] = []

    def work(number: int) -> None:
        for _ in range(40):
            store.keep("key", "made.o", RECORD, LINE, build="b")
            if store.take("key", f"taken-{number}.o", holds=lambda *_: True, mode=0o666) is None:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert entries() == {"key"}


KILLED = """
import os, signal
from pathlib import Path
from parallel_backend.records.store import open_store

store = open_store(Path("build"), Path("private"), limit=1 << 30, fresh=False)
Path("made.o").write_bytes(b"x" * 3_000_000)
child = os.fork()
if not child:
    while True:
        store.keep("key", "made.o", {}, b"[]", build="b")
Path("started").touch()
while not any(path.name.startswith("tmp-") for path in Path(store.folder).iterdir()):
    pass
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""


def test_a_writer_that_is_killed_leaves_nothing_that_is_half(tmp_path: Path) -> None:
    done = run_script(KILLED, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert take(opened(), "key") in (None, b"x" * 3_000_000)


def test_where_no_earlier_build_has_kept_anything_nothing_is_looked_for() -> None:
    assert not opened().has_earlier()
    keep(opened(), "key")
    assert opened().has_earlier()
    assert not opened(fresh=True).has_earlier()
    shutil.rmtree("build")
    store = opened()
    shutil.rmtree("build")
    assert not store.has_earlier()


def test_a_store_leaves_the_build_twice_what_it_takes_of_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made"
    made.write_bytes(b"x" * 1000)
    (tmp_path / "store").mkdir()
    store = Store(tmp_path / "store", limit=10**9)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4500))
    for key in "abc":
        store.keep(key, str(made), RECORD, b"[]\n", build="b")
    assert sorted(os.listdir(tmp_path / "store")) == ["a", "b"]
