"""RECORD names what was compiled, and pip then leaves nothing behind."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from bytecode_harness import SECONDS, clean_variables, write_tree, written
from parallel_backend.tools.bytecode import Options, compile_tree

TAG = sys.implementation.cache_tag
METADATA = "Metadata-Version: 2.1\nName: demo\nVersion: 1\n"
UPDATE = Options(update_record=True)


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.delenv("MAKEFLAGS", raising=False)


def install(site: Path, *rows: str, end: str = "\r\n", is_sorted: bool = True) -> Path:
    """A distribution as pip leaves it without compiling; its RECORD, with more `rows`."""
    write_tree(site, "demo/__init__.py", "demo/inner/m,m.py", "single.py")
    for source in site.rglob("*.py"):
        os.utime(source, (1_600_000_000, 1_600_000_000))  # a .pyc holds it
    info = write_tree(site / "demo-1.dist-info", "METADATA", text=METADATA)
    write_tree(info, "INSTALLER", text="pip\n")
    lines = [
        "demo-1.dist-info/INSTALLER,sha256=zuuue4knoyJ-UwPPXg8fezS7VCrXJQrAP7zeNuwvFQg,4",
        "demo-1.dist-info/METADATA,,",
        "demo-1.dist-info/RECORD,,",
        "demo/__init__.py,sha256=abc,12",
        '"demo/inner/m,m.py",,',
        "single.py,,",
        *rows,
    ]
    lines = sorted(lines, key=lambda line: line.strip('"')) if is_sorted else lines[::-1]
    record = info / "RECORD"
    record.write_bytes("".join(line + end for line in lines).encode())
    record.chmod(0o664)
    return record


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_lines_are_added_in_order(end: str, tmp_path: Path) -> None:
    record = install(tmp_path, end=end)
    report = compile_tree([tmp_path], UPDATE._replace(levels=(0, 1)), jobs=1)
    assert report.records == (str(record),)
    data = record.read_bytes()
    assert data.count(end.encode()) == data.count(b"\n") == 12
    rows = [*csv.reader(data.decode().splitlines())]
    assert rows == sorted(rows)
    added = {name for name, *rest in rows if name.endswith(".pyc") and rest == ["", ""]}
    sources = ("demo/__pycache__/__init__", "demo/inner/__pycache__/m,m", "__pycache__/single")
    assert added == {
        f"{name}.{TAG}{ending}" for name in sources for ending in (".pyc", ".opt-1.pyc")
    }
    assert "demo/__init__.py,sha256=abc,12" in data.decode().splitlines()
    assert record.stat().st_mode & 0o777 == 0o664
    assert compile_tree([tmp_path], UPDATE._replace(levels=(0, 1))).records == ()


def test_an_unsorted_record_keeps_its_order(tmp_path: Path) -> None:
    record = install(tmp_path, is_sorted=False)
    before = record.read_text().splitlines()
    compile_tree([tmp_path], UPDATE, jobs=1)
    after = record.read_text().splitlines()
    assert [line for line in after if line in before] == before
    assert after[after.index("single.py,,") + 1] == f"__pycache__/single.{TAG}.pyc,,"


def test_wrong_lines_are_mended_and_right_ones_kept(tmp_path: Path) -> None:
    install(tmp_path)
    compile_tree([tmp_path], UPDATE, jobs=1)
    data = (tmp_path / f"__pycache__/single.{TAG}.pyc").read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    right = f"__pycache__/single.{TAG}.pyc,sha256={digest},{len(data)}"
    record = install(tmp_path, right, f"demo/__pycache__/__init__.{TAG}.pyc,sha256=xxx,12")
    compile_tree([tmp_path], UPDATE)
    lines = record.read_text().splitlines()
    assert right in lines
    assert f"demo/__pycache__/__init__.{TAG}.pyc,," in lines
    for wrong in (f"sha256={digest[:-1]}x,{len(data)}", f"no-such=1,{len(data)}", "sha256=x,"):
        record = install(tmp_path, f"__pycache__/single.{TAG}.pyc,{wrong}")
        compile_tree([tmp_path], UPDATE)
        assert f"__pycache__/single.{TAG}.pyc,," in record.read_text().splitlines()


def test_without_the_option_record_is_not_touched(tmp_path: Path) -> None:
    record = install(tmp_path)
    before = record.stat()
    compile_tree([tmp_path], jobs=1)
    assert record.stat() == before


def test_a_cache_elsewhere_is_named_from_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    record = install(site)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "cache"))
    compile_tree([site], UPDATE, jobs=1)
    beside = os.path.join("../cache", str(site).lstrip("/"), f"single.{TAG}.pyc")
    assert f"{beside},," in record.read_text().splitlines()


def test_what_is_no_record_is_named_and_kept(tmp_path: Path) -> None:
    record = install(tmp_path)
    record.write_text('a,"b"x"\n')
    (tmp_path / "none-1.dist-info").mkdir()
    (tmp_path / "folder-1.dist-info/RECORD").mkdir(parents=True)
    report = compile_tree([tmp_path], UPDATE, jobs=1)
    found = [(Path(each.path).parent.name, each.message) for each in report.failures]
    assert [name for name, _ in found] == ["demo-1.dist-info", "folder-1.dist-info"]
    assert found[0][1].startswith("cannot be updated: it is no CSV file: ")
    assert record.read_text() == 'a,"b"x"\n'


def test_a_record_is_never_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = install(tmp_path)
    before = record.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    report = compile_tree([tmp_path], UPDATE, jobs=1)
    [failure] = report.failures
    assert "No space left on device" in failure.message
    assert record.read_bytes() == before
    assert [*record.parent.glob("RECORD*")] == [record]


@pytest.mark.parametrize("is_updated", [True, False])
def test_pip_uninstalls_what_record_names(is_updated: bool, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no pip")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    scheme = {"base": str(tmp_path / "env"), "platbase": str(tmp_path / "env")}
    site = Path(sysconfig.get_path("purelib", "venv", scheme))
    install(site)
    levels = (0, 1, 2)
    compile_tree([site], Options(levels=levels, update_record=is_updated), jobs=1)
    done = subprocess.run(
        [*pip, "--python", str(tmp_path / "env/bin/python"), "uninstall", "-y", "demo"],
        env={**clean_variables(), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left = {os.path.basename(os.fsdecode(name)) for name in written(site)}
    names = ("__init__", "m,m", "single")
    # pip itself knows the files of level 0, of the interpreter that it runs in.
    residue = {f"{name}.{TAG}.opt-{level}.pyc" for name in names for level in (1, 2)}
    assert left == (set() if is_updated else residue)
    assert is_updated is not (site / "demo").exists()
