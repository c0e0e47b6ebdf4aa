"""``parallel-backend bytecode``: a tree, byte-compiled."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence

from parallel_backend.errors import ParallelBackendError
from parallel_backend.tools.bytecode import Options, Report, compile_tree
from parallel_backend.tools.bytecode.options import MODES
from parallel_backend.tools.cli.arguments import PROGRAM, Parser, positive

__all__ = ["main"]


class _Help(argparse.HelpFormatter):
    # One is made for each option, and argparse's own imports shutil, to ask for the width.
    def __init__(self, prog: str) -> None:
        try:
            width = int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size(1).columns
        except (ValueError, OSError):
            width = 80
        super().__init__(prog, width=width - 2)


class _EndedError(BaseException):
    """A signal asks this process to end: its number."""


def main(argv: Sequence[str]) -> int:
    """Run the command.

    :returns: the exit status: 0; 1 where a file failed; 2 for a mistake in what was asked for.
    """
    asked = _parser().parse_args(argv)
    try:
        with _signals_raise():
            report = _run(asked)
    except ParallelBackendError as error:
        print(f"parallel-backend: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _end_by(signal.SIGINT)
    except _EndedError as ended:
        return _end_by(ended.args[0])
    _tell(report, as_json=asked.json, is_quiet=asked.quiet)
    return 1 if report.failures and not asked.ignore_errors else 0


def _run(asked: argparse.Namespace) -> Report:
    options = Options(
        python=asked.python,
        levels=tuple(asked.levels or (-1,)),
        force=asked.force,
        mode=asked.invalidation_mode,
        strip=asked.strip,
        prepend=asked.prepend,
        destination=asked.destination,
        exclude=asked.exclude,
        most_levels=asked.most_levels,
        limit_links=asked.limit_links,
        hardlink_dupes=asked.hardlink_dupes,
        legacy=asked.legacy,
        timeout=asked.timeout,
        update_record=asked.update_record,
    )
    if asked.quiet or asked.json or not sys.stderr.isatty():
        return compile_tree(asked.paths, options, jobs=asked.jobs)
    from parallel_backend.tools.bytecode.progress import Progress

    progress = Progress(sys.stderr)
    try:
        return compile_tree(asked.paths, options, jobs=asked.jobs, progress=progress)
    finally:
        progress.clear()


def _tell(report: Report, *, as_json: bool, is_quiet: bool) -> None:
    if as_json:
        import json

        print(json.dumps(report.as_json(), indent=2))
        return
    for failure in report.failures:
        # A path may hold what the stream's encoding lacks.
        text = str(failure).encode(sys.stderr.encoding, "backslashreplace")
        print(text.decode(sys.stderr.encoding), file=sys.stderr)
    if not is_quiet:
        print(report.closing_line())


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: tidily."""

    def end(number: int, _: object) -> None:
        raise _EndedError(number)

    saved = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            saved[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in saved.items():
            signal.signal(number, handler)


def _end_by(number: int) -> int:
    """End by a signal, so that a shell or make sees that it was one."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"{PROGRAM} bytecode",
        description="Byte-compile every .py file that is a PATH or below one, in a pool of "
        "workers. The options of one letter are compileall's.",
        epilog="exit status: 0 all is compiled, 1 a file failed, 2 a mistake in what was "
        "asked for. example: parallel-backend bytecode -o 0 -o 1 .venv/lib",
        formatter_class=_Help,
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="a file or a folder")
    add("-j", "--jobs", type=positive, metavar="N", help="the most workers at once")
    add("-f", "--force", action="store_true", help="compile what is up to date too")
    add(
        "-o",
        action="append",
        type=int,
        choices=(-1, 0, 1, 2),
        dest="levels",
        help="an optimization level, may be repeated; -1, the default: that of this interpreter",
    )
    add("--invalidation-mode", choices=MODES, help="how a .pyc tells that its source changed")
    add("-s", dest="strip", metavar="DIR", help="take DIR from the front of the paths in the code")
    add("-p", dest="prepend", metavar="DIR", help="put DIR in front of the paths in the code")
    add("-d", dest="destination", metavar="DIR", help="name DIR in the code in place of each PATH")
    add("-x", dest="exclude", type=_pattern, metavar="REGEXP", help="leave out paths with a match")
    add("-e", dest="limit_links", metavar="DIR", help="leave out links that lead out of DIR")
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument(
        "-l",
        dest="most_levels",
        action="store_const",
        const=0,
        help="do not go down into folders",
    )
    depth.add_argument(
        "-r", dest="most_levels", type=int, metavar="N", help="go down N folders at most"
    )
    add("-b", dest="legacy", action="store_true", help="write x.pyc beside x.py")
    add("--hardlink-dupes", action="store_true", help="link equal .pyc files of several levels")
    add("--python", metavar="EXE", help="the interpreter to compile for, 3.8 or newer")
    add(
        "--timeout",
        type=float,
        default=Options().timeout,
        metavar="SECONDS",
        help="what one file may take (default: %(default)g)",
    )
    add("--update-record", action="store_true", help="add the .pyc files to RECORD")
    add("--ignore-errors", action="store_true", help="exit status 0 though files failed")
    add("-q", "--quiet", action="store_true", help="print failures only")
    add("--json", action="store_true", help="print all that is known, for machines")
    return parser


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error
