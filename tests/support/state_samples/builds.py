"""What hooks read, write and say, and where: once more in one process."""

from __future__ import annotations

from hook_sequences import Sample, call, project
from state_samples.telling import METADATA, WHEEL, told_by

__all__ = ["BUILDS"]

SDIST = "build_sdist"

_CHDIR = """\
import os
from setuptools import setup

setup(name="one", version="1.0", py_modules=["one"])
os.chdir("sub")
"""

_MKPATH = """\
from setuptools import setup
from distutils.dir_util import mkpath

mkpath("made")
open("made/file.txt", "w").write("text")
setup(name="one", version="1.0", py_modules=["one"])
"""

_AT_EXIT = """\
import atexit, os, weakref
from setuptools import setup

class Thing:
    pass

thing = Thing()
order = []

def write(name):
    order.append(name)
    open("order.txt", "w").write(" ".join(order))

atexit.register(write, "first")
atexit.register(write, "second")
weakref.finalize(thing, open, "finalized.txt", "w")
setup(name="one", version="1.0", py_modules=["one"], description=str(os.path.exists("order.txt")))
"""

_FAILING = """\
import os, sys
from setuptools import setup

os.environ["LEFT"] = "1"
os.umask(0o077)
sys.path.insert(0, "left")
os.chdir("sub")
{fails}
"""

# The first one of each hook's kind of error, as a caller of plain setuptools gets them.
_FAILURES = {
    "an_error": "raise LookupError('the project says no', 7)",
    "an_exit": "raise SystemExit('error: the project says no')",
    "an_exit_with_a_number": "sys.exit(3)",
    "an_exit_without_fault": "sys.exit(0)",
    "an_unknown_keyword": "setup(name='one', py_modules=7)",
    "a_wrong_version": "setup(name='one', version='no version')",
    "no_syntax": "def no syntax",
}

# The table of a license is deprecated: setuptools warns, once for each place in a process.
_DEPRECATED = """\
[build-system]
requires = ["setuptools>=77"]
[project]
name = "one"
version = "1.0"
license = {text = "MIT"}
[tool.setuptools]
py-modules = ["one"]
"""

_SPEAKING = """\
import sys
from setuptools import setup

print("printed by setup.py")
print("an error told by setup.py", file=sys.stderr)
setup(name="one", version="1.0", py_modules=["one"])
"""


def _after_a_failure(fails: str) -> Sample:
    files = {
        **project("one", setup=_FAILING.format(fails=fails), files={"sub/file.txt": ""}),
        **project("two", setup=told_by("two", tells="os.environ.get('LEFT'), sys.path[0]")),
    }
    steps = [call(METADATA, "one"), call(WHEEL, "two"), call(WHEEL, "one")]
    return Sample(files=files, steps=steps)


BUILDS: dict[str, Sample] = {
    "wheel_twice": Sample(files=project("one"), steps=[call(WHEEL), call(WHEEL), call(WHEEL)]),
    "build_folder_deleted": Sample(
        files=project("one"), steps=[call(WHEEL), {"delete": "one/build"}, call(WHEEL)]
    ),
    "metadata_folder_emptied": Sample(
        files=project("one"),
        steps=[call(METADATA, out="meta"), {"delete": "meta"}, call(METADATA, out="meta")],
    ),
    "made_folder_deleted": Sample(
        files=project("one", setup=_MKPATH),
        steps=[call(METADATA), {"delete": "one/made"}, call(METADATA)],
    ),
    "streams_redirected_for_each_hook": Sample(
        files=project("one", setup=_SPEAKING),
        steps=[call(hook, streams=True) for hook in (METADATA, WHEEL, SDIST, WHEEL)],
    ),
    "streams_redirected_then_not": Sample(
        files=project("one", setup=_SPEAKING),
        steps=[call(METADATA, streams=True), call(METADATA), call(METADATA, streams=True)],
    ),
    "warned_once_for_each_place": Sample(
        files=project("one", files={"pyproject.toml": _DEPRECATED}),
        steps=[call(METADATA, streams=True), call(METADATA, streams=True)],
    ),
    "folder_changed": Sample(
        files={
            **project("one", setup=_CHDIR),
            **{f"one/{path}": text for path, text in project("sub").items()},
        },
        steps=[call(WHEEL), call(WHEEL), call(METADATA)],
    ),
    "folder_changed_then_another_project": Sample(
        files={
            **project("one", setup=_CHDIR),
            **{f"one/{path}": text for path, text in project("sub").items()},
            **project("two"),
        },
        steps=[call(WHEEL), call(WHEEL, "two"), call(WHEEL)],
    ),
    "work_left_for_the_exit": Sample(
        files=project("one", setup=_AT_EXIT), steps=[call(METADATA), call(METADATA)]
    ),
    **{f"after_{name}": _after_a_failure(fails) for name, fails in _FAILURES.items()},
}
