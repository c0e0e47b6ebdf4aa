"""Whether a build of a project by setuptools may run code of the project itself."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast

__all__ = ["is_plain"]

# Tables for which setuptools looks through all its commands.
_TABLES = rb"(?m)^\s*\[+\s*(project|tool\s*\.\s*setuptools)\b"
# Keys that make it run code, however they are spelled.
_CODE = rb"(?<![\w-])(attr|cmdclass|command[_-]packages)(?![\w-])|\\[uUx]"
# What a setup.py may take of setuptools and still hold nothing but values.
_FUNCTIONS = ("Extension", "find_namespace_packages", "find_packages", "setup")
_LONGEST = 1 << 16


def is_plain(source: str) -> bool:
    """Whether no code but setuptools' own can run before it has looked through its commands.

    The project has a configuration in ``pyproject.toml`` that names none; and if it has a
    ``setup.py``, that only calls ``setup`` with values that stand there.
    """
    import re

    texts = {}
    for name in ("pyproject.toml", "setup.cfg", "setup.py"):
        try:
            with open(os.path.join(source, name), "rb") as file:
                texts[name] = file.read(_LONGEST + 1)
        except FileNotFoundError:
            continue
        except OSError:
            return False
        if len(texts[name]) > _LONGEST:
            return False
    if not re.search(_TABLES, texts.get("pyproject.toml", b"")):
        return False
    if any(re.search(_CODE, text) for text in texts.values()):
        return False
    return "setup.py" not in texts or _only_calls_setup(texts["setup.py"])


def _only_calls_setup(text: bytes) -> bool:
    import ast

    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError):
        return False
    return all(map(_is_harmless, statements))


def _is_harmless(statement: ast.stmt) -> bool:
    import ast

    if isinstance(statement, ast.Import):
        return all(each.name == "setuptools" and not each.asname for each in statement.names)
    if isinstance(statement, ast.ImportFrom):
        known = all(each.name in _FUNCTIONS and not each.asname for each in statement.names)
        return statement.module == "setuptools" and not statement.level and known
    if isinstance(statement, ast.If):
        main = ast.dump(ast.parse('__name__ == "__main__"', mode="eval").body)
        return ast.dump(statement.test) == main and all(
            map(_is_harmless, [*statement.body, *statement.orelse])
        )
    return isinstance(statement, ast.Expr) and _is_value(statement.value)


def _is_value(expression: ast.expr) -> bool:
    """Whether it is made of what stands there, by calls of setuptools' functions at most."""
    import ast

    if isinstance(expression, ast.Call):
        function, keywords = expression.func, [each.arg for each in expression.keywords]
        if isinstance(function, ast.Attribute):
            named = isinstance(function.value, ast.Name) and function.value.id == "setuptools"
            name = function.attr if named else ""
        else:
            name = function.id if isinstance(function, ast.Name) else ""
        values = [*expression.args, *(each.value for each in expression.keywords)]
        return name in _FUNCTIONS and None not in keywords and all(map(_is_value, values))
    if isinstance(expression, ast.Dict):
        return all(key is not None and _is_value(key) for key in expression.keys) and all(
            map(_is_value, expression.values)
        )
    if isinstance(expression, (ast.List, ast.Set, ast.Tuple)):
        return all(map(_is_value, expression.elts))
    return isinstance(expression, ast.Constant)
