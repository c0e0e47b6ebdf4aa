"""What projects change in the interpreter and in its process."""

from __future__ import annotations

from hook_sequences import Sample
from state_samples.telling import WHEEL, telling

__all__ = ["INTERPRETER"]

INTERPRETER: dict[str, Sample] = {
    "umask": telling(
        "open('/proc/self/status').read().partition('Umask:')[2][:6]",
        "os.umask(0o077)",
        hook=WHEEL,
    ),
    "environment_grown": telling(
        "os.environ.get('CFLAGS')",
        "os.environ['CFLAGS'] = os.environ.get('CFLAGS', '') + ' -DADDED'",
    ),
    "environment_shrunk": telling("'PATH' in os.environ", "del os.environ['PATH']"),
    "environment_rebound": telling(
        "(type(os.environ).__name__, os.environ.get('LEFT'), os.getenv('LEFT'))",
        "os.environ = dict(os.environ, LEFT='1')",
    ),
    "time_zone": telling(
        "time.tzname",
        """\
        os.environ["TZ"] = "XYZ-3"
        time.tzset()
        """,
        imports="import time",
        env={"TZ": "UTC"},
    ),
    "locale": telling(
        "locale.setlocale(locale.LC_ALL)",
        "locale.setlocale(locale.LC_ALL, 'C')",
        imports="import locale",
        env={"LC_ALL": "C.UTF-8"},
    ),
    "argv_emptied": telling("len(sys.argv)", after="sys.argv[:] = []"),
    "argv_rebound": telling(
        "os.path.basename(sys.argv[0])", after="sys.argv = ['setup.py', 'install']"
    ),
    "path_grown": telling(
        "[os.path.basename(entry) for entry in sys.path]",
        "sys.path.insert(0, os.path.join(os.getcwd(), 'src'))\nsys.path.append('.')",
    ),
    "path_rebound": telling(
        "[os.path.basename(entry) for entry in sys.path]", "sys.path = ['tools', *sys.path]"
    ),
    "finder_installed": telling(
        "find_spec('made_up') is not None",
        """\
        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                return spec_from_loader(name, None) if name == "made_up" else None
        sys.meta_path.insert(0, Finder)
        """,
        imports="from importlib.util import find_spec, spec_from_loader",
    ),
    "path_hook_installed": telling(
        "len(sys.path_hooks)",
        """\
        def hook(entry):
            raise ImportError(entry)
        sys.path_hooks.insert(0, hook)
        """,
    ),
    "signal_handlers": telling(
        "[signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGPIPE, signal.SIGALRM)]",
        """\
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, lambda number, frame: None)
        """,
        imports="import signal",
    ),
    "signals_blocked": telling(
        "signal.pthread_sigmask(signal.SIG_BLOCK, [])",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])",
        imports="import signal",
    ),
    "alarm_set": telling(
        "signal.getitimer(signal.ITIMER_REAL)[0] > 0", "signal.alarm(3600)", imports="import signal"
    ),
    "soft_limit": telling(
        "resource.getrlimit(resource.RLIMIT_NOFILE)[0]",
        """\
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
        """,
        imports="import resource",
    ),
    "switches": telling(
        "(sys.getrecursionlimit(), sys.dont_write_bytecode, sys.getswitchinterval(), "
        "sys.get_int_max_str_digits(), sys.getdlopenflags(), hasattr(sys, 'tracebacklimit'), "
        "gc.isenabled(), gc.get_threshold(), faulthandler.is_enabled())",
        """\
        sys.setrecursionlimit(sys.getrecursionlimit() + 1000)
        sys.dont_write_bytecode = True
        sys.setswitchinterval(0.5)
        sys.set_int_max_str_digits(0)
        sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
        sys.tracebacklimit = 3
        gc.disable()
        gc.set_threshold(100, 5, 5)
        faulthandler.enable()
        """,
        imports="import faulthandler, gc",
    ),
    "hooks_of_the_interpreter": telling(
        "[hook.__module__ for hook in (sys.excepthook, sys.unraisablehook, sys.displayhook, "
        "threading.excepthook)] + [sys.getprofile()]",
        """\
        def hook(*args):
            pass
        sys.excepthook = sys.unraisablehook = sys.displayhook = threading.excepthook = hook
        sys.setprofile(hook)
        """,
        imports="import threading",
    ),
    "stream_rebound": telling(
        "(sys.stdout is None, sys.stderr is None)", "sys.stdout = sys.stderr = None"
    ),
    "stream_reconfigured": telling(
        "(sys.stdout.encoding, sys.stdout.errors, sys.stdout.line_buffering)",
        "sys.stdout.reconfigure(encoding='latin-1', errors='replace', line_buffering=True)",
        env={"PYTHONIOENCODING": "utf-8"},
    ),
    "stream_detached": telling(
        "print('text') is None",
        "sys.stdout = codecs.getwriter('utf-8')(sys.stdout.detach())",
        imports="import codecs",
    ),
    "descriptor_redirected": telling(
        "[os.readlink(f'/proc/self/fd/{number}') == '/dev/zero' for number in (0, 2)]",
        """\
        zero = os.open("/dev/zero", os.O_RDWR)
        os.dup2(zero, 0)
        os.dup2(zero, 2)
        os.close(zero)
        """,
    ),
    "descriptor_left": telling(
        "sum(os.path.realpath(f'/proc/self/fd/{number}') == '/dev/zero' "
        "for number in os.listdir('/proc/self/fd'))",
        "os.open('/dev/zero', os.O_RDWR)",
    ),
    "thread_left": telling(
        "threading.active_count()",
        "threading.Thread(target=threading.Event().wait, daemon=True).start()",
        imports="import threading",
    ),
    "warnings_are_errors": telling(
        "warnings.warn('a warning')",
        "warnings.simplefilter('error')",
        imports="import warnings",
    ),
    "warnings_shown_otherwise": telling(
        "warnings.showwarning.__module__",
        "warnings.showwarning = lambda *args, **options: None",
        imports="import warnings",
    ),
    "name_added_to_builtins": telling(
        "getattr(builtins, '__OWN_SETUP__', False)",
        "builtins.__OWN_SETUP__ = True",
        imports="import builtins",
    ),
    "name_replaced_in_builtins": telling(
        "(print.__module__, len.__module__)",
        """\
        builtins.print = lambda *args, **options: None
        size = len
        builtins.len = lambda what: size(what)
        """,
        imports="import builtins",
    ),
}
