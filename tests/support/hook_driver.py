"""Call one hook of a build backend in this process, as a frontend does; standard library only.

`python hook_driver.py REQUEST`: REQUEST is a JSON file with `path`, `backend`, `hook`, `args`,
`kwargs` and `result`, the file to write the hook's result to. An exception is left to the
interpreter: its traceback goes to stderr, and there is no result file.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main(request_file: str) -> None:
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    # The first entry is this script's own folder, which no frontend would have there.
    sys.path[:1] = request["path"]
    sys.argv[1:] = []
    module, _, attributes = request["backend"].partition(":")
    backend = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        backend = getattr(backend, attribute)
    result = getattr(backend, request["hook"])(*request["args"], **request["kwargs"])
    Path(request["result"]).write_text(json.dumps({"result": result}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
