"""A backend whose hooks do what no real one should. Tests copy it to where a server finds it."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn


class Nested:
    """A backend object: ``made_up:nested.inner``."""

    def __init__(self, name: str, inner: Nested | None = None) -> None:
        self.name = name
        self.inner = inner

    def who(self) -> str:
        return self.name


nested = Nested("outer", Nested("inner"))
left_open: list[Any] = []


class OwnError(Exception):
    """An exception as a backend defines it."""


class SpeechlessError(Exception):
    """One that cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no words")


class NotesError(Exception):
    """One whose notes cannot be had."""

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise ValueError("no notes")


class Stopped(BaseException):
    """One that ``except Exception`` does not see."""


def look(**arguments: Any) -> dict[str, Any]:
    """What a hook sees."""
    return {
        "arguments": arguments,
        "argv": sys.argv,
        "environment": dict(os.environ),
        "file": __file__,
        "flags": {
            "optimize": sys.flags.optimize,
            "isolated": sys.flags.isolated,
            "utf8_mode": sys.flags.utf8_mode,
            "dev_mode": sys.flags.dev_mode,
        },
        "folder": os.getcwd(),
        "group": os.getpgid(0),
        "modules": sorted(sys.modules),
        "path": sys.path,
        "process": os.getpid(),
        "parent": os.getppid(),
        "stdin": os.path.samestat(os.fstat(0), os.stat(os.devnull)),
        "zone": time.tzname[0],
    }


def return_value(of: str) -> Any:
    return {
        "large": "é\ud800" * (1 << 20),
        "set": {1},
        "nan": float("nan"),
        "object": object(),
        "tuple": (1, (2,)),
    }[of]


def give_back(value: Any) -> Any:
    return value


def descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
    return found


def signals() -> dict[str, Any]:
    names = ["SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD", "SIGPIPE", "SIGTTIN", "SIGTTOU"]
    found = {}
    for name in names:
        handler: Any = signal.getsignal(getattr(signal, name))
        found[name] = getattr(handler, "__name__", None) or signal.Handlers(handler).name
    blocked = sorted(signal.Signals(number).name for number in signal.pthread_sigmask(0, []))
    return {"handlers": found, "blocked": blocked, "wakeup": signal.set_wakeup_fd(-1)}


def raise_error(of: str) -> NoReturn:
    if of == "notes":
        error = OwnError("first line\nsecond line")
        error.add_note("a note")
        raise error from ValueError("the cause")
    if of == "exit":
        sys.exit("a reason")
    if of == "exit-status":
        sys.exit(7)
    if of == "exit-nothing":
        raise SystemExit
    if of == "exit-object":
        raise SystemExit(["odd"])
    if of == "interrupt":
        raise KeyboardInterrupt
    if of == "speechless":
        raise SpeechlessError
    if of == "no-notes":
        raise NotesError("plain")
    if of == "stopped":
        raise Stopped("from below")
    raise AssertionError(of)


def end(how: str) -> Any:
    """End this process, or break it."""
    if how == "abort":
        os.abort()
    elif how == "exit":
        os._exit(3)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "real-time":
        os.kill(os.getpid(), signal.SIGRTMIN + 5)
    elif how == "kill-group":
        os.killpg(0, signal.SIGTERM)
        time.sleep(60)
    elif how == "close-standard":
        for descriptor in range(3):
            os.close(descriptor)
    elif how == "close-all":
        os.closerange(0, 4096)
    return "still here"


def replace_descriptors(file: str) -> str:
    """Close all, then open a file again and again, so that it has every number."""
    os.closerange(0, 1024)
    for _ in range(400):
        os.open(file, os.O_WRONLY | os.O_CREAT)
    return "to nobody"


def write(stdout: int, stderr: int = 0) -> None:
    """Write every byte there is, again and again."""
    block = bytes(range(256))
    for descriptor, size in ((1, stdout), (2, stderr)):
        data = (block * (size // 256 + 1))[:size]
        while data:
            data = data[os.write(descriptor, data) :]


def talk() -> None:
    print("to stdout: Grüße")
    print("to stderr: Grüße", file=sys.stderr)
    print("no line end", end="")


def replace_streams() -> None:
    """Leave text in the streams that were there before."""
    print("left behind", end="")
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - nobody closes it


def leave_work(folder: str, interrupted: bool = False) -> str:
    """Leave to the end of the process what the end of an interpreter does.

    `interrupted`: SIGINT comes while that is done.
    """
    shown = threading.Event()

    def late(name: str) -> None:
        Path(folder, name).write_text("done")

    def show(*error: Any) -> None:
        sys.__excepthook__(*error)
        shown.set()

    def thread() -> None:
        threading.main_thread().join()  # it has begun to wait for threads
        late("thread")
        if interrupted:
            # A signal just before the main thread waits for a lock does not wake it (CPython).
            while not shown.wait(1):
                os.kill(os.getpid(), signal.SIGINT)

    sys.excepthook = show
    atexit.register(late, "atexit")
    threading.Thread(target=thread).start()
    left_open.append(open(Path(folder, "left-open"), "w"))  # noqa: SIM115 - nobody closes it
    left_open[0].write("done")
    return "returned"


def fork_and_return(folder: str) -> str:
    """Return twice: from here, and from a fork."""
    pid = os.fork()
    if pid == 0:
        return "from the fork"
    _, status = os.waitpid(pid, 0)
    return f"from the hook, {status}"


def leave_child(file: str) -> int:
    """Leave a process that holds everything open that this one has, in its own group."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        Path(file).write_text(str(os.getpid()))
        signal.pause()
    while not Path(file).exists():
        time.sleep(0.001)
    return pid


def wait(file: str, heeding: str = "", child: bool = False) -> NoReturn:
    """Tell that it waits, and wait for a signal. `heeding`: which ones do not end it."""

    def heed(*_: object) -> None:
        with open(f"{file}.heard", "a") as heard:
            heard.write("heard\n")

    for name in heeding.split():
        signal.signal(getattr(signal, name), heed)
    if child:
        ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        ignore += "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True);"
        process = subprocess.Popen(
            [sys.executable, "-c", f"{ignore} signal.pause()"], stdout=subprocess.PIPE
        )
        assert process.stdout
        process.stdout.readline()
        Path(f"{file}.child").write_text(str(process.pid))
    partly = Path(f"{file}.partly")
    partly.write_text(str(os.getpid()))
    partly.rename(file)
    while True:  # not `pause`, which may begin just after the signal
        time.sleep(0.01)


def clean_up(file: str) -> None:
    """Wait; at Ctrl-C clean up."""
    try:
        wait(file)
    finally:
        Path(f"{file}.clean").write_text("clean")


def try_import(name: str) -> str | None:
    """Where a module is, if there is one."""
    try:
        return str(getattr(__import__(name), "__file__", None))
    except ImportError:
        return None


def read_line() -> str:
    return sys.stdin.readline()
