"""Writes the pages that tell what the code says of itself: `python docs/generate.py`.

settings.md comes from `parallel_backend.settings`, commands.md from the commands' own parsers (and
not from the text of ``--help``, which argparse lays out otherwise in each Python). A test compares
what is committed with what the code gives.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["main", "pages"]

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent / "src"))

_NOTE = "<!-- made by docs/generate.py from {source}; do not edit -->"


def pages() -> dict[str, str]:
    """The text of each page, by the name of its file."""
    return {
        "settings.md": "\n".join(_settings()) + "\n",
        "commands.md": "\n".join(_commands()) + "\n",
    }


def main() -> int:
    """Write the pages that changed; the exit status is 0."""
    for name, text in pages().items():
        path = _HERE / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path} is written")
    return 0


def _settings() -> Iterator[str]:
    from parallel_backend import settings

    yield "# Settings"
    yield _NOTE.format(source="src/parallel_backend/settings.py")
    yield ""
    yield "For each key the first of these places that has it wins:"
    yield ""
    places = re.findall(r"^\d\. .*\n(?: +.*\n)*", settings.__doc__ or "", re.MULTILINE)
    yield from (_markdown(" ".join(each.split())) for each in places)
    yield ""
    yield (
        "Keys are written with dashes. In `-C` and in `pyproject.toml` underscores do as well. "
        "An unknown key of ours, or a value that is not allowed, is an [error](errors.md), and "
        "nothing is built. `parallel-backend jobs` tells which place decides the number of jobs."
    )
    meanings = _parameters(settings.Settings.__doc__ or "")
    fields = {field.name: field for field in dataclasses.fields(settings.Settings)}
    for key, known in settings._KEYS.items():
        name = key.replace("-", "_")
        yield ""
        yield f"## {key}"
        yield ""
        yield _sentence(meanings[name])
        yield ""
        yield "| | |"
        yield "|---|---|"
        yield f"| allowed | {known.allowed} |"
        yield f"| default | {_default(fields[name].default, known.allowed)} |"
        yield f"| config setting | `-C {key}=...` |"
        yield f"| environment | `{settings._PREFIX}{name.upper()}` |"
        yield f"| `[tool.parallel-backend]` in `pyproject.toml` | `{key}` |"
        if key == "jobs":
            yield "| elsewhere | `MAKEFLAGS`; `parallel` in `DIST_EXTRA_CONFIG`, `setup.cfg` |"


def _default(value: Any, allowed: str) -> str:
    if value is None:
        return '"auto"' if '"auto"' in allowed and "none" not in allowed else "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and "KiB" in allowed:
        for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if value % size == 0:
                return f'"{value // size}{unit}"'
    return f'"{value}"' if isinstance(value, str) else str(value)


def _parameters(text: str) -> dict[str, str]:
    """What a docstring's ``:param NAME:`` fields say."""
    found = re.findall(r"^:param (\w+): (.*(?:\n +.*)*)", inspect.cleandoc(text), re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in found}


def _sentence(text: str) -> str:
    """A field of a docstring as a sentence for those who do not write Python."""
    text = _markdown(text).replace("None:", "not set:").replace("`makeflags`", "`MAKEFLAGS`")
    return text[:1].upper() + text[1:]


def _commands() -> Iterator[str]:
    from parallel_backend.tools import cli
    from parallel_backend.tools.hook_server import main as hook_server

    whole = cli._parser()
    (commands,) = [each for each in whole._actions if isinstance(each, argparse._SubParsersAction)]
    yield "# Commands"
    yield _NOTE.format(source="the commands' parsers in src/parallel_backend/tools/cli")
    yield ""
    yield (
        "`parallel-backend COMMAND`, or `python -m parallel_backend COMMAND` where it is not "
        "installed. [The command line](command-line.md) tells more of most of them, "
        "[exit statuses](exit-statuses.md) how they end."
    )
    yield ""
    yield "| command | what it does |"
    yield "|---|---|"
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    for name in sorted(helps):
        yield f"| [`{name}`](#{name}) | {_cell(re.sub(r' *[(]see .*', '', helps[name]))} |"
    yield "| `--version` | print the version and exit |"
    for name in sorted(helps):
        yield ""
        yield f"## {name}"
        yield ""
        if name == "serve":
            yield from ["```text", hook_server.USAGE.rstrip(), "```"]
        elif name in cli._COMMANDS:
            module = importlib.import_module(f"parallel_backend.tools.cli.{name}")
            make = getattr(module, "parser", None) or module._parser
            yield from _command(name, make())
        else:
            yield from _command(name, commands.choices[name])


def _command(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = argparse.HelpFormatter(parser.prog)
    actions = [each for each in parser._actions if each.help != argparse.SUPPRESS]
    words = [_operand(each) for each in actions if not each.option_strings]
    yield f"`{' '.join(['parallel-backend', name, '[OPTION...]', *words])}`"
    yield ""
    yield _markdown(formatter._format_text(parser.description or "").strip().replace("\n", " "))
    yield ""
    yield "| option | meaning |"
    yield "|---|---|"
    for action in actions:
        shown = ", ".join(f"`{_option(action, each)}`" for each in action.option_strings)
        meaning = formatter._expand_help(action) if action.help else ""
        yield f"| {shown or f'`{_operand(action)}`'} | {_cell(meaning)} |"
    told, _, example = " ".join((parser.epilog or "").split()).partition("example: ")
    if told:
        yield ""
        yield _markdown(told[:1].upper() + told[1:].rstrip())
    if example:
        yield ""
        yield f"Example: `{example}`"


def _option(action: argparse.Action, option: str) -> str:
    if action.nargs == 0:
        return option
    named = action.metavar or _choices(action) or action.dest.upper()
    return f"{option} {named}"


def _choices(action: argparse.Action) -> str:
    return f"{{{','.join(map(str, action.choices))}}}" if action.choices else ""


def _operand(action: argparse.Action) -> str:
    named = str(action.metavar or _choices(action) or action.dest)
    if action.nargs == "+":
        return f"{named}..."
    return f"[{named}]" if action.nargs == "?" else named


def _cell(text: str) -> str:
    return _markdown(text).replace("|", "\\|")


def _markdown(text: str) -> str:
    """Text with the markup of docstrings, as Markdown."""
    return re.sub(r":\w+:`([^`]*)`", r"`\1`", text).replace("``", "`")


if __name__ == "__main__":
    raise SystemExit(main())
