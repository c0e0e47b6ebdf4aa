"""The hook server: one warm interpreter that runs hooks of build backends for a frontend.

Run this file by its path, with the interpreter of the environment that the backend is installed in.
It needs nothing but the standard library and the files beside it, and hooks see nothing of it.

    python server.py [--channel READ WRITE] [--no-fork] [--patience SECONDS]

The protocol, version 1
=======================

Messages are JSON objects, one a line, in UTF-8. Blank lines mean nothing. Requests come by standard
input, answers go by standard output; or both by the descriptors that ``--channel`` names, which may
be one connection. A client must skip keys that it does not know in what it gets, and messages with
neither "id" nor "hello".

The server speaks first: {"hello": 1, "python": "3.12.1", "pid": 4711, "fork": true}. "hello" is the
protocol's version; "fork" tells if hooks run in forks, or each in a fresh process.

Requests
--------

{"id": 1, "hook": "build_wheel", "backend": "setuptools.build_meta", "source": "/my/project", ...}
calls a hook. "id" is a string or a whole number, "hook" any attribute of the backend, "backend" as
``build-backend`` in pyproject.toml, "source" the project's directory. There may be:

    "arguments"     an object of keyword arguments
    "backend-path"  a list of directories in the source, which the backend must come from
    "environment"   the hook's whole environment; without it, the one that the server began with
    "stdout"        a file that the hook's standard output is added to
    "stderr"        the same for standard error; without them, the server's own descriptors
    "timeout"       seconds after which the hook is ended

{"id": 2, "script": "/path/script.py", "source": "/my/project", ...} runs a script in that directory
as ``python /path/script.py`` does. Its "arguments" are a list of strings; a "backend" is a hint
what the script will import; all else is as above. Paths are absolute, but for a "backend-path".

{"cancel": 1} gives up a request that is not answered yet. It is answered once, as cancelled or as
what it came to before. Each further one goes on to the next signal without patience (see below).

Requests wait for each other, and are answered in their order, but for bad and cancelled ones.

Answers
-------

{"id": 1, "outcome": "returned", "value": ...} or one of these outcomes:

    "raised"      with "type" (module.name), "message", "traceback" (text) and "notes" (a list); for
                  SystemExit "code" as well: a number, a string or null. So is a value that JSON
                  cannot carry: a TypeError.
    "killed"      with "signal": a signal's name, such as "SIGABRT"
    "exited"      with "status": a script's exit status, 0 included; a hook's process that ended
                  without an answer, by ``os._exit`` or since the hook has closed everything
    "no-backend"  with "message" and "traceback": it cannot be imported, or not from its path
    "no-hook"     with "message": the backend has no such attribute
    "refused"     with "message": a bad request, or one that cannot be begun; "id" may be null

What came of being ended has "cancelled": true, "timed-out": true or "server-ended": true.

The ends of things
------------------

A hook leads a process group. To end it the group gets SIGINT, and when the patience is over (12
seconds) SIGTERM, then SIGKILL, as does what is left of it then. Where nobody waits for an answer it
begins with SIGTERM.

The end of the input means that no more requests come: those that came are still served. Nobody who
reads answers any more, SIGTERM and SIGHUP mean that the hook is ended, and the server ends. SIGINT
means that only where requests come from a terminal: a frontend decides itself what Ctrl-C means.

A hook's process is a fork of one that has imported the backend. That one is replaced when what a
fresh one would find has changed; no message tells of it.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Be the server. What it consists of is loaded without the package that it is in.

    That package may be another one here, or none, and hooks must find what is there.
    """
    directory = os.path.dirname(os.path.abspath(__file__))
    if not (sys.flags.safe_path or sys.flags.isolated):
        del sys.path[0]  # this script's directory
    places = {
        "parallel_backend": os.path.dirname(os.path.dirname(directory)),
        "parallel_backend.tools": os.path.dirname(directory),
        "parallel_backend.tools.hook_server": directory,
    }
    for name, place in places.items():
        package = type(sys)(name)
        package.__path__ = [place]
        sys.modules[name] = package
    from parallel_backend.tools.hook_server.main import main

    main()


if __name__ == "__main__":
    main()
