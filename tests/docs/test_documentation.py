"""The documentation: its commands run, its links lead somewhere, it tells what the code says."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from documentation import Block, anchors, blocks, fences, links, pages, shows
from harness import PACKAGES, REPOSITORY, SOURCE
from messages import documented, messages, texts
from parallel_backend.settings import VARIABLES

_PATIENCE = 300  # seconds; a page that hangs fails its test, not the whole run
_MARK = "\x1e"

PAGES = {str(page.relative_to(REPOSITORY)): page for page in pages()}
RUN = [
    name for name, page in PAGES.items() if any("not run" not in b.markers for b in blocks(page))
]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder that looks like a clone to those who read: examples, and what the pages name."""
    folder = tmp_path / "clone"
    leave = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__", "*.so")
    shutil.copytree(REPOSITORY / "examples", folder / "examples", ignore=leave)
    shutil.copytree(PACKAGES / "shared_source", folder / "tests/projects/shared_source")
    for each in (".venv/lib", ".venv/usr/lib"):
        (folder / each).mkdir(parents=True)
        (folder / each / "module.py").write_text("VALUE = 1\n")
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What an environment is in which this backend is installed; nothing outside is written."""
    programs, packages, home = tmp_path / "bin", tmp_path / "packages", tmp_path / "home"
    information = packages / "parallel_backend-0.1.0.dist-info"
    for folder in (programs, information, home / ".config" / "fish" / "completions"):
        folder.mkdir(parents=True)
    text = "Metadata-Version: 2.1\nName: parallel-backend\nVersion: 0.1.0\n"
    (information / "METADATA").write_text(text)
    for name, words in (("python", ""), ("parallel-backend", " -m parallel_backend")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        (programs / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(SOURCE), str(packages)]),
        "CFLAGS": "-O0",
        "LC_ALL": "C",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "DESTDIR": str(tmp_path / "clone" / ".venv"),
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="they are commands of Linux")
@pytest.mark.skipif(not shutil.which("bash"), reason="the program bash")
@pytest.mark.parametrize("name", RUN)
def test_the_commands_of_a_page_print_what_it_shows(
    name: str, scratch: Path, environment: dict[str, str]
) -> None:
    path = environment["PATH"]
    run, lacking = [], []
    for block in blocks(PAGES[name]):
        missing = [
            each
            for each in block.markers.get("needs", "").split()
            if not shutil.which(each, path=path)
        ]
        lacking += missing
        if not missing and "not run" not in block.markers:
            run.append(block)
    for block, results in zip(run, _results(run, scratch, environment), strict=True):
        _check(block, results)
    if lacking:
        pytest.skip(f"some blocks need {', '.join(lacking)}")


def _results(
    run: Sequence[Block], scratch: Path, environment: dict[str, str]
) -> Iterator[list[tuple[str, int]]]:
    """What each command of each block printed, and its exit status; one shell runs them all."""
    script = [f"cd '{scratch}'"]
    for block in run:
        if "in" in block.markers:
            script.append(f"cd '{scratch / block.markers['in']}'")
        for command in block.commands:
            script += [command.text, f"printf '\\n{_MARK}%d{_MARK}' $?"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=_PATIENCE,
        check=False,
    )
    parts = done.stdout.split(_MARK)
    results = list(zip(parts[0::2], map(int, parts[1::2]), strict=False))
    for block in run:
        size = len(block.commands)
        yield results[:size]
        del results[:size]


def _check(block: Block, results: Sequence[tuple[str, int]]) -> None:
    assert len(results) == len(block.commands), f"{block.place} ended its shell"
    last = block.commands[-1]
    for command, (printed, status) in zip(block.commands, results, strict=True):
        told = f"{block.place}: $ {command.text}\n{printed}\nexit status {status}"
        assert (status != 0) == ("fails" in block.markers and command is last), told
        expected = () if "output differs" in block.markers else command.output
        missing = shows(expected, printed, numbers="numbers differ" not in block.markers)
        assert not missing, f"{told}\nnot printed: {missing}"


@pytest.mark.parametrize("name", PAGES)
def test_a_block_that_is_not_run_says_why(name: str) -> None:
    for block in blocks(PAGES[name]):
        assert block.markers.get("not run", "a reason"), block.place
        assert all(command.text for command in block.commands), block.place


@pytest.mark.parametrize("name", PAGES)
def test_commands_stand_in_blocks_that_are_run(name: str) -> None:
    found = fences(PAGES[name])
    hidden = [inside for kind, inside in found if kind != "console" and "\n$ " in f"\n{inside}"]
    assert not hidden


@pytest.mark.parametrize("name", PAGES)
def test_code_in_a_page_can_be_read(name: str) -> None:
    for kind, inside in fences(PAGES[name]):
        if kind == "python":
            ast.parse(inside)
        elif kind == "toml":
            tomllib.loads(inside)
        elif kind in ("sh", "bash") and shutil.which("bash"):
            done = subprocess.run(["bash", "-n"], input=inside, text=True, check=False)
            assert done.returncode == 0, f"{name}: {inside}"


def test_what_was_not_printed_is_seen() -> None:
    printed = "one 1 in 0.3 s\ntwo\nthree 3\n"
    assert shows(("one 1 in 0.9 s", "...", "thr... 3"), printed, numbers=True) == ""
    assert shows(("one 2 in 0.9 s",), printed, numbers=True) == "one 2 in 0.9 s"
    assert shows(("one 2 in 0.9 s",), printed, numbers=False) == ""
    assert shows(("two", "one 1 in 0.3 s"), printed, numbers=True) == "one 1 in 0.3 s"


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = PAGES[name]
    for link in links(page):
        if "://" in link:
            assert re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[^\s<>]*)?", link), link
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name}: {link}"
        assert not anchor or anchor in anchors(target), f"{name}: {link}"


@pytest.mark.parametrize("name", PAGES)
def test_files_and_sessions_that_are_named_exist(name: str) -> None:
    text = PAGES[name].read_text(encoding="utf-8")
    for path in re.findall(r"(?<![\w/])(?:tests|bench|docs|src|examples)/[\w/*.-]+\w", text):
        assert [*REPOSITORY.glob(path)] or [*REPOSITORY.glob(f"{path}.*")], f"{name}: {path}"
    sessions = re.findall(r"^def (\w+)\(", (REPOSITORY / "noxfile.py").read_text(), re.MULTILINE)
    for module in re.findall(r"python -m bench\.(\w+)", text):
        assert (REPOSITORY / "bench" / f"{module}.py").exists(), f"{name}: {module}"
    for session in re.findall(r"nox -s (\w+)", text):
        assert session in sessions, f"{name}: {session}"


@pytest.mark.smoke
def test_pages_that_are_made_from_the_code_are_current() -> None:
    for name, text in _generator().pages().items():
        committed = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
        is_current = committed == text  # without pytest's own comparison, which takes a minute
        assert is_current, f"docs/{name} is not current: run python docs/generate.py"


@pytest.mark.smoke
def test_the_readme_names_every_setting() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Settings\n")[2].partition("\nEach key")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)) == sorted(VARIABLES)


@pytest.mark.smoke
def test_every_error_is_documented_and_every_documented_one_is_in_the_code() -> None:
    listed = documented(REPOSITORY / "docs" / "errors.md")
    known = texts(SOURCE)
    assert [each for each in listed if not any(each in text for text in known)] == []
    whole = set(listed)
    assert sorted(each for each in messages(SOURCE) if each not in whole) == []


def _generator() -> ModuleType:
    path = REPOSITORY / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
