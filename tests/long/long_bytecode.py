"""Byte-compile a big tree with compileall and with ours, and compare every byte.

    python tests/long/long_bytecode.py .venv/lib/python3.12/site-packages
    python tests/long/long_bytecode.py TREE --python python3.11 --python python3.13 --sets 3

For each interpreter and each set of options the sources of TREE are compiled at one path by
``compileall -j1`` and by ours with 1, 2 and 5 workers. All of ours must be equal to each other, and
to compileall's, but for the files that python/cpython#129724 is about: where several functions have
one constant set, what compileall writes depends on the files that it compiled before. These are
named, and must load to equal code. Exit status 0: all was so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from bytecode_harness import clean_variables, written

__all__ = ["OPTIONS", "main"]

OPTIONS = (
    "",
    "-o 0 -o 1 -o 2",
    "-o 0 -o 1 -o 2 --hardlink-dupes",
    "--invalidation-mode checked-hash",
    "--invalidation-mode unchecked-hash -o 2",
    "-s tree -p /usr/lib/python3/site-packages",
    "-d /opt",
    "-b",
    "-x tests?/",
    "-r 1",
)
# Prints each pair of .pyc files that differ in their headers or as code.
_COMPARE = """
import marshal, sys
for line in sys.stdin:
    one, other = (open(path, "rb").read() for path in eval(line))
    if one[:16] != other[:16] or marshal.loads(one[16:]) != marshal.loads(other[16:]):
        print(line)
"""

Files = dict[bytes, tuple[int, bytes]]


def _compiled(
    command: Sequence[str], folder: Path, sources: Path
) -> tuple[Files, dict[bytes, int]]:
    """What a command writes in a fresh copy of the sources; how many names each file has."""
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(sources, tree, symlinks=True)
    done = subprocess.run(
        [*command, "tree"],
        cwd=folder,
        env=clean_variables(PYTHONWARNINGS="ignore"),
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}")
    files = {name: file for name, file in written(tree).items() if name.endswith(b".pyc")}
    return files, {name: os.stat(os.path.join(os.fsencode(tree), name)).st_nlink for name in files}


def _as_code(one: Files, other: Files, names: list[bytes], python: str, folder: Path) -> list[str]:
    """The names of files that are not equal as code either."""
    lines = []
    for number, name in enumerate(names):
        pair = [str(folder / f"{number}-{which}") for which in ("one", "other")]
        for path, files in zip(pair, (one, other), strict=True):
            Path(path).write_bytes(files[name][1])
        lines.append(repr(pair))
    done = subprocess.run(
        [python, "-c", _COMPARE],
        input="\n".join(lines),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.split("\n")[:-1]


def _wrong(python: str, options: str, folder: Path, sources: Path) -> Iterator[str]:
    """What is not as it must be; prints what is told."""
    words = options.split()
    command = [python, "-m", "compileall", "-qq", "-j1", *words]
    expected, links = _compiled(command, folder, sources)
    results = []
    for jobs in (1, 2, 5):
        command = [sys.executable, "-m", "parallel_backend", "bytecode", "-q", f"-j{jobs}"]
        result, ours = _compiled([*command, "--python", python, *words], folder, sources)
        results.append(result)
    for other in results[1:]:
        differ = [name for name in other if other[name] != results[0].get(name)]
        if differ or other.keys() != results[0].keys():
            yield f"the number of workers makes a difference: {differ}"
    if expected.keys() != results[0].keys():
        yield f"not the same files: {sorted(expected.keys() ^ results[0].keys())[:5]}"
        return
    differ = sorted(name for name in expected if expected[name] != results[0][name])
    stems = {name.split(b".opt-")[0].removesuffix(b".pyc") for name in differ}
    for name in expected:
        if ours[name] != links[name] and not name.startswith(tuple(stems)):
            yield f"{os.fsdecode(name)} has {ours[name]} names, not {links[name]}"
    modes = [name for name in differ if expected[name][0] != results[0][name][0]]
    print(f"{python} {options!r}: {len(expected)} files, {len(differ)} differ")
    for name in differ:
        print(f"  {os.fsdecode(name)}")
    if modes or _as_code(expected, results[0], differ, python, folder):
        yield "files differ in their modes or as code"


def main(argv: Sequence[str] | None = None) -> int:
    """Compare; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tree", type=Path)
    parser.add_argument("--python", action="append", help="default: the one that runs this")
    parser.add_argument("--sets", type=int, default=len(OPTIONS), help="how many sets of options")
    asked = parser.parse_args(argv)
    status = 0
    with tempfile.TemporaryDirectory(prefix="bytecode-") as private:
        folder = Path(private)
        sources = folder / "sources"
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "*.so", "*.js", "*.map")
        shutil.copytree(asked.tree, sources, symlinks=True, ignore=ignored)
        for python in asked.python or [sys.executable]:
            for options in OPTIONS[: asked.sets]:
                for wrong in _wrong(python, options, folder, sources):
                    status = 1
                    print(f"WRONG: {python} {options!r}: {wrong}", flush=True)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
