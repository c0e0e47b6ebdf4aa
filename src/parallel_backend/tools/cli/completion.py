"""``parallel-backend completion``: a script that lets a shell complete our commands.

It is made of the commands' own parsers. Words that are no options are completed as files.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

from parallel_backend.tools.cli.arguments import PROGRAM, Parser

__all__ = ["main", "parser"]

_BASH = """\
_parallel_backend() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} options= words=
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}" options="--help --version"
    else
        case ${{COMP_WORDS[1]}} in
{cases}
        esac
    fi
    case $word in -*) words=$options ;; esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _parallel_backend {program}
"""


def main(words: Sequence[str]) -> int:
    """Print the script; the exit status is 0."""
    asked = parser().parse_args(words)
    print("\n".join(_SHELLS[asked.shell](_options())))
    return 0


def _options() -> dict[str, list[argparse.Action]]:
    """The options of each command."""
    from parallel_backend.tools.cli import build, bytecode, init, timings, vendor

    parsers = {
        "build": build.parser(),
        "bytecode": bytecode._parser(),
        "completion": parser(),
        "init": init.parser(),
        "jobs": argparse.ArgumentParser(),
        "serve": argparse.ArgumentParser(),
        "timings": timings.parser(),
        "vendor": vendor.parser(),
    }
    return {
        name: [action for action in each._actions if action.option_strings or action.choices]
        for name, each in parsers.items()
    }


def _bash(options: Mapping[str, Sequence[argparse.Action]]) -> Iterator[str]:
    cases = (
        f'            {name}) options="{" ".join(_options_of(actions))}" '
        f'words="{" ".join(_choices_of(actions))}" ;;'
        for name, actions in options.items()
    )
    yield _BASH.format(commands=" ".join(options), cases="\n".join(cases), program=PROGRAM).rstrip()


def _zsh(options: Mapping[str, Sequence[argparse.Action]]) -> Iterator[str]:
    yield "autoload -U +X compinit bashcompinit && compinit && bashcompinit"
    yield from _bash(options)


def _fish(options: Mapping[str, Sequence[argparse.Action]]) -> Iterator[str]:
    start = f"complete -c {PROGRAM}"
    for word in options:
        yield f"{start} -f -n __fish_use_subcommand -a {word}"
    for name, actions in options.items():
        for action in actions:
            words = [f"{start} -n '__fish_seen_subcommand_from {name}'"]
            for option in action.option_strings:
                kind = "-l" if option.startswith("--") else "-s"
                words.append(f"{kind} {option.lstrip('-')}")
            if action.choices:
                words.append("-x" if action.option_strings else "-f")
                words.append(f"-a '{' '.join(map(str, action.choices))}'")
            elif action.nargs != 0:
                words.append("-r")
            if action.help and "'" not in action.help:
                words.append(f"-d '{action.help.partition('(')[0].strip()}'")
            yield " ".join(words)


def _options_of(actions: Sequence[argparse.Action]) -> list[str]:
    return [option for action in actions for option in action.option_strings]


def _choices_of(actions: Sequence[argparse.Action]) -> list[str]:
    """What stands for itself; other words are files."""
    return [
        str(choice)
        for action in actions
        if not action.option_strings
        for choice in action.choices or ()
    ]


_SHELLS = {"bash": _bash, "fish": _fish, "zsh": _zsh}


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = Parser(
        prog=f"{PROGRAM} completion",
        description="Print a script that lets a shell complete the commands and their options.",
        epilog="exit status: 0, or 2 for a shell that is not known. "
        f'example: eval "$({PROGRAM} completion bash)"',
    )
    made.add_argument("shell", choices=sorted(_SHELLS), help="the shell")
    return made
