"""Archives are unpacked without trust: what they hold, and what they must not do."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_harness import tar_of
from parallel_backend.tools.cli import archives
from parallel_backend.tools.cli.archives import ArchiveError, member_texts, stem, unpack


def member(name: str, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(info, key, value)
    return info


def file(name: str, data: bytes = b"text", **more: object) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, size=len(data), **more), data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target), b""


def zip_link(name: str, target: str) -> tuple[zipfile.ZipInfo, str]:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


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
        file("one-1.0/run", b"#!", mode=0o4777, mtime=1_500_000_000),
        file("./one-1.0/sub/deep/text", b"long " * 100_000),
        link("one-1.0/same", "one-1.0/run", tarfile.LNKTYPE),
        link("one-1.0/sub/near", "deep/text"),
        link("one-1.0/sub/deep/up", "../../run"),
    ]
    tar_of(path, members)
    top = unpack(path, folder)
    assert top == folder / "one-1.0"
    run = top / "run"
    assert (run.read_bytes(), run.stat().st_mtime) == (b"#!", 1_500_000_000)
    assert stat.S_IMODE(run.stat().st_mode) & 0o7722 == 0o700
    assert (top / "sub/near").read_bytes() == b"long " * 100_000
    assert (top / "sub/deep/up").read_bytes() == (top / "same").read_bytes() == b"#!"
    assert stem(path) == "one-1.0"
    assert dict(member_texts(path, suffixes={""}, largest=2))["one-1.0/run"] == b"#!"


def test_a_zip_file_is_unpacked_as_it_was_packed(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "one-1.0.ZIP"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("one-1.0")
        archive.writestr("one-1.0/text", "long " * 100_000)
        archive.writestr(*zip_link("one-1.0/sub/near", "../text"))
    top = unpack(path, folder)
    assert (top / "sub/near").read_text() == (top / "text").read_text() == "long " * 100_000
    assert (top / "sub/near").is_symlink()
    assert stem(path) == "one-1.0"
    [(name, text)] = member_texts(path, suffixes={""}, largest=500_000)
    assert (name, len(text)) == ("one-1.0/text", 500_000)
    assert [*member_texts(path, suffixes={".c"}, largest=500_000)] == []
    assert [*member_texts(path, suffixes={""}, largest=499_999)] == []


def test_the_last_of_several_members_with_one_name_counts(tmp_path: Path, folder: Path) -> None:
    members = [
        file("one/a", b"first"),
        link("one/b", "one/a", tarfile.LNKTYPE),
        file("one/a", b"second"),
        link("one/c", "a"),
        file("one/c", b"third"),
        file("one/d", b""),
        link("one/d", "a"),
    ]
    top = unpack(tar_of(tmp_path / "one.tar", members), folder)
    assert [(top / name).read_bytes() for name in "abcd"] == [
        b"second",
        b"first",
        b"third",
        b"second",
    ]
    assert not (top / "c").is_symlink()


HOSTILE = {
    "absolute": ([file("/tmp/x")], "'/tmp/x' leads out of it"),
    "up": ([file("one/../../x")], "leads out of it"),
    "up at once": ([file("../x")], "leads out of it"),
    "device": ([(member("one/null", type=tarfile.CHRTYPE), b"")], "'one/null' is a device"),
    "fifo": ([(member("one/pipe", type=tarfile.FIFOTYPE), b"")], "'one/pipe' is a device"),
    "zero": ([file("one/x", pax_headers={"path": "one/a\0b"})], "has a zero in its name"),
    "no name": ([file("./")], "has no name"),
    "link to a root": ([link("one/x", "/etc/passwd")], "is a link to '/etc/passwd', which leads"),
    "link up": ([link("one/x", "../../y")], "leads out of it"),
    "link out of the top folder": ([link("one/x", "../y")], "leads out of it"),
    "link down and up": ([link("one/x", "sub/../../../y")], "leads out of it"),
    "link by a link": (
        [link("one/a/b/c/y", "../../../s"), file("one/s/f"), link("one/a/b/c/x", "y/../../..")],
        "leads out of it",
    ),
    "through a link": ([link("one/x", "sub"), file("one/x/y")], "leads through a link"),
    "through a file": ([file("one/x"), file("one/x/y")], "leads through a file"),
    "a folder there": ([file("one/x/y"), file("one/x")], "cannot be made: File exists"),
    "a link there": ([file("one/x/y"), link("one/x", "z")], "cannot be made: File exists"),
    "hard link out": ([link("one/x", "../../etc/passwd", tarfile.LNKTYPE)], "leads out of it"),
    "hard link to nothing": ([link("one/x", "one/y", tarfile.LNKTYPE)], "no earlier file"),
    "hard link to a link": (
        [link("one/y", "z"), link("one/x", "one/y", tarfile.LNKTYPE)],
        "no earlier file",
    ),
    "no folder": ([file("setup.py")], "must hold one folder, and nothing beside it"),
    "two folders": ([file("one/x"), file("two/x")], "must hold one folder"),
    "a link alone": ([link("one", "two")], "must hold one folder"),
    "nothing": ([], "must hold one folder"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_tar_file_is_refused_and_nothing_is_written_outside(
    tmp_path: Path, folder: Path, case: str
) -> None:
    members, told = HOSTILE[case]
    path = tar_of(tmp_path / "one.tar", members)
    with pytest.raises(ArchiveError) as caught:
        unpack(path, folder)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["one.tar", "unpacked"]


def test_a_sparse_file_is_refused(tmp_path: Path, folder: Path) -> None:
    """It is as long as it likes to say."""
    headers = {"GNU.sparse.map": "0,4", "GNU.sparse.size": str(2**40), "GNU.sparse.numblocks": "1"}
    path = tar_of(tmp_path / "one.tar", [file("one/x", pax_headers=headers)])
    with pytest.raises(ArchiveError, match="'one/x' is a sparse file"):
        unpack(path, folder)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "x" * 5000])
def test_a_link_out_of_a_zip_file_is_refused(tmp_path: Path, folder: Path, target: str) -> None:
    path = tmp_path / "one.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(*zip_link("one/x", target))
    with pytest.raises(ArchiveError, match=r"leads out of it|is too long"):
        unpack(path, folder)


def test_a_zip_file_with_a_device_is_refused(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "one.zip"
    info = zipfile.ZipInfo("one/null")
    info.external_attr = (stat.S_IFCHR | 0o666) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "")
    with pytest.raises(ArchiveError, match="'one/null' is a device"):
        unpack(path, folder)


@pytest.mark.parametrize("claim", [10, 10_000_000])
def test_a_file_is_written_as_far_as_the_archive_says(
    tmp_path: Path, folder: Path, claim: int
) -> None:
    """A zip file whose directory lies about a member of a million bytes."""
    path = tmp_path / "one.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one/x", bytes(1_000_000))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", claim)
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"cannot be unpacked|shorter than the archive says"):
        unpack(path, folder)
    assert (folder / "one/x").stat().st_size <= min(claim, 1_000_000)


def test_what_has_no_room_is_not_begun(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=99))
    path = tar_of(tmp_path / "one.tar", [file("one/a", bytes(60)), file("one/b", bytes(60))])
    with pytest.raises(ArchiveError, match=r"it holds 8,312 bytes, and .* has room for 99"):
        unpack(path, folder)
    assert not [*folder.iterdir()]


def test_unpacking_can_be_broken_off_within_a_file(tmp_path: Path, folder: Path) -> None:
    left = [None] * 6

    def heed() -> None:
        left.pop()  # IndexError in the end

    path = tar_of(tmp_path / "one.tar", [file("one/a", bytes(9 << 20))])
    with pytest.raises(IndexError):
        unpack(path, folder, heed=heed)
    assert 0 < (folder / "one/a").stat().st_size < 9 << 20


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
    assert [*member_texts(path, suffixes={""}, largest=1 << 20)] == []
