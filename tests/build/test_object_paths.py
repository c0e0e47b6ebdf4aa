"""No process gets the path that another one has."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from parallel_backend.engine.objects import Objects
from scripts import run_script


@pytest.fixture(autouse=True)
def _in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    (tmp_path / "private").mkdir()
    return Objects(tmp_path / "private")


TAKE_PATHS = """
import json, os, sys
from pathlib import Path
from parallel_backend.engine.objects import Objects

objects = Objects(Path("private"))
start, there = os.pipe()
children = []
for number in range(4):
    if (child := os.fork()) == 0:
        os.close(there)
        os.read(start, 1)  # the end of the pipe: all begin at once
        paths = []
        for _ in range(25):
            with objects.entry("key") as entry:
                paths.append(entry.new_path("build/a.o"))
        Path(f"paths-{number}").write_text(json.dumps(paths))
        os._exit(0)
    children.append(child)
os.close(there)
sys.exit(max(os.waitpid(child, 0)[1] for child in children))
"""


def test_processes_never_get_one_path(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    done = run_script(TAKE_PATHS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    texts = [(tmp_path / f"paths-{number}").read_text() for number in range(4)]
    paths = [path for text in texts for path in json.loads(text)]
    assert len(set(paths)) == len(paths) == 100


DIE = """
import os
from pathlib import Path
from parallel_backend.engine.objects import Objects

with Objects(Path("private")).entry("key") as entry:
    print(entry.new_path("build/a.o"), flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_process_that_is_killed_keeps_neither_the_lock_nor_leaves_its_path_to_another(
    objects: Objects, tmp_path: Path
) -> None:
    done: subprocess.CompletedProcess[str] = run_script(DIE, cwd=tmp_path)
    assert done.returncode == -9
    with objects.entry("key") as entry:
        assert entry.new_path("build/a.o") != done.stdout.strip()
