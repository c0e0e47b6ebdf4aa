"""Which compiler it is: what decides its results beside the words of a command and the files."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from parallel_backend.records.environment_prefix import without_places
from parallel_backend.records.fingerprints import digest, look_at

__all__ = ["Compiler", "Compilers", "program_of"]

_CPLUSPLUS = (".cc", ".cpp", ".cxx", ".c++", ".C", ".mm", ".ii")

# By these names a program is gcc or clang itself, whose manuals list the variables that they read
# (gcc: "Environment Variables Affecting GCC"; clang(1): "ENVIRONMENT").
_FAMILY = re.compile(r"(?:.*-)?(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+)(?:-?[0-9.]+)?(?:\.exe)?")
# What goes before it, and changes nothing in what it makes.
_LAUNCHERS = ("ccache", "sccache", "distcc", "icecc")
_READ_BY_FAMILY = re.compile(
    "(?:C|CPLUS|OBJC|OBJCPLUS)_INCLUDE_PATH|CPATH|COMPILER_PATH|LIBRARY_PATH|LD_RUN_PATH"
    "|GCC_.*|CCC_.*|COLLECT_.*|LANG|LC_ALL|LC_CTYPE|SOURCE_DATE_EPOCH|SDKROOT|.*_DEPLOYMENT_TARGET"
    "|DEPENDENCIES_OUTPUT|SUNPRO_DEPENDENCIES|LD_LIBRARY_PATH|LD_PRELOAD|LDEMULATION|RC_DEBUG.*"
)
# Any other program may read what it likes. These are new for every build, or every terminal.
_OF_THE_MOMENT = re.compile(
    "_|PWD|OLDPWD|SHLVL|TMPDIR|TMP|TEMP|COLUMNS|LINES|TERM.*|WINDOWID|SSH_.*|XDG_.*|DBUS_.*"
    "|VIRTUAL_ENV.*|PYTHONPATH|DIST_EXTRA_CONFIG|(?:CARGO_)?MAKEFLAGS|MFLAGS|MAKELEVEL|PYTEST_.*"
    "|_?PEP517_.*|_PYPROJECT_HOOKS_.*|PIP_.*|UV_.*|BUILD_.*|TOX_.*|_?PARALLEL_BACKEND_.*"
)

_IS_INPUT = re.compile(r".\.(?:o|obj|a|so|lo|c|cc|cp|cpp|cxx|c\+\+|C|m|mm|s|S|i|ii)$")
_NATIVE = re.compile("-m(?:arch|cpu|tune)=native")


class Compiler(NamedTuple):
    """What is known of a program.

    `identity`: a hash of what it is and of what it reads from the environment; "" where it cannot
    tell which files it reads. `folders`: where it looks for headers after those of the command.
    """

    identity: str
    folders: tuple[str, ...] = ()


class Compilers:
    """The programs of one build; each is asked once what it is."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Compiler] = {}
        self._family: dict[tuple[str, str | None], bool] = {}
        self._lock = threading.Lock()
        names = ("CC", "CXX", "LDSHARED", "LDCXXSHARED")
        self._trusted: set[tuple[str, ...]] = set()
        for name in names:
            self._trust_words(
                shlex.split(os.environ.get(name) or sysconfig.get_config_var(name) or "")
            )

    def trust(self, compiler: Any) -> None:
        """Take what a distutils compiler runs for compilers, whatever their names are."""
        for name in getattr(compiler, "executables", None) or ():
            words = getattr(compiler, name, None)
            if isinstance(words, list) and name not in ("archiver", "ranlib"):
                self._trust_words(words)

    def _trust_words(self, words: Sequence[str]) -> None:
        if words:
            self._trusted.add(program_of(words))

    def of_source(
        self, command: Sequence[str], source: str, environ: Mapping[str, str]
    ) -> Compiler:
        """The compiler of a command that compiles `source`, with these variables."""
        language = "c++" if self.is_cplusplus(source) else "c"
        return self._of(program_of(command), language, _is_native(command), environ)

    @staticmethod
    def is_cplusplus(source: str) -> bool:
        """Whether a source is C++ by its name."""
        return os.path.splitext(source)[1] in _CPLUSPLUS

    def of_link(self, command: Sequence[str], environ: Mapping[str, str]) -> Compiler:
        """The linker of a command, as the compiler's driver calls it."""
        choice = tuple(word for word in command if word.startswith(("-fuse-ld", "-B", "--ld-path")))
        return self._of(program_of(command), "", choice, environ)

    def _of(
        self,
        program: tuple[str, ...],
        language: str,
        more: tuple[str, ...],
        environ: Mapping[str, str],
    ) -> Compiler:
        path = environ.get("PATH")
        if not self.is_a_compiler(program):
            return Compiler("")
        of_the_family = all(self._is_of_the_family(word, path) for word in program)
        environment = _environment(environ, of_the_family=of_the_family)
        key = (program, language, more, environment, path)
        with self._lock:
            if key not in self._known:
                self._known[key] = (
                    _ask_compiler(program, language, more, environment)
                    if language
                    else _ask_linker(program, more, environment)
                )
            return self._known[key]

    def is_a_compiler(self, command: Sequence[str]) -> bool:
        """Whether a command's program may be asked what it is: no other is run for that."""
        program = program_of(command)
        *before, last = [os.path.basename(word) for word in program] or [""]
        return program in self._trusted or (
            _FAMILY.fullmatch(last) is not None and all(word in _LAUNCHERS for word in before)
        )

    def _is_of_the_family(self, word: str, search: str | None) -> bool:
        if (word, search) not in self._family:
            self._family[word, search] = _is_of_the_family(word, search)
        return self._family[word, search]


def program_of(command: Sequence[str]) -> tuple[str, ...]:
    """The words of a command before the first option: a compiler, maybe with a launcher."""
    ends = (i for i, word in enumerate(command) if word.startswith("-") or _IS_INPUT.search(word))
    return tuple(command[: next(ends, len(command))])


def _is_native(command: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in command if _NATIVE.fullmatch(word))


def _ask_compiler(
    program: tuple[str, ...], language: str, native: tuple[str, ...], environment: str
) -> Compiler:
    """Ask for its macros, as gcc, clang and their kin tell them, and for what ``-v`` says."""
    # It has to take what it will be asked by.
    rule = ("-MD", "-MF", os.devnull)
    options = (*native, "-v", "-dM", "-E", *rule, "-x", language, os.devnull)
    answer = _answer_of(program, options)
    if answer is None or b"#define __GNUC__ " not in answer.stdout:
        return Compiler("")
    told = os.fsdecode(answer.stderr)
    proper = re.findall(r"(?m)^ (/\S*/(?:cc1\w*|clang\S*)) ", told)
    files = [*_files_of(program), *map(_stamp_of, proper), *_files_of(("as",))]
    decisive = [*files, os.fsdecode(answer.stdout), without_places(told), environment]
    _, _, search = told.partition("search starts here:")
    search, _, _ = search.partition("End of search list.")
    folders = [line.strip() for line in search.splitlines() if line.startswith(" ")]
    return Compiler(digest(_bytes_of(decisive)), tuple(folders))


def _ask_linker(program: tuple[str, ...], choice: tuple[str, ...], environment: str) -> Compiler:
    """Ask whether the linker can tell what it reads: GNU ld from 2.35 on, lld, mold."""
    answer = _answer_of(program, (*choice, f"-Wl,--dependency-file={os.devnull}", "-Wl,--help"))
    # Gold puts the whole path of what it makes into a version script's names.
    if (
        answer is None
        or b"--dependency-file" not in answer.stdout
        or b"[gold,bfd]" in answer.stdout
    ):
        return Compiler("")
    names = [word.partition("=")[2] for word in choice if word.startswith("-fuse-ld=")]
    linkers = [_files_of((name,)) for name in ("ld", *names, *(f"ld.{name}" for name in names))]
    files = [*_files_of(program), *(file for found in linkers for file in found)]
    return Compiler(digest(_bytes_of([*files, environment, os.fsdecode(answer.stdout)])))


def _answer_of(
    program: tuple[str, ...], options: Iterable[str]
) -> subprocess.CompletedProcess[bytes] | None:
    if not program:
        return None
    # With -v gcc tells where it finds a jobserver, which is another one in every build.
    environ = {name: value for name, value in os.environ.items() if "MAKEFLAGS" not in name}
    try:
        answer = subprocess.run(
            [*program, *options],
            env=environ,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return None if answer.returncode else answer


def _bytes_of(words: Iterable[str]) -> bytes:
    return "\0".join(words).encode(errors="surrogateescape")


def _files_of(program: Iterable[str]) -> list[str]:
    """Where the programs are, and hashes of what they are."""
    paths = [shutil.which(word) or word for word in program]
    return [word for path in paths for word in (without_places(path), look_at(path).content)]


def _stamp_of(path: str) -> str:
    """Of a large program: another version has another size or time."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _environment(environ: Mapping[str, str], *, of_the_family: bool) -> str:
    """A hash of the variables that count."""
    if of_the_family:
        names = [name for name in environ if _READ_BY_FAMILY.fullmatch(name)]
    else:
        names = [name for name in environ if not _OF_THE_MOMENT.fullmatch(name)]
    return digest(_bytes_of(f"{name}={without_places(environ[name])}" for name in sorted(names)))


def _is_of_the_family(word: str, search: str | None) -> bool:
    """Whether a program is gcc or clang by its own name, and no script that calls itself so."""
    path = os.path.realpath(shutil.which(word, path=search) or word)
    if os.path.basename(path) in _LAUNCHERS:
        return True
    if not _FAMILY.fullmatch(os.path.basename(path)):
        return False
    try:
        with open(path, "rb") as stream:
            return stream.read(2) != b"#!"
    except OSError:
        return False
