"""Messages in the code, and those that `docs/errors.md` lists; ``…`` stands for what differs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["documented", "messages", "texts"]

_BASE = "ParallelBackendError"
# Its errors are listed in docs/hook-server.md, and are for programs.
_ELSEWHERE = ("hook_server",)
# Nobody reads it: it only ends a build that was broken off.
_INTERNAL = frozenset({"_CancelledError"})


def documented(page: Path) -> list[str]:
    """The messages of the page: the first cells of its tables."""
    return re.findall(r"^\| `([^`]+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)


def messages(source: Path) -> set[str]:
    """What errors of ours are made with."""
    trees = list(_trees(source))
    kinds = _kinds(trees)
    found = {
        _text(_assigned(tree, call.args[0]))
        for path, tree in trees
        if not set(_ELSEWHERE) & set(path.parts)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and call.args
        if isinstance(call.func, ast.Name) and call.func.id in kinds
    }
    return found - {""}


def texts(source: Path) -> set[str]:
    """All texts in the code."""
    return {_text(node) for _, tree in _trees(source) for node in ast.walk(tree)}


def _trees(source: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(source.rglob("*.py")):
        yield path, ast.parse(path.read_bytes())


def _kinds(trees: list[tuple[Path, ast.Module]]) -> set[str]:
    """The names of our classes of errors."""
    classes = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for _, tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    kinds = {_BASE}
    while more := {name for name, bases in classes.items() if bases & kinds} - kinds:
        kinds |= more
    return kinds - _INTERNAL


def _assigned(tree: ast.Module, value: ast.expr) -> ast.expr:
    """What a name was given last, as far as that is a text."""
    if not isinstance(value, ast.Name):
        return value
    given = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == value.id
        if _text(node.value)
    ]
    return given[-1] if given else value


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = [each.value if isinstance(each, ast.Constant) else "…" for each in node.values]
    return re.sub(r"…[….]*…", "…", "".join(map(str, parts)))
