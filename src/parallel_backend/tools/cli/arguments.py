"""What the parsers of all commands share."""

from __future__ import annotations

import argparse
import os
import re
from typing import NoReturn

__all__ = ["PROGRAM", "Parser", "directory", "positive", "reason_of"]

PROGRAM = "parallel-backend"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all errors of the commands are."""

    def error(self, message: str) -> NoReturn:
        """Tell it on stderr, and exit with 2."""
        line = f"{PROGRAM}: error: {message} (see {self.prog} --help)"
        self.exit(2, " ".join(line.split()) + "\n")


def reason_of(error: Exception) -> str:
    """Why something was not done, in one line."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        files = [os.fsdecode(each) for each in (error.filename, error.filename2) if each]
        text = ": ".join([" -> ".join(files), error.strerror] if files else [error.strerror])
    return " ".join(text.split())


def directory(text: str) -> str:
    """A path, as a parser's `type`: an empty one is a variable of a script that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name a directory (. for this one)")
    return text


def positive(text: str) -> int:
    """A whole number from 1, as a parser's `type`."""
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)
