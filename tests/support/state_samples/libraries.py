"""What projects change in modules of the standard library, of setuptools and of distutils."""

from __future__ import annotations

from hook_sequences import Sample
from state_samples.telling import WHEEL, telling

__all__ = ["LIBRARIES"]

_STANDARD: dict[str, Sample] = {
    "start_method": telling(
        "multiprocessing.get_start_method(allow_none=True)",
        "multiprocessing.set_start_method('spawn')",
        imports="import multiprocessing",
    ),
    "root_log_handlers": telling(
        "(len(logging.root.handlers), logging.root.level)",
        """\
        logging.root.addHandler(logging.FileHandler("build.log"))
        logging.root.setLevel(logging.ERROR)
        """,
        imports="import logging",
    ),
    "log_switches": telling(
        "(logging.root.manager.disable, logging.raiseExceptions, logging.getLevelName(7), "
        "logging.getLoggerClass().__module__, logging.getLogger('own').level)",
        """\
        class Own(logging.Logger):
            pass
        logging.disable(logging.WARNING)
        logging.raiseExceptions = False
        logging.addLevelName(7, "SEVEN")
        logging.setLoggerClass(Own)
        logging.getLogger("own").setLevel(3)
        """,
        imports="import logging",
    ),
    "temporary_folder": telling(
        "os.path.basename(tempfile.gettempdir())",
        "tempfile.tempdir = os.getcwd()",
        imports="import tempfile",
    ),
    "temporary_folder_looked_up": telling(
        "os.path.basename(tempfile.gettempdir())",
        """\
        os.mkdir("own")
        os.environ["TMPDIR"] = os.path.abspath("own")
        tempfile.tempdir = None
        tempfile.gettempdir()
        """,
        imports="import tempfile",
    ),
    "socket_timeout": telling(
        "socket.getdefaulttimeout()", "socket.setdefaulttimeout(7)", imports="import socket"
    ),
    "opener_installed": telling(
        "urllib.request._opener is None",
        "urllib.request.install_opener(urllib.request.build_opener())",
        imports="import urllib.request",
    ),
    "function_replaced": telling(
        "shutil.copyfile.__module__",
        """\
        copyfile = shutil.copyfile
        def copy_and_change(source, target, **options):
            copyfile(source, target, **options)
            with open(target, "a") as file:
                file.write("# changed\\n")
        shutil.copyfile = copy_and_change
        """,
        imports="import shutil",
        hook=WHEEL,
    ),
    "class_replaced": telling(
        "subprocess.Popen.__module__",
        """\
        class Popen(subprocess.Popen):
            pass
        subprocess.Popen = Popen
        """,
        imports="import subprocess",
    ),
    "method_replaced": telling(
        "subprocess.Popen.wait.__module__",
        "subprocess.Popen.wait = lambda self, timeout=None: 0",
        imports="import subprocess",
    ),
    "function_deleted": telling("hasattr(os, 'link')", "del os.link"),
    "platform_replaced": telling(
        "(platform.machine.__module__, os.path.join.__module__, sys.platform)",
        """\
        join = os.path.join
        platform.machine = lambda: "own"
        os.path.join = lambda *parts: join(*parts)
        """,
        imports="import platform",
    ),
    "sysconfig_variables": telling(
        "(sysconfig.get_config_var('EXT_SUFFIX'), sysconfig.get_config_var('LEFT'))",
        "sysconfig.get_config_vars().update(EXT_SUFFIX='.own.so', LEFT='1')",
        imports="import sysconfig",
    ),
}

_SETUPTOOLS: dict[str, Sample] = {
    "distutils_variables": telling(
        "(sysconfig.get_config_var('EXT_SUFFIX'), sysconfig.get_config_var('LEFT'))",
        "sysconfig.get_config_vars().update(EXT_SUFFIX='.own.so', LEFT='1')",
        imports="import setuptools\nfrom distutils import sysconfig",
    ),
    "variables_of_check_environ": telling(
        "('PLAT' in os.environ, 'HOME' in os.environ, subst_vars('$PLAT', {}))",
        "check_environ()\ndel os.environ['HOME']",
        imports="import setuptools\nfrom distutils.util import check_environ, subst_vars",
    ),
    "home_of_check_environ": telling(
        "os.environ.get('HOME')",
        "check_environ()",
        imports="import setuptools\nfrom distutils.util import check_environ",
        env={"HOME": None},
    ),
    "caches": telling(
        "[(name, each.cache_info().currsize) for name, each in sorted(vars(util).items()) "
        "if hasattr(each, 'cache_info')] + [parse_req.cache_info().currsize]",
        "check_environ()\nparse_req('one>=1')",
        imports="import setuptools\nfrom distutils import util\nfrom distutils.util import "
        "check_environ\nfrom setuptools._reqs import parse_req",
    ),
    "last_distribution": telling(
        "distutils.core._setup_distribution",
        imports="import setuptools, distutils.core",
    ),
    "log_threshold": telling(
        "(log.set_threshold.__module__, distutils.debug.DEBUG)",
        "log.set_verbosity(2)\ndistutils.debug.DEBUG = 'yes'",
        imports="import setuptools, distutils.debug\nfrom distutils import log",
    ),
    "setup_wrapped": telling(
        "setuptools.setup.__module__",
        """\
        original = setup
        def setup(**keywords):
            return original(**keywords)
        setuptools.setup = setup
        """,
        imports="import setuptools",
    ),
    "class_attributes": telling(
        "(len(Distribution.global_options), len(build_py.user_options),"
        " hasattr(Distribution, 'own'), sdist.negative_opt, CCompiler.language_map.get('.own'),"
        " UnixCCompiler.src_extensions, UnixCCompiler.executables['compiler_so'])",
        """\
        Distribution.global_options.append(("own", None, "own"))
        build_py.user_options = [*build_py.user_options, ("own=", None, "own")]
        Distribution.own = 2
        sdist.negative_opt["own"] = "quiet"
        CCompiler.language_map[".own"] = "c"
        UnixCCompiler.src_extensions.append(".own")
        UnixCCompiler.executables["compiler_so"] = ["own"]
        """,
        imports="from setuptools.dist import Distribution\n"
        "from setuptools.command.build_py import build_py\n"
        "from setuptools.command.sdist import sdist\n"
        "from distutils.ccompiler import CCompiler\n"
        "from distutils.unixccompiler import UnixCCompiler",
    ),
    "attribute_deleted": telling(
        "hasattr(Command, 'debug_print')",
        "del Command.debug_print",
        imports="import setuptools\nfrom distutils.cmd import Command",
    ),
    "modules_forgotten": telling(
        "sys.modules['setuptools'] is sys.modules['setuptools.build_meta'].setuptools",
        after="""\
        for name in list(sys.modules):
            if name.partition(".")[0] in ("setuptools", "distutils"):
                del sys.modules[name]
        """,
    ),
    "module_replaced": telling(
        "hasattr(json, 'dumps')",
        after="sys.modules['json'] = type(sys)('json')",
        imports="import json",
    ),
}

LIBRARIES = {**_STANDARD, **_SETUPTOOLS}
