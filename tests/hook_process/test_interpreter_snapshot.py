"""The look at an interpreter sees what a hook could leave: else tests of it could not fail."""

from __future__ import annotations

import json
from pathlib import Path

import interpreter_snapshot
from scripts import run_script

# What a look must see: the key, and what a caller does that changes it.
SEEN = {
    "environ/LEFT": "os.environ['LEFT'] = '1'",
    "folder": "os.chdir('/')",
    "status/Umask": "os.umask(0o077)",
    "locale": "import locale; locale.setlocale(locale.LC_ALL, 'C')",
    "time zone": "import time; os.environ['TZ'] = 'XYZ-3'; time.tzset()",
    "limit/RLIMIT_NOFILE": "import resource as r; "
    "r.setrlimit(r.RLIMIT_NOFILE, (99, r.getrlimit(r.RLIMIT_NOFILE)[1]))",
    "children": "import subprocess; subprocess.Popen(['sleep', '1'])",
    "descriptor/": "os.dup(0)",
    "descriptor/0": "os.dup2(os.open('/dev/zero', os.O_RDONLY), 0)",
    "signal/10": "import signal; signal.signal(10, print)",
    "status/SigIgn": "import signal; signal.signal(10, signal.SIG_IGN)",
    "status/SigBlk": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [10])",
    "timer": "import signal; signal.alarm(3600)",
    "sys.stdout errors": "sys.stdout.reconfigure(errors='replace')",
    "sys.getrecursionlimit": "sys.setrecursionlimit(2000)",
    "gc": "import gc; gc.disable()",
    "atexit": "import atexit; atexit.register(print)",
    "threads": "import threading as t; t.Thread(target=t.Event().wait, daemon=True).start()",
    "sys.argv": "sys.argv = list(sys.argv)",
    "sys.path": "sys.path.append('left')",
    "sys.meta_path": "sys.meta_path.reverse()",
    "importer/": "import importlib.util; sys.path_importer_cache['/left'] = sys.meta_path[0]",
    "modules/left": "sys.modules['left'] = type(sys)('left')",
    "modules/json": "sys.modules['json'] = type(sys)('json')",
    "warnings.filters": "import warnings; warnings.simplefilter('error')",
    "warnings/showwarning": "import warnings; warnings.showwarning = print",
    "setuptools/__warningregistry__/": "import setuptools, warnings; warnings.warn_explicit("
    "'text', UserWarning, 'file', 1, registry=vars(setuptools).setdefault("
    "'__warningregistry__', {}))",
    "logging.disable": "import logging; logging.disable()",
    "logger/root/level": "import logging; logging.root.setLevel(7)",
    "logger/root/handlers": "import logging; logging.root.addHandler(logging.NullHandler())",
    "sys/stdout": "sys.stdout = sys.stderr",
    "sys/excepthook": "sys.excepthook = print",
    "sys/dont_write_bytecode": "sys.dont_write_bytecode = True",
    "socket timeout": "import socket; socket.setdefaulttimeout(7)",
    "start method": "import multiprocessing; multiprocessing.set_start_method('spawn')",
    "tempfile/tempdir": "import tempfile; tempfile.tempdir = '/left'",
    "weakref.finalize": "import weakref; weakref.finalize(print, print)",
    "shutil/copyfile": "import shutil; shutil.copyfile = print",
    "subprocess/Popen.wait": "import subprocess; subprocess.Popen.wait = print",
    "sysconfig variables/CC": "import sysconfig; sysconfig.get_config_vars()['CC'] = 'left'",
    "distutils.core/_setup_distribution": "import distutils.core as c; c._setup_distribution = 1",
    "distutils.dist/Distribution.left": "import distutils.dist as d; d.Distribution.left = 1",
    "setuptools.dist/_Distribution.global_options": "import setuptools.dist as d; "
    "d._Distribution.global_options.append('left')",
    "distutils.util/check_environ cache": "import distutils.util as u; u.check_environ()",
    "builtins/left": "import builtins; builtins.left = True",
}

# Settled, so that the changes of locale and time zone are changes on every machine; and without
# coverage, which is at work in between.
ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "COVERAGE_PROCESS_START": "",
    "COVERAGE_PROCESS_CONFIG": "",
}

# Each change in a fork of its own, which compares with what its parent has seen.
SCRIPT = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import interpreter_look, interpreter_snapshot
import parallel_backend, setuptools.dist, distutils.util

before, found = interpreter_snapshot.look(), {}
for key, change in json.load(open(sys.argv[2])).items():
    inlet, outlet = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(inlet)
        here = interpreter_snapshot.look()
        exec(change)
        changed = interpreter_look.differences(here, interpreter_snapshot.look())
        os.write(outlet, json.dumps([key for key, *_ in changed]).encode())
        os._exit(0)
    os.close(outlet)
    found[key] = json.loads(os.fdopen(inlet).read() or "null")
    os.waitpid(pid, 0)
found["nothing"] = interpreter_look.differences(before, interpreter_snapshot.look())
json.dump(found, open("found.json", "w"))
"""


def test_whatever_a_hook_could_leave_is_seen_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "changes.json").write_text(json.dumps(SEEN), encoding="utf-8")
    here = Path(interpreter_snapshot.__file__).parent
    done = run_script(SCRIPT, here, tmp_path / "changes.json", cwd=tmp_path, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found.pop("nothing") == []
    not_seen = {
        key: keys
        for key, keys in found.items()
        if not any(each.startswith(key) for each in keys or ())
    }
    assert not_seen == {}
