"""Where a fork is not safe: a hook in the caller's own process, whose state is put back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import wheel_bytes_equal
from projects import TINY_C, make_project
from scripts import run_script

THREADED = """
import threading
end = threading.Event()
other = threading.Thread(target=end.wait)
other.start()
try:
    main()
finally:
    end.set()
    other.join()
"""

IN_PLACE = (
    """
import json, os, sys
from parallel_backend.process_state import fork_is_safe, run_hook

def state():
    mask = os.umask(0)
    os.umask(mask)
    path, argv = (id(sys.path), sys.path[:]), (id(sys.argv), sys.argv[:])
    return {"environ": dict(os.environ), "cwd": os.getcwd(), "path": path, "argv": argv,
            "umask": mask}

def hook(private):
    os.environ["ADDED"] = "1"
    os.environ["CHANGED"] = "after"
    del os.environ["REMOVED"]
    os.chdir(private)
    sys.path.insert(0, "added")
    if sys.argv[1] == "rebinds":
        sys.path, sys.argv = ["changed"], ["changed"]
    sys.argv[:] = ["changed"]
    os.umask(0o077)
    if fails:
        raise SystemExit("error: it fails")
    return os.getpid()

def main():
    assert not fork_is_safe()
    before = state()
    try:
        result = run_hook(hook)
    except SystemExit as error:
        result = str(error)
    after = state()
    changed = [name for name in before if before[name] != after[name]]
    print(json.dumps({"result": result, "pid": os.getpid(), "changed": changed}))

fails = sys.argv[2] == "raises"
"""
    + THREADED
)


@pytest.mark.parametrize("outcome", ["returns", "raises"])
@pytest.mark.parametrize("how", ["changes", "rebinds"])
def test_in_the_callers_own_process_its_state_is_put_back(
    how: str, outcome: str, tmp_path: Path
) -> None:
    env = {"CHANGED": "before", "REMOVED": "1", "TMPDIR": str(tmp_path)}
    done = run_script(IN_PLACE, how, outcome, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["changed"] == []
    assert told["result"] == (told["pid"] if outcome == "returns" else "error: it fails")
    assert not list(tmp_path.glob("parallel-backend-*"))


TWO_WHEELS = (
    """
import os, shutil, sys
import parallel_backend
from parallel_backend.process_state import fork_is_safe

def main():
    assert not fork_is_safe()
    print(parallel_backend.build_wheel(sys.argv[1], {"jobs": "2"}))
    print(parallel_backend.build_wheel(sys.argv[2], {"jobs": "2"}))
    shutil.rmtree("build")
    print(parallel_backend.build_wheel(sys.argv[3], {"jobs": "2"}))
"""
    + THREADED
)


def test_in_the_callers_own_process_wheel_after_wheel_is_built(tmp_path: Path) -> None:
    names = ["first", "second"]
    folder = make_project(
        tmp_path / "project",
        setup="from setuptools import Extension, setup\n"
        f"setup(ext_modules=[Extension(name, [name + '.c']) for name in {names}])\n",
        files={f"{name}.c": TINY_C.format(name=name) for name in names},
    )
    outs = [tmp_path / str(number) for number in range(3)]
    done = run_script(TWO_WHEELS, *outs, cwd=folder)
    assert done.returncode == 0, done.stderr
    wheels = [wheel for out in outs for wheel in out.iterdir()]
    assert len(wheels) == 3
    assert all(wheel_bytes_equal(wheels[0], wheel) for wheel in wheels[1:])
