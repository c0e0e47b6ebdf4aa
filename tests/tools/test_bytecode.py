"""What is written is what compileall writes, and what is up to date is let be."""

from __future__ import annotations

import marshal
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import CodeType

import pytest

from bytecode_harness import compileall, standard_tree, write_tree, written
from interpreters import other_python
from parallel_backend.tools.bytecode import Options, compile_tree

STALE = 1_600_000_000


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.delenv("MAKEFLAGS", raising=False)


def twice(tree: Path, *arguments: str, python: str = sys.executable) -> tuple[Path, Path]:
    """Two folders with one tree each, compiled by compileall at `tree`, and not yet compiled."""
    tree = tree.relative_to(Path.cwd())
    shutil.copytree(tree, "sources", symlinks=True)
    status = compileall(*arguments, str(tree), cwd=Path.cwd(), python=python)
    assert status == 0
    Path("expected").mkdir()
    tree.rename(Path("expected", tree.name))
    Path("sources").rename(tree)
    return Path("expected", tree.name), tree


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ("", Options()),
        ("-o 0 -o 1 -o 2", Options(levels=(2, 0, 1))),
        ("-o 0 -o 1 -o 2 --hardlink-dupes", Options(levels=(0, 1, 2), hardlink_dupes=True)),
        ("-o 0 -o 2 --hardlink-dupes", Options(levels=(0, 2), hardlink_dupes=True)),
        ("-o 1", Options(levels=(1,))),
        ("--invalidation-mode checked-hash", Options(mode="checked-hash")),
        ("--invalidation-mode unchecked-hash", Options(mode="unchecked-hash")),
        ("-s tree -p /usr/lib", Options(strip="tree", prepend="/usr/lib")),
        ("-s tree/json", Options(strip="tree/json")),
        ("-s nothing/json -p x", Options(strip="nothing/json", prepend="x")),
        ("-p x", Options(prepend="x")),
        ("-d /opt", Options(destination="/opt")),
        ("-b -o 1 -o 2", Options(legacy=True, levels=(1, 2))),
        ("-x json/t|coder", Options(exclude=re.compile("json/t|coder"))),
        ("-l", Options(most_levels=0)),
        ("-r 1", Options(most_levels=1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_result_is_that_of_compileall(arguments: str, options: Options, tmp_path: Path) -> None:
    tree = standard_tree(tmp_path / "tree", "json", "importlib/metadata")
    write_tree(tree, "top.py", text="assert True, 'text'\n")
    (tree / "top.py").chmod(0o640)
    # Each encoding can hide what the levels look at.
    (tree / "utf7.py").write_bytes(b"# coding: utf-7\n+AGE-ssert f()\n")
    (tree / "latin.py").write_bytes("# coding: latin-1\nx = 'é'\n".encode("latin-1"))
    (tree / "utf8.py").write_bytes(b"#!x\n# -*- coding: utf-8 -*-\nx = 1\n")
    expected, tree = twice(tree, *arguments.split())
    report = compile_tree(["tree"], options, jobs=2)
    assert report.failures == ()
    assert written(tree) == written(expected)
    assert report.compiled == report.files
    linked = [{path.stat().st_nlink for path in each.rglob("*.pyc")} for each in (expected, tree)]
    assert linked[0] == linked[1]


@pytest.mark.smoke
def test_the_result_is_the_same_at_any_number_of_workers(tmp_path: Path) -> None:
    results = []
    for jobs in (1, 2, 5):
        tree = standard_tree(tmp_path / "tree", "json", "email")
        report = compile_tree(["tree"], Options(mode="checked-hash"), jobs=jobs)
        assert report.jobs == jobs
        results.append(written(tree))
        shutil.rmtree(tree)
    assert results[0] == results[1] == results[2]


def test_source_date_epoch_asks_for_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = write_tree(tmp_path / "tree", "a.py")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    compile_tree([tree], jobs=1)
    [(_, data)] = written(tree).values()
    assert data[4:8] == bytes([3, 0, 0, 0])


def test_the_level_of_the_interpreter_that_runs_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree", "a.py")
    tag = sys.implementation.cache_tag
    script = "import sys; from parallel_backend.tools.bytecode import *; compile_tree(sys.argv[1:])"
    source = str(Path(__file__).parents[2] / "src")
    subprocess.run(
        [sys.executable, "-O", "-X", "utf8", "-c", script, str(tree)],
        env={**os.environ, "PYTHONPATH": source},
        check=True,
    )
    assert [*written(tree)] == [f"__pycache__/a.{tag}.opt-1.pyc".encode()]


def test_a_cache_elsewhere_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = write_tree(tmp_path / "tree", "a.py", "inner/b.py")
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "cache"))
    assert compile_tree([tree], jobs=1).compiled == 2
    assert written(tree) == {}
    assert compile_tree([tree], jobs=1).up_to_date == 2
    status = compileall(str(tree), cwd=tmp_path, env={"PYTHONPYCACHEPREFIX": str(tmp_path / "c2")})
    assert status == 0
    inner = tree.relative_to("/")
    assert written(tmp_path / "cache" / inner) == written(tmp_path / "c2" / inner)


@pytest.mark.smoke
def test_what_is_up_to_date_is_let_be(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "a.py", "b.py", "c.py", "d.py")
    options = Options(levels=(0, 1))
    assert compile_tree([tree], options, jobs=2).compiled == 4
    before = {path: path.stat() for path in tree.rglob("*.pyc")}
    os.utime(tree / "a.py", (STALE, STALE))
    [lacking] = (tree / "__pycache__").glob("b.*.opt-1.pyc")
    lacking.unlink()
    [damaged] = [path for path in (tree / "__pycache__").glob("c.*") if "opt" not in path.name]
    damaged.write_bytes(b"")
    report = compile_tree([tree], options, jobs=2)
    assert (report.files, report.compiled, report.up_to_date) == (4, 3, 1)
    kept = {path.name[0] for path, status in before.items() if path.stat() == status}
    assert kept == {"d"}
    assert compile_tree([tree], options).jobs == 0
    assert compile_tree([tree], options._replace(force=True), jobs=1).compiled == 4


def test_links_are_followed_as_compileall_does(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "a.py", "folder.py/inner.py", "x.txt")
    write_tree(tmp_path / "outside", "o.py")
    (tree / "link.py").symlink_to("a.py")
    (tree / "out.py").symlink_to("../outside/o.py")
    (tree / "gone.py").symlink_to("nowhere.py")
    (tree / "linked").symlink_to("../outside")
    os.mkfifo(tree / "fifo.py")
    expected, tree = twice_without_fifo(tree, "-e", "tree")
    report = compile_tree(["tree"], Options(limit_links="tree"), jobs=1)
    assert written(tree) == written(expected)
    assert report.files == 3
    assert compile_tree(["tree"], jobs=1).files == 4


def twice_without_fifo(tree: Path, *arguments: str) -> tuple[Path, Path]:
    (tree / "fifo.py").unlink()
    pair = twice(tree, *arguments)
    os.mkfifo(pair[1] / "fifo.py")
    return pair


def test_odd_names_are_compiled(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "two\nlines.py", "a folder/öäü.py", "dotted.name.py")
    for name in (b"\xff\xfe.py", b".py"):
        with open(os.path.join(os.fsencode(tree), name), "wb") as file:
            file.write(b"x = 1\n")
    expected, tree = twice(tree)
    assert compile_tree(["tree"], jobs=2).failures == ()
    assert written(tree) == written(expected)
    assert len(written(tree)) == 5


def test_paths_in_each_other_are_compiled_one_after_the_other(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", *(f"inner/m{number}.py" for number in range(40)))
    expected, tree = twice(tree, "-d", "/x", "-f", "tree/inner")
    options = Options(destination="/x", force=True)
    compile_tree(["tree/inner", "tree", "tree/inner/m1.py"], options, jobs=3)
    result = written(tree)
    odd = [name for name, value in written(expected).items() if result[name] != value]
    assert [name.partition(b".")[0] for name in odd] == [b"inner/__pycache__/m1"]
    # A file is named by itself, in the folder that was given.
    assert code_of(result[odd[0]][1]).co_filename == "/x/m1.py"


def test_a_file_may_be_given(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "a.py", "b.py", "c.txt")
    report = compile_tree([tree / "a.py", tree / "c.txt"], jobs=1)
    assert (report.files, report.compiled, report.failures) == (1, 1, ())


SETS = """
a = {"foo", 2, 3}
def f():
    return {"foo", 2, 3}
def g():
    return "zoo" in {"bar", "zoo"}
def h():
    return "zoo" in {"bar", "zoo"}
"""


def test_what_was_compiled_before_makes_no_difference(tmp_path: Path) -> None:
    # https://github.com/python/cpython/issues/129724
    results = []
    for before in ("import foo, bar, zoo\n", "pass\n"):
        tree = write_tree(tmp_path / "tree", "sets.py", text=SETS)
        write_tree(tree, "first.py", text=before + "#" * 1000)  # a bigger one goes first
        assert compile_tree([tree], Options(mode="checked-hash"), jobs=1).compiled == 2
        [sets] = (tree / "__pycache__").glob("sets.*")
        results.append(sets.read_bytes())
        shutil.rmtree(tree)
    assert results[0] == results[1]
    assert code_of(results[0]) == compile(
        SETS, str(tmp_path / "tree/sets.py"), "exec", dont_inherit=True
    )


def code_of(data: bytes) -> CodeType:
    code = marshal.loads(data[16:])
    assert isinstance(code, CodeType)
    return code


@pytest.mark.parametrize("minor", range(8, 16))
def test_another_interpreter_may_be_compiled_for(minor: int, tmp_path: Path) -> None:
    python = other_python(minor)
    tree = write_tree(tmp_path / "tree", "a.py", "inner/b.py", text="def f(x):\n    '''d'''\n")
    arguments = [] if minor == 8 else ["-o", "0", "-o", "1", "-o", "2"]
    expected, tree = twice(tree, *arguments, python=python)
    options = Options(python=python, levels=(0,) if minor == 8 else (0, 1, 2))
    report = compile_tree(["tree"], options, jobs=2)
    assert report.failures == ()
    assert written(tree) == written(expected)
    assert compile_tree(["tree"], options, jobs=2).up_to_date == 2


def test_an_interpreter_without_a_cache_tag_is_asked_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What runs here keeps no .pyc files, but what is started does.
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    write_tree(tmp_path, "a.py")
    assert compile_tree(tmp_path, jobs=1).compiled == 1
