"""Stand before a compiler: run it, and add one line to a log on what it did.

    python recorder.py REAL-COMPILER ARGUMENT...

``RECORDER_LOG`` names the log: JSON, a command a line, in the order of their ends. It is run with
whatever interpreter there is, so it imports the standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

__all__ = ["main"]


def main() -> int:
    """Run the command; its exit status, 128 and more for a signal as shells have it."""
    words = sys.argv[1:]
    process = os.posix_spawn(words[0], words, os.environ)
    _, status, usage = os.wait4(process, 0)
    code = os.waitstatus_to_exitcode(status)
    output = words[words.index("-o") + 1] if "-o" in words[:-1] else ""
    if code == 0 and output:
        line = {
            "words": words,
            "folder": os.getcwd(),
            "output": output,
            # Not the wall's: what else the machine does then would be part of it.
            "seconds": usage.ru_utime + usage.ru_stime,
            "sha256": _digest(output),
        }
        with open(os.environ["RECORDER_LOG"], "a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
    return code if code >= 0 else 128 - code


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
