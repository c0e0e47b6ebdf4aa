"""The command line, ``parallel-backend`` or ``python -m parallel_backend``."""

from __future__ import annotations

import argparse
import os
import sys

from parallel_backend.errors import ParallelBackendError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parallel_backend.settings import Settings

__all__ = ["main"]

_DISTRIBUTION = "parallel-backend"

# Each is a module here, with a function main().
_COMMANDS = {
    "build": "build the wheels of many projects at once (see docs/command-line.md)",
    "bytecode": "byte-compile a tree with a pool of workers (see docs/bytecode.md)",
    "completion": "print a script that lets a shell complete these commands",
    "init": "let a project's pyproject.toml name parallel_backend",
    "timings": "make the page of a build from the record that a vendored backend left",
    "vendor": "copy parallel_backend into a project's tree, or see if a copy is current",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param argv: the arguments without the program's name, by default ``sys.argv[1:]``.
    :returns: the exit status: 0, 2 for a mistake in the settings, which is one line on stderr, or
        what the command says; 1 where standard output takes nothing, 141 where nobody reads it.
    """
    words = [*(sys.argv[1:] if argv is None else argv)]
    _open_closed_streams()
    try:
        status = _main(words)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has read enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + 13  # as of a command that SIGPIPE ends
    except OSError as error:
        print(f"parallel-backend: error: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return status


def _open_closed_streams() -> None:
    """What is opened next would else be taken for one of them, by us and by what we start."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest one that is free, which is this one
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))


def _main(words: list[str]) -> int:
    if words[:1] == ["serve"]:  # what follows is for the server, which knows its own options
        return _serve(words[1:])
    if words and words[0] in _COMMANDS:  # each is imported, and reads settings, if it must
        from importlib import import_module

        return int(import_module(f"parallel_backend.tools.cli.{words[0]}").main(words[1:]))
    options = _parser().parse_args(words)
    from pathlib import Path

    from parallel_backend.settings import read_settings

    try:
        settings = read_settings(config_settings=None, environ=os.environ, folder=Path())
    except ParallelBackendError as error:
        print(f"parallel-backend: error: {error}", file=sys.stderr)
        return 2
    print("\n".join(options.lines(settings)))
    return 0


def _parser() -> argparse.ArgumentParser:
    from parallel_backend.tools.cli.arguments import PROGRAM, Parser

    parser = Parser(
        prog=PROGRAM,
        description="A build backend that builds setuptools projects in parallel.",
        epilog=f"exit status: 0 all went well, 2 a mistake in what was asked for; COMMAND --help "
        f"tells more. example: {PROGRAM} jobs",
    )
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        dest=argparse.SUPPRESS,
        help="print the version and exit",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    jobs = commands.add_parser(
        "jobs",
        help="print how many jobs a build here would run, and why",
        description="Print how many jobs a build of the project in the current folder would run, "
        'then a line for each thing considered; "*" marks what decided.',
        epilog="exit status: 0, or 2 for a mistake in the settings. "
        "example: PARALLEL_BACKEND_JOBS=3 parallel-backend jobs | head -n 1",
    )
    jobs.set_defaults(lines=_jobs)
    for name, text in _COMMANDS.items():
        commands.add_parser(name, add_help=False, help=text)
    commands.add_parser(
        "serve",
        add_help=False,
        help="run hooks for a frontend that sends requests (see docs/hook-server.md)",
    )
    return parser


class _Version(argparse.Action):
    # argparse's own action wants the version beforehand, and to look it up costs every command.
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version(_DISTRIBUTION)
        except PackageNotFoundError:
            found = "(not installed, run from its source)"
        # parser.exit(message=...) would write to stderr.
        print(f"{_DISTRIBUTION} {found}")
        parser.exit()


def _serve(words: list[str]) -> int:
    """Become the hook server, in an interpreter that has imported nothing of this package."""
    import subprocess

    from parallel_backend.tools.hook_server import SERVER

    options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    command = [sys.executable, *options, str(SERVER), *words]
    if os.name == "posix":
        os.execv(sys.executable, command)
    return subprocess.run(command, check=False).returncode  # no process becomes another one there


def _jobs(settings: Settings) -> Iterator[str]:
    from parallel_backend import machine

    offer = machine.offer(memory_per_job=settings.memory_per_job)
    considered = list(offer.considered)
    if settings.jobs is not None:
        considered.insert(0, machine.Considered(settings.jobs_source, settings.jobs, "set"))
        decided = 0
    else:
        if settings.jobs_source != "the machine":
            considered.insert(0, machine.Considered(settings.jobs_source, None, _note(settings)))
        decided = next(at for at, each in enumerate(considered) if each.jobs == offer.jobs)
    yield str(considered[decided].jobs)
    width = max(len(each.what) for each in considered)
    for at, each in enumerate(considered):
        mark = "*" if at == decided else " "
        jobs = "-" if each.jobs is None else each.jobs
        yield f"{mark} {each.what:{width}}  {jobs:>4}  {each.note}"


def _note(settings: Settings) -> str:
    if settings.jobs_source.startswith("the machine"):
        return "auto"
    return "its tokens decide; if it cannot be used, the rest does"
