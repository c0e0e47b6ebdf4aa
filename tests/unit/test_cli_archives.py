"""Archives: unpacked into one folder, and nothing beside it; read for their sources."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_harness import tar_of
from parallel_backend.tools.cli import archives
from parallel_backend.tools.cli.archives import ArchiveError, member_sizes, stem, unpack


def member(name: str, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(info, key, value)
    return info


def file(name: str, data: bytes = b"text", **more: object) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, size=len(data), **more), data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target, mode=0o777), b""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "unpacked"
    made.mkdir()
    return made


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_a_tar_file_is_unpacked_as_it_was_packed(tmp_path: Path, folder: Path, suffix: str) -> None:
    path = tmp_path / f"one-1.0{suffix}"
    members = [
        (member("one-1.0", type=tarfile.DIRTYPE, mode=0o700), b""),
        file("one-1.0/run", b"#!", mode=0o4777),
        file("./one-1.0/sub/deep/text", b"long " * 100_000, mtime=1_500_000_000),
        link("one-1.0/same", "one-1.0/run", tarfile.LNKTYPE),
        link("one-1.0/sub/near", "deep/text"),
        link("one-1.0/sub/deep/up", "../../run"),
    ]
    tar_of(path, members)
    top = unpack(path, folder)
    assert top == folder / "one-1.0"
    run = top / "run"
    assert run.read_bytes() == b"#!"
    assert (top / "sub/deep/text").stat().st_mtime == 1_500_000_000
    assert stat.S_IMODE(run.stat().st_mode) & 0o7722 == 0o700
    assert (top / "sub/near").read_bytes() == b"long " * 100_000
    assert (top / "sub/deep/up").read_bytes() == (top / "same").read_bytes() == b"#!"
    assert stem(path) == "one-1.0"
    assert dict(member_sizes(path))["one-1.0/run"] == 2


def test_a_zip_file_is_unpacked_as_it_was_packed(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "one-1.0.ZIP"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("one-1.0")
        archive.writestr("one-1.0/text", "long " * 100_000)
        info = zipfile.ZipInfo("one-1.0/run")
        info.external_attr = (stat.S_IFREG | 0o755) << 16
        archive.writestr(info, "#!")
    top = unpack(path, folder)
    assert (top / "text").read_text() == "long " * 100_000
    assert [os.access(top / name, os.X_OK) for name in ("run", "text")] == [True, False]
    assert stem(path) == "one-1.0"
    sizes = {"one-1.0/": 0, "one-1.0/run": 2, "one-1.0/text": 500_000}
    assert dict(member_sizes(path)) == sizes


def test_the_last_of_several_members_with_one_name_counts(tmp_path: Path, folder: Path) -> None:
    members = [file("one/a", b"first"), file("one/b"), file("one/a", b"second")]
    top = unpack(tar_of(tmp_path / "one.tar", members), folder)
    assert (top / "a").read_bytes() == b"second"


ELSEWHERE = {
    "absolute": [file("one/x"), file("/elsewhere/x")],
    "up": [file("one/../../x")],
    "up at once": [file("../x")],
    "device": [(member("one/null", type=tarfile.CHRTYPE), b"")],
    "link to a root": [link("one/x", "/etc/passwd")],
    "link up": [link("one/x", "../../y")],
    "through a link": [link("one/x", "../.."), file("one/x/y")],
    "link by a link": [
        link("one/a/b/c/y", "../../../s"),
        file("one/s/f"),
        link("one/a/b/c/x", "y/../../../.."),
    ],
    "hard link out": [link("one/x", "../../etc/passwd", tarfile.LNKTYPE)],
    "through a file": [file("one/x"), file("one/x/y")],
    "no folder": [file("setup.py")],
    "two folders": [file("one/x"), file("two/x")],
    "a link alone": [link("one", "two")],
    "nothing": [],
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_what_is_no_sdist_is_one_line_and_nothing_is_written_outside(
    tmp_path: Path, folder: Path, case: str
) -> None:
    path = tar_of(tmp_path / "one.tar", ELSEWHERE[case])
    with pytest.raises(ArchiveError) as caught:
        unpack(path, folder)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["one.tar", "unpacked"]


def test_a_zip_file_writes_nothing_outside(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "one.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one/../../x", "text")
        archive.writestr("/one/y", "text")
    assert sorted(os.listdir(unpack(path, folder))) == ["x", "y"]
    assert sorted(os.listdir(tmp_path)) == ["one.zip", "unpacked"]


def test_unpacking_can_be_broken_off(tmp_path: Path, folder: Path) -> None:
    left = [None] * 2

    def heed() -> None:
        left.pop()  # IndexError in the end

    path = tar_of(tmp_path / "one.tar", [file(f"one/{n}") for n in range(4)])
    with pytest.raises(IndexError):
        unpack(path, folder, heed=heed)
    assert len(os.listdir(folder / "one")) == 2


def truncated(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def scribbled(path: Path) -> None:
    path.write_bytes(b"this is a text " * 99)


@pytest.mark.parametrize("suffix", archives.SUFFIXES)
@pytest.mark.parametrize("harm", [truncated, emptied, scribbled, os.unlink])
def test_a_broken_archive_is_one_line(
    tmp_path: Path, folder: Path, suffix: str, harm: Callable[[Path], None]
) -> None:
    path = tmp_path / f"one{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("one/x", os.urandom(100_000))
    else:
        tar_of(path, [file("one/x", os.urandom(100_000))])
    harm(path)
    with pytest.raises(ArchiveError, match="cannot be unpacked") as caught:
        unpack(path, folder)
    assert "\n" not in str(caught.value)
    assert len([*member_sizes(path)]) <= 1
