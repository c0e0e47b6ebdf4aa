"""What the parsers of all commands share."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

__all__ = ["PROGRAM", "Parser", "positive"]

PROGRAM = "parallel-backend"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all errors of the commands are."""

    def error(self, message: str) -> NoReturn:
        """Tell it on stderr, and exit with 2."""
        line = f"{PROGRAM}: error: {message} (see {self.prog} --help)"
        self.exit(2, " ".join(line.split()) + "\n")


def positive(text: str) -> int:
    """A whole number from 1, as a parser's `type`."""
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)
