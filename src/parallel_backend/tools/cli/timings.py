"""``parallel-backend timings``: the page of a build whose backend left its record alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from parallel_backend.errors import ParallelBackendError
from parallel_backend.timings.folder import check_folder
from parallel_backend.tools.cli.arguments import PROGRAM, Parser, reason_of

__all__ = ["main", "parser"]


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status: 0, or 2 where there is no such record."""
    asked = parser().parse_args(words)
    record = Path(asked.record)
    folder = str(record.parent if asked.output is None else asked.output)
    try:
        check_folder(folder)
        with record.open("rb"):
            pass
    except (ParallelBackendError, OSError) as error:
        print(f"{PROGRAM}: error: {reason_of(error)}", file=sys.stderr)
        return 2
    from parallel_backend.tools.timings.report import write_hook

    return 0 if write_hook(record, folder) else 2


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = Parser(
        prog=f"{PROGRAM} timings",
        description="Make timings.html and timings.json of the record that a vendored backend "
        "leaves, which carries no page of its own.",
        epilog="exit status: 0 written; 2 no such record, or nothing can be written there. "
        "example: parallel-backend timings build/timings/timings.jsonl",
    )
    made.add_argument("record", metavar="RECORD", help="a timings.jsonl")
    made.add_argument(
        "-o", "--output", metavar="DIR", help="where to write, by default beside the record"
    )
    return made
