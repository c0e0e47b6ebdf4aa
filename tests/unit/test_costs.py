"""What a source may cost: its size with the headers that it includes by quotes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from setuptools import Extension

from parallel_backend.build.costs import Costs

BODY = "int filler;\n" * 10
GUARDED = "#ifndef ONE_H\n#define ONE_H\n" + BODY + "#endif\n"
ONCE = "#pragma once\n" + BODY
OPEN = BODY


def written(folder: Path, files: Mapping[str, str]) -> dict[str, int]:
    """Write files; the size of each."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return {name: len(text.encode()) for name, text in files.items()}


@pytest.fixture(autouse=True)
def _in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_source_without_headers_costs_its_size(tmp_path: Path) -> None:
    sizes = written(tmp_path, {"a.c": BODY})
    assert Costs().of_source("a.c") == sizes["a.c"]


@pytest.mark.parametrize(
    ("header", "times"),
    [
        (OPEN, 3),
        (GUARDED, 1),
        (ONCE, 1),
        ("/* what it is\n for */\n// and more\n\n" + GUARDED, 1),
        ("/* old */ #pragma once\n" + BODY, 1),
        ("#  ifndef X\n#  define X\n" + BODY + "#endif\n", 1),
        ("#ifndef X\n#define Y\n" + BODY + "#endif\n", 3),
        (BODY + "#ifndef X\n#define X\n#endif\n", 3),
    ],
    ids=["open", "guard", "once", "comments", "comment", "blanks", "no guard", "late"],
)
def test_a_header_counts_as_often_as_it_is_read(header: str, times: int, tmp_path: Path) -> None:
    sizes = written(tmp_path, {"a.c": '#include "one.h"\n' * 3, "one.h": header})
    assert Costs().of_source("a.c") == sizes["a.c"] + times * sizes["one.h"]


def test_a_guarded_header_counts_again_for_the_next_source(tmp_path: Path) -> None:
    texts = {"a.c": '#include "one.h"\n', "b.c": '#include "one.h"\n\n', "one.h": GUARDED}
    sizes = written(tmp_path, texts)
    costs = Costs()
    assert costs.of_source("a.c") == sizes["a.c"] + sizes["one.h"]
    assert costs.of_source("b.c") == sizes["b.c"] + sizes["one.h"]


def test_headers_that_include_each_other_end(tmp_path: Path) -> None:
    once = written(
        tmp_path,
        {
            "a.c": '#include "x.h"\n',
            "x.h": '#pragma once\n#include "y.h"\n',
            "y.h": '#pragma once\n#include "x.h"\n',
        },
    )
    assert Costs().of_source("a.c") == sum(once.values())


@pytest.mark.parametrize("includes", [1, 2, 5])
def test_headers_without_a_guard_that_include_each_other_end(includes: int, tmp_path: Path) -> None:
    sizes = written(
        tmp_path, {"a.c": '#include "x.h"\n', "x.h": '#include "x.h"\n' * includes + BODY}
    )
    cost = Costs().of_source("a.c")
    assert 2 * sizes["x.h"] < cost <= 2000 * sizes["x.h"]


def test_a_header_that_includes_itself_counts_no_deeper_than_compilers_go(tmp_path: Path) -> None:
    sizes = written(tmp_path, {"a.c": '#include "x.h"\n', "x.h": '#include "x.h"\n'})
    assert Costs().of_source("a.c") == sizes["a.c"] + 50 * sizes["x.h"]


@pytest.mark.parametrize("name", ["nowhere.c", "folder.c", "nul\0.c"])
def test_what_cannot_be_read_costs_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.c").mkdir()
    assert Costs().of_source(name) == 0


def test_a_missing_header_costs_nothing(tmp_path: Path) -> None:
    sizes = written(tmp_path, {"a.c": '#include "nowhere.h"\n' + BODY})
    assert Costs().of_source("a.c") == sizes["a.c"]


def test_only_headers_in_quotes_count(tmp_path: Path) -> None:
    text = '#include <one.h>\n// #include "one.h"\n #\tinclude  "two.h"\n'
    sizes = written(tmp_path, {"a.c": text, "one.h": BODY, "two.h": BODY})
    assert Costs().of_source("a.c") == sizes["a.c"] + sizes["two.h"]


def test_headers_are_looked_for_as_a_compiler_does(tmp_path: Path) -> None:
    files = {
        "src/a.c": '#include "near.h"\n#include "far.h"\n#include "up/../far.h"\n',
        "src/near.h": "1" * 100,
        "one/near.h": "2" * 1000,
        "one/far.h": "3" * 10_000,
        "two/far.h": "4" * 100_000,
    }
    sizes = written(tmp_path, files)
    costs = Costs()
    expected = sizes["src/a.c"] + sizes["src/near.h"] + 2 * sizes["one/far.h"]
    assert costs.of_source("src/a.c", ["one", "two"]) == expected
    assert costs.of_source("src/a.c") == sizes["src/a.c"] + sizes["src/near.h"]
    # What is installed is read in no time beside the project's own, and by all alike.
    assert costs.of_source("src/a.c", [str(tmp_path / "one")]) == costs.of_source("src/a.c")


def test_a_header_s_own_folder_is_searched_first(tmp_path: Path) -> None:
    files = {
        "a.c": '#include "sub/x.h"\n',
        "sub/x.h": '#include "y.h"\n',
        "sub/y.h": "1" * 100,
        "y.h": "2" * 1000,
    }
    sizes = written(tmp_path, files)
    assert Costs().of_source("a.c") == sum(sizes.values()) - sizes["y.h"]


def test_what_cython_translates_costs_more_than_its_size(tmp_path: Path) -> None:
    written(tmp_path, {"a.pyx": BODY, "a.c": BODY})
    costs = Costs()
    assert costs.of_source("a.pyx") > 10 * costs.of_source("a.c")


def test_an_extension_costs_all_its_sources(tmp_path: Path) -> None:
    files = {"a.c": '#include "h.h"\n', "b.c": '#include "h.h"\n\n', "in/h.h": GUARDED}
    sizes = written(tmp_path, files)
    extension = Extension("x", ["a.c", "b.c"], include_dirs=["in"])
    expected = sum(sizes.values()) + sizes["in/h.h"]
    assert Costs().of_extension(extension) == expected
    extension.sources = [tmp_path / "a.c"]
    vars(extension)["include_dirs"] = None
    assert Costs().of_extension(extension) == sizes["a.c"]
