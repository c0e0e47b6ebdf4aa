"""The parts of bench/bytecode.py work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bytecode_harness import write_tree
from harness import REPOSITORY

sys.path.insert(0, str(REPOSITORY))

from bench import bytecode


def test_each_way_starts_from_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = write_tree(tmp_path / "tree", "a.py", "inner/b.py")
    seen = []

    def way() -> float:
        seen.append(len([*tree.rglob("__pycache__")]))
        write_tree(tree, "__pycache__/a.pyc", "inner/__pycache__/b.pyc")
        return float(len(seen))

    ways = {"compileall -j1": way, "uv": way}
    found = bytecode.turns(ways, tree=tree, runs=2)
    assert seen == [0, 2, 0, 0, 2, 0]
    assert found["compileall -j1"] == {"from none": [1.0, 4.0], "nothing to do": [2.0, 5.0]}
    bytecode._print_table(found)
    assert "| uv | from none | 4.500 | 3.000 | 6.000 | 2.250 |" in capsys.readouterr().out


def test_extremes_are_measured(tmp_path: Path) -> None:
    seconds, peak = bytecode.tiny_files(tmp_path / "tiny", count=20, jobs=1)
    assert seconds > 0
    assert 5 < peak < 100
    took, best = bytecode.sleeping(tmp_path / "sleep", files=6, workers=2)
    assert took > best == 6 * bytecode._SLEEP / 2
