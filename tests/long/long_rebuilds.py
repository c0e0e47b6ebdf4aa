"""Rebuilds for hours: random edits, killed builds, two builds at once, and real packages.

`python tests/long/long_rebuilds.py`: exit status 1 on any difference from a build from nothing.
What differs stays in the folder that is told.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from rebuild_edits import EDITS
from rebuild_project import Tree, kill_session, make_tree

_WORDS = "static inline int f{0}(int x) {{ return x * {0}; }}\n"
_SUFFIXES = (".c", ".h", ".cc", ".cpp", ".hpp")


def main() -> int:
    """What the arguments ask for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--sequences", type=int, default=20, help="sequences of random edits")
    parser.add_argument("--edits", type=int, default=30, help="edits in a sequence")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=30, help="two builds at once, so often")
    parser.add_argument("--packages", type=Path, nargs="*", default=[], help="sdists to edit")
    arguments = parser.parse_args()
    top = Path(tempfile.mkdtemp(prefix="long-rebuilds-"))
    differences = 0
    runs = [
        (f"edits {seed}", edits(top / f"edits-{seed}", seed, arguments.edits))
        for seed in range(arguments.seed, arguments.seed + arguments.sequences)
    ]
    runs += [("kills", kills(top / "kills", arguments.seed, arguments.kills))]
    runs += [("pairs", pairs(top / "pairs", arguments.pairs))]
    runs += [
        (sdist.name, package(top / sdist.name, sdist, arguments.seed, arguments.edits // 3))
        for sdist in arguments.packages
    ]
    for name, run in runs:
        for line in run:
            print(f"{name}: {line}", flush=True)
            differences += 1
    print(f"{differences} differences; see {top}" if differences else "no difference")
    if not differences:
        shutil.rmtree(top)
    return int(differences > 0)


def edits(top: Path, seed: int, number: int) -> Iterator[str]:
    """Random edits of the made-up project, and a build after each."""
    chance = random.Random(seed)
    tree = make_tree(top, recorded=bool(seed % 2))
    tree.step(beside=False)
    for _ in range(number):
        edit = chance.choice(EDITS)
        needed = edit(tree, chance)
        hook = chance.choice(["build_wheel", "build_editable"])
        tree.told.append(f"{edit.__name__} {hook}")
        step = tree.step(hook)
        if step.wrong:
            yield f"{step.wrong} after {tree.told}"
            return
        if needed is not None and needed != step.compiled:
            yield f"{step.compiled} compiled, {needed} needed, after {tree.told}"


def kills(top: Path, seed: int, number: int) -> Iterator[str]:
    """Builds that are killed at any moment, each followed by one that is not."""
    chance = random.Random(seed)
    tree = make_tree(top)
    wanted = {}
    for value in range(2):
        text = f"int lone = {value};\n"
        tree.write({"src/lone.c": text, "second/nested/deep.h": _header()})
        wanted[text] = tree.step().fresh
    began = time.monotonic()
    tree.step("build_wheel", "fresh=true", beside=False)
    length = time.monotonic() - began
    for count in range(number):
        text = chance.choice(list(wanted))
        tree.write({"src/lone.c": text, "second/nested/deep.h": f"{_header()}// {count}\n"})
        hook = chance.choice(["build_wheel", "build_editable"])
        build = tree.start(hook, start_new_session=True)
        time.sleep(chance.random() * length)
        kill_session(build.pid)
        build.communicate()
        tree.write({"second/nested/deep.h": _header()})
        step = tree.step(hook, beside=False)
        if step.built != wanted[text]:
            yield f"after the kill {count} of {hook}"


def _header() -> str:
    return "#define DEEP 1\n" + "".join(map(_WORDS.format, range(1000)))


def pairs(top: Path, number: int) -> Iterator[str]:
    """Two builds at once in one tree."""
    chance = random.Random(number)
    tree = make_tree(top)
    for count in range(number):
        value = chance.randrange(1, 10)
        tree.write({"second/nested/deep.h": f"#define DEEP {value}\n"})
        wanted = tree.step().fresh
        if chance.random() < 0.5:
            shutil.rmtree(tree.folder / "build")
        hooks = ["build_wheel", chance.choice(["build_wheel", "build_editable"])]
        builds = []
        for name, hook in zip(("one", "two"), hooks, strict=True):
            builds.append(tree.start(hook, name))
            time.sleep(chance.choice([0, 0.02, 0.1, 0.5]))
        for hook, build in zip(hooks, builds, strict=True):
            text = build.communicate()[0]
            told = text.rpartition("RESULT ")[2]
            if build.returncode or not all(digest in told for digest in wanted.values()):
                yield f"{count}: {hook} of {hooks}: {text[-300:]!r}"
        left = [path.name for path in tree.folder.rglob("*tmp-*")]
        if left:
            yield f"{count}: {left} are left"


def package(top: Path, sdist: Path, seed: int, number: int) -> Iterator[str]:
    """A real package, whose sources and headers are edited."""
    chance = random.Random(seed)
    top.mkdir()
    with tarfile.open(sdist) as archive:
        archive.extractall(top, filter="data")
    [folder] = (path for path in top.iterdir() if path.is_dir())
    tree = Tree(folder=folder, env={"CFLAGS": "-O0 -g", "CXXFLAGS": "-O0 -g"})
    step = tree.step()
    files = [path for path in folder.rglob("*") if path.suffix in _SUFFIXES]
    files = sorted(path for path in files if "build" not in path.relative_to(folder).parts)
    for _ in range(number):
        if step.wrong:
            yield f"{step.wrong} after {tree.told}"
            return
        path = chance.choice(files)
        text = path.read_bytes()
        path.write_bytes(b"\n" + text)  # debug information tells other lines
        tree.told.append(f"{path.relative_to(folder)}")
        step = tree.step()
        if not step.wrong and chance.random() < 0.5:
            path.write_bytes(text)
            tree.told.append("and back")
            step = tree.step()
    if step.wrong:
        yield f"{step.wrong} after {tree.told}"


if __name__ == "__main__":
    sys.exit(main())
