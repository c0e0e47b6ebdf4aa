"""Names for the isolated environment and the project that are the same in every build.

A compile cache compares commands and what the preprocessor writes, paths included. A frontend's
environment, and often the source tree, has another path in each build. So the environment is
called by a link in the project's build folder, what lies in the project by its relative path, and
the compiler is told to write neither link nor folder into what it makes
(``-ffile-prefix-map``, from gcc 8 and clang 10 on).

Links are kept apart by what lies in the environment, so that no command ever reads another set of
headers than the build that began it, and have one user at a time: builds that run at once in one
tree have different ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from parallel_backend.records.fingerprints import digest

__all__ = ["StablePaths", "mapped", "output", "stable_paths", "wrapped"]

_FOLDER = os.path.join("build", "parallel-backend")
_MOST_AT_ONCE = 16
_HAS_HEADERS = re.compile(rb"\.(?:h|hh|hpp|hxx|inc|ipp|tcc),", re.IGNORECASE)

# Options whose value is a path that the compiler reads, glued on or in the next word.
_READ = ("-I", "-isystem", "-iquote", "-idirafter", "-include", "-imacros")
# What is preprocessed must not tell the folder. (Debug information would tell the option.)
_NO_FOLDER = "-fno-working-directory"

# Options whose next word is something else.
_TAKES_WORD = frozenset(
    "-o -x -D -U -A -L -l -u -z -T -G -B -MF -MT -MQ -arch -aux-info -iprefix -iwithprefix "
    "-iwithprefixbefore -isysroot -imultilib -imultiarch -Xpreprocessor -Xassembler -Xlinker "
    "-Xclang -Xarch_host -mllvm -target --param --sysroot -dumpbase -wrapper -F -iframework".split()
)


class StablePaths:
    """Renames what commands read.

    :param project: the folder that commands run in.
    :param folder: a folder in it, relative, whose own name is stable; None: there is none.
    :param links: folders, and the links that stand for them.
    """

    def __init__(self, project: str, folder: str | None, links: Mapping[str, str]) -> None:
        self.folder = folder
        self.project = project
        self._links = dict(links)
        places = {project: "", **self._links}
        self._places = sorted(places.items(), key=lambda place: len(place[0]), reverse=True)

    def hold(self, folder: str) -> bool:
        """Whether the names hold in `folder`, and now: a project may have deleted its build's."""
        with contextlib.suppress(OSError):
            return folder == self.project and all(
                os.readlink(os.path.join(folder, name)) == path
                for path, name in self._links.items()
            )
        return False

    def maps(self) -> list[str]:
        """Options which keep the links out of what is compiled."""
        links = self._links.values()
        return [f"-ffile-prefix-map={link}={os.path.basename(link)}" for link in links]

    def renamed(self, words: Iterable[str]) -> list[str]:
        """The words of a command after its program, where paths that it reads are stable."""
        return list(_renamed(words, self._places))


def _renamed(words: Iterable[str], places: Iterable[tuple[str, str]]) -> Iterator[str]:
    following = ""
    for word in words:
        option = next((o for o in _READ if word.startswith(o)), "")
        if following:
            yield _rename(word, places) if following in _READ else word
            following = ""
        elif word in _TAKES_WORD or word in _READ:
            following = word
            yield word
        elif option:
            yield option + _rename(word[len(option) :], places)
        else:
            yield word if word.startswith("-") else _rename(word, places)


def _rename(path: str, places: Iterable[tuple[str, str]]) -> str:
    for folder, name in places:
        if path == folder:
            return name or "."
        if path.startswith(os.path.join(folder, "")):
            short = os.path.join(name, path[len(folder) :].lstrip(os.sep))
            return short if short and not short.startswith("-") else os.path.join(".", short)
    return path


@contextlib.contextmanager
def stable_paths(project: str) -> Iterator[StablePaths]:
    """Stable names in `project` for the length of a ``with`` block."""
    with contextlib.ExitStack() as stack:
        roots = _environment()
        folder = _reserve(project, _key(roots.values()), stack)
        links = {}
        if folder is not None:
            for name, root in roots.items():
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    os.symlink(root, os.path.join(project, path))
                    links[root] = path
        yield StablePaths(project, folder, links)


def _environment() -> dict[str, str]:
    """What belongs to the environment that the build runs in, by short names.

    ``build`` and uv make a virtual environment; pip only adds folders to ``sys.path``.
    """
    roots = {}
    if sys.prefix != sys.base_prefix:
        roots["environment"] = sys.prefix
    own = tuple(os.path.join(prefix, "") for prefix in (sys.prefix, sys.base_prefix))
    for entry in dict.fromkeys(sys.path):
        is_packages = os.path.basename(entry) in ("site-packages", "dist-packages")
        if is_packages and os.path.isabs(entry) and not entry.startswith(own):
            roots[f"packages{len(roots)}"] = entry
    return roots


def _key(roots: Iterable[str]) -> str:
    """A name for the headers that are installed in the environment."""
    own = tuple(os.path.join(root, "") for root in roots)
    names = {str(sys.version_info[:2])}
    for entry in {entry for entry in sys.path if os.path.join(entry, "").startswith(own)}:
        for record in Path(entry).glob("*.dist-info/RECORD"):
            with contextlib.suppress(OSError):
                if _HAS_HEADERS.search(record.read_bytes()):
                    names.add(record.parent.name)
    return digest("\0".join(sorted(names)).encode())[:8]


def _reserve(project: str, key: str, stack: contextlib.ExitStack) -> str | None:
    """An empty folder, relative to `project`, that no other build uses until the stack is closed.

    Its name has a dot: package discovery does not look into it.
    """
    if os.name != "posix":  # pragma: no cover - there are neither locks nor links to count on
        return None
    import fcntl

    for number in range(_MOST_AT_ONCE):
        folder = os.path.join(_FOLDER, f"env.{key}" + (f".{number}" if number else ""))
        path = os.path.join(project, folder)
        with contextlib.ExitStack() as attempt, contextlib.suppress(OSError):
            os.makedirs(path, exist_ok=True)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            attempt.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Workers share the lock; they are gone then.
            attempt.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)
            _empty(path)
            attempt.callback(_empty, path)
            stack.push(attempt.pop_all())
            return folder
    return None


def _empty(folder: str) -> None:
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))


def mapped(program: Sequence[str], paths: StablePaths) -> list[str]:
    """A compiler, and options for it that keep unstable paths out of what it makes; [] if it does
    not know them. What the user tells it later counts more."""
    command = [*program, f"-ffile-prefix-map={paths.project}=.", *paths.maps()]
    return command if "=" not in paths.project and _is_like_gcc(command) else []


def wrapped(name: str, paths: StablePaths) -> list[str]:
    """The same as one program, whose content tells which compiler it runs, and nothing unstable."""
    program = os.path.abspath(shutil.which(name) or "")
    if not paths.folder or not mapped([program, _NO_FOLDER], paths):
        return []
    try:
        text = os.fsencode(
            f"#!/bin/sh\n# {digest(Path(program).read_bytes())}\n"
            f'case " $* " in *" -E "*) set -- {_NO_FOLDER} "$@";; esac\n'
            f'exec {shlex.join([program, *paths.maps()])} "-ffile-prefix-map=$PWD=." "$@"\n'
        )
        path = os.path.join(paths.project, paths.folder, f"cc-{digest(text)}")
        if not os.path.exists(path):
            temporary = f"{path}.{os.getpid()}-{id(text)}"
            with open(temporary, "wb") as stream:
                stream.write(text)
            os.chmod(temporary, 0o755)
            os.replace(temporary, path)
    except OSError:
        return []
    return [path]


def _is_like_gcc(command: Sequence[str]) -> bool:
    """Whether a compiler defines what gcc and clang define, and takes the options."""
    return b"#define __GNUC__ " in output([*command, "-dM", "-E", "-x", "c", os.devnull])


def output(command: Sequence[str]) -> bytes:
    """What a command prints; b"" if it fails."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=True,
        ).stdout
    return b""
