"""Call one build hook of one backend, as the only work of a fresh process.

This is what pip does to build without isolation: the current folder is the source tree, and of
this script's own folder nothing stays on ``sys.path``. It runs with the interpreter of the
environment to measure, so it imports the standard library and the backend alone. The answer goes
to a file: setup scripts own stdout.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def backend(reference: str) -> Any:
    """The object that a PEP 517 ``module:object`` reference names."""
    module, _, attributes = reference.partition(":")
    found: Any = import_module(module)
    for name in attributes.split(".") if attributes else ():
        found = getattr(found, name)
    return found


def main() -> None:
    """Read the request (JSON, the only argument), call the hook, write what it returned."""
    request = json.loads(sys.argv[1])
    # sys.path[0] is this script's folder, whose modules are no part of what a frontend offers.
    sys.path[:1] = request["backend_path"]
    sys.argv[1:] = []
    hook = getattr(backend(request["backend"]), request["hook"])
    answer = hook(*request["arguments"])
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")
    if "peak" in request:
        Path(request["peak"]).write_text(str(peak()), encoding="utf-8")


def peak() -> int:
    """KiB that the largest of this process and those below it had.

    Not ``ru_maxrss`` of this process: that is never less than what its parent had when it began.
    """
    import re
    import resource

    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return max(
        int(found[1]) if found else 0, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    )


if __name__ == "__main__":
    main()
