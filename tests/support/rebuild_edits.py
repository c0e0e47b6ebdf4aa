"""What may happen to the made-up project between two builds."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

from rebuild_project import Tree, make_extra

__all__ = ["EDITS", "Made"]


class Made:
    """Sources of the project as they are compiled, and what they include."""

    @staticmethod
    def readers(tree: Tree, name: str) -> int:
        """How many commands compile a source that reads the file, as ``gcc -MM`` tells it."""
        config = json.loads((tree.folder / "config.json").read_text())
        units = [
            (source, config["include_dirs"][extension])
            for extension in config["order"]
            for source in config["sources"][extension]
        ]
        units.append(("clib/lib.c", ["first", "second"]))
        return sum(name in Made.read(tree, *unit) for unit in units)

    @staticmethod
    def read(tree: Tree, source: str, include_dirs: Iterable[str]) -> list[str]:
        """What a source reads."""
        command = ["gcc", "-MM", "-DMACRO=1", source, *(f"-I{folder}" for folder in include_dirs)]
        env = {**os.environ, **{n: v for n, v in tree.env.items() if "PATH" in n}}
        done = subprocess.run(
            command, cwd=tree.folder, env=env, capture_output=True, text=True, check=True
        )
        return done.stdout.replace("\\\n", " ").split()[1:]


def _number_in(tree: Tree, name: str, chance: random.Random) -> None:
    """Another number, of as many digits, in a file."""
    path = tree.folder / name
    text = path.read_text()
    old = re.findall(r"\d+", text)[-1]
    new = chance.choice([n for n in "123456789" if n != old])
    head, _, tail = text.rpartition(old)
    path.write_text(head + new + tail)


_CONTENTS = (
    "src/lone.c", "src/own.h", "second/shared.h", "second/nested/deep.h", "second/plus.hpp",
)  # fmt: skip


def _edit(tree: Tree, chance: random.Random) -> int:
    name = chance.choice(_CONTENTS)
    _number_in(tree, name, chance)
    return Made.readers(tree, name)


def _edit_unseen_by_the_clock(tree: Tree, chance: random.Random) -> int:
    """Sizes and times are equal to the nanosecond."""
    name = chance.choice(_CONTENTS)
    status = os.stat(tree.folder / name)
    _number_in(tree, name, chance)
    os.utime(tree.folder / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    return Made.readers(tree, name)


def _edit_with_the_clock_set_back(tree: Tree, chance: random.Random) -> int:
    name = chance.choice(_CONTENTS)
    _number_in(tree, name, chance)
    os.utime(tree.folder / name, (10**9, 10**9))
    return Made.readers(tree, name)


def _replace_by_rename(tree: Tree, chance: random.Random) -> int:
    name = chance.choice(_CONTENTS)
    path = tree.folder / name
    before = path.with_name("before")
    shutil.copy2(path, before)
    before.replace(path)
    _number_in(tree, name, chance)
    return Made.readers(tree, name)


def _touch_all(tree: Tree, chance: random.Random) -> int:
    when = chance.choice([None, (10**9, 10**9), (2 * 10**9, 2 * 10**9)])
    for path in tree.folder.rglob("*"):
        if "build" not in path.relative_to(tree.folder).parts:
            os.utime(path, when)
    return 0


def _fresh_checkout(tree: Tree, _chance: random.Random) -> int:
    """Other inodes and times, and the same contents."""
    aside = tree.folder.with_name("old")
    tree.folder.rename(aside)
    shutil.copytree(aside, tree.folder, ignore=shutil.ignore_patterns("build", "*.so"))
    for result in (*aside.glob("build"), *aside.glob("*.so")):
        result.rename(tree.folder / result.name)
    shutil.rmtree(aside)
    return 0


def _delete_header(tree: Tree, chance: random.Random) -> None:
    """The include goes with it, or comes back."""
    lib, header = "src/lone.c", "src/gone.h"
    if (tree.folder / header).exists():
        tree.write({header: None, lib: f"int lone = {chance.randrange(10)};\n"})
    else:
        tree.write({header: "#define GONE 7\n", lib: '#include "gone.h"\nint lone = GONE + 1;\n'})


def _shadow(tree: Tree, chance: random.Random) -> None:
    """A header where it is found first; in a folder that was not there, perhaps. Or none again."""
    name = chance.choice(["shared.h", "nested/deep.h", "plus.hpp"])
    below = chance.choice(["none", "first", "src", *(["second/nested"] if "/" in name else [])])
    path = f"{below}/{name}"
    if (tree.folder / path).exists():
        tree.write({path: None})
    else:
        n = chance.randrange(10)
        tree.write({path: f"#define SHARED {n}\n#define DEEP {n}\n#define PLUS {n}\n#undef MACRO\n"
                    "#define MACRO 0\n"})  # fmt: skip


def _asked(tree: Tree, chance: random.Random) -> None:
    path = chance.choice(["none/asked.h", "first/asked.h", "src/asked.h"])
    text = None if (tree.folder / path).exists() else f"#define ASKED {chance.randrange(1, 10)}\n"
    tree.write({path: text})


def _change_config(tree: Tree, change: Callable[[dict[str, Any]], None]) -> None:
    path = tree.folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def _macro(tree: Tree, chance: random.Random) -> None:
    name = chance.choice(["one", "two", "three"])
    _change_config(tree, lambda c: c["macros"].update({name: chance.randrange(9)}))


def _order(tree: Tree, chance: random.Random) -> int:
    _change_config(tree, lambda c: chance.shuffle(c["order"]))
    return 0


def _sources(tree: Tree, _chance: random.Random) -> None:
    """A source less, or again."""

    def change(config: dict[str, Any]) -> None:
        sources = config["sources"]["one"]
        (sources.remove if "src/lone.c" in sources else sources.append)("src/lone.c")

    _change_config(tree, change)


def _include_order(tree: Tree, chance: random.Random) -> None:
    _change_config(tree, lambda c: chance.shuffle(c["include_dirs"]["two"]))


def _variable(name: str, *values: str) -> Callable[[Tree, random.Random], None]:
    def edit(tree: Tree, chance: random.Random) -> None:
        tree.env[name] = chance.choice([v for v in values if v != tree.env.get(name)])

    return edit


def _search_variable(tree: Tree, chance: random.Random) -> None:
    """A folder that a variable names holds headers that some ask for, or that all read."""
    if not (tree.folder / "other").exists():
        tree.write({"other/asked.h": "#define ASKED 5\n", "other/stdc-predef.h": "#define DEEP2\n"})
    _variable(chance.choice(["CPATH", "C_INCLUDE_PATH"]), "other", "elsewhere")(tree, chance)


def _library(tree: Tree, chance: random.Random) -> int:
    make_extra(tree, chance.randrange(10, 99))
    return 0


def _compiler(tree: Tree, chance: random.Random) -> None:
    """Another one at the same path, with the size and the time of the one before."""
    if not tree.recorded:
        return
    path = tree.tools / "cc"
    status = path.stat()
    text = re.sub(r"# \d{3}", f"# {chance.randrange(1000):03}", path.read_text())
    option = chance.choice(["-DASKED=3", "-DASKED=4", "-fno-ivopts"]).ljust(12)
    text = re.sub(r"(exec gcc) (?:-\S+ +)?\$", rf"\1 {option}$", text)
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _move(tree: Tree, _chance: random.Random) -> None:
    """The whole tree with its results."""
    other = "moved" if tree.folder.name == "tree" else "tree"
    tree.folder = tree.folder.rename(tree.folder.with_name(other))


def _nothing(_tree: Tree, _chance: random.Random) -> int:
    return 0


#: What may happen. Each gives the number of sources that have to be compiled, None if any may be.
EDITS: tuple[Callable[[Tree, random.Random], int | None], ...] = (
    _edit,
    _edit_unseen_by_the_clock,
    _edit_with_the_clock_set_back,
    _replace_by_rename,
    _touch_all,
    _fresh_checkout,
    _delete_header,
    _shadow,
    _shadow,
    _asked,
    _macro,
    _order,
    _sources,
    _include_order,
    _variable("CFLAGS", "-O0 -g", "-O0", "-O1"),
    _variable("SOURCE_DATE_EPOCH", "1600000000", "1700000000", "1800000000"),
    _variable("WRAPPED", "-DASKED=1", "-DASKED=2", ""),
    _search_variable,
    _library,
    _compiler,
    _move,
    _nothing,
)
