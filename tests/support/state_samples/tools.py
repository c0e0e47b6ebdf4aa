"""What projects change in commands and compilers, and builds that show it."""

from __future__ import annotations

from hook_sequences import Sample, call, project
from projects import TINY_C
from state_samples.telling import METADATA, WHEEL, told_by

__all__ = ["TOOLS"]

# The module holds how often the word was added: what a wheel's bytes can tell.
_COUNTING_C = """\
#if defined(ADDED_2)
int added = 3;
#elif defined(ADDED_1)
int added = 2;
#elif defined(ADDED_0)
int added = 1;
#endif
void *PyInit_tiny(void) { return &added; }
"""

_SETUP = """\
import os, sys
from setuptools import Extension, setup
from distutils.ccompiler import CCompiler
from distutils.unixccompiler import UnixCCompiler

{changes}
setup(name="one", version="1.0", ext_modules=[Extension("tiny", ["tiny.c"])])
"""

_FLAGS = """\
flags = os.environ.get("CFLAGS", "")
os.environ["CFLAGS"] = f"{flags} -DADDED_{flags.count('ADDED')}"
"""

_WRAPPED = """\
original = UnixCCompiler._compile

def _compile(self, obj, src, ext, cc_args, extra_postargs, pp_opts):
    count = sum("ADDED" in word for word in extra_postargs)
    more = [*extra_postargs, f"-DADDED_{count}"]
    original(self, obj, src, ext, cc_args, more, pp_opts)

UnixCCompiler._compile = _compile
"""

_ORIGINAL_KEPT = """\
def new(self, sources, **options):
    options["extra_preargs"] = [*(options.get("extra_preargs") or []), "-DADDED_0"]
    return self._orig(sources, **options)

CCompiler._orig = CCompiler.compile
CCompiler.compile = new
"""

# Newer compilers run their commands with `call`.
_SPAWN = """\
name = "call" if hasattr(CCompiler, "call") else "spawn"
original = getattr(CCompiler, name)

def own(self, command, **options):
    with open("commands.txt", "a") as file:
        file.write("a command\\n")
    original(self, command, **options)

setattr(CCompiler, name, own)
"""

_EXTENSIONS = """\
UnixCCompiler.src_extensions.clear()
"""

_SUFFIX = """\
from distutils import sysconfig
suffix = sysconfig.get_config_var("EXT_SUFFIX")
sysconfig.get_config_vars()["EXT_SUFFIX"] = ".own" + suffix
"""

_GUARD = """\
import os
from setuptools import Extension, setup

built = {}
if "OWN_GUARD" not in os.environ:
    os.environ["OWN_GUARD"] = "1"
    built["ext_modules"] = [Extension("tiny", ["tiny.c"])]
setup(name="one", version="1.0", py_modules=["one"], **built)
"""

_SUB_COMMAND = """\
from setuptools import Command, setup
from distutils.command.build import build

class own(Command):
    user_options = []

    def initialize_options(self):
        pass

    def finalize_options(self):
        pass

    def run(self):
        print("the own command")

build.sub_commands.insert(0, ("own", None))
setup(name="one", version="1.0", py_modules=["one"], cmdclass={"own": own})
"""


def _compiling(changes: str, source: str = _COUNTING_C) -> Sample:
    """A project that compiles, three times from nothing."""
    files = project("one", setup=_SETUP.format(changes=changes), files={"tiny.c": source})
    again = [{"delete": "one/build"}, call(WHEEL)]
    return Sample(files=files, steps=[call(WHEEL), *again, *again])


def _then_another(changes: str) -> Sample:
    """A project that tells its metadata alone, then another one that compiles."""
    files = {
        **project("one", setup=_SETUP.format(changes=changes), files={"tiny.c": _COUNTING_C}),
        **project(
            "two",
            setup=_SETUP.format(changes="").replace('"one"', '"two"'),
            files={"tiny.c": TINY_C.format(name="tiny")},
        ),
    }
    return Sample(files=files, steps=[call(METADATA), call(WHEEL, "two"), call(METADATA)])


TOOLS: dict[str, Sample] = {
    "compiler_options_grown": _compiling(_FLAGS),
    "compile_wrapped": _compiling(_WRAPPED),
    "compile_replaced_and_kept": _compiling(_ORIGINAL_KEPT),
    "spawn_rebound": _then_another(_SPAWN),
    "list_of_a_class_emptied": _then_another(_EXTENSIONS),
    "suffix_changed": _then_another(_SUFFIX),
    "one_shot_guard": Sample(
        files=project("one", setup=_GUARD, files={"tiny.c": TINY_C.format(name="tiny")}),
        steps=[call(METADATA), call(WHEEL), call(WHEEL)],
    ),
    "sub_command_inserted": Sample(
        files={
            **project("one", setup=_SUB_COMMAND),
            **project("two", setup=told_by("two", tells="None")),
        },
        steps=[call(WHEEL), call(WHEEL, "two"), call(WHEEL)],
    ),
}
