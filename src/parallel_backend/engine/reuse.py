"""Commands whose result may be there already, from this build or an earlier one.

Such a command is seen where it is started, whoever's code starts it: by the path that it is to
write. If the object store has what it would make it is not run. Else it is asked to tell which
files it reads, by options that change nothing in what it makes, and what it has made is kept.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from parallel_backend.engine.compilers import Compiler
from parallel_backend.engine.headers import (
    Search,
    Text,
    absent_of,
    read_rule,
    read_text,
    told_apart,
)
from parallel_backend.engine.inputs import Input, has_changed, installed, look_at, now_at
from parallel_backend.engine.installation import Part
from parallel_backend.engine.objects import object_key
from parallel_backend.engine.output import current_job
from parallel_backend.engine.places import from_record, to_record

if TYPE_CHECKING:
    from parallel_backend.engine import Engine

__all__ = ["Compilation", "Expected", "Link", "expecting"]

# Stands for a folder that is new for every build.
_TEMPORARY = "{temporary}/"

_INCLUDE_PATHS = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "OBJC_INCLUDE_PATH")

_SPELLED_OUT = (
    "--dependencies", "--user-dependencies", "--write-dependencies", "--write-user-dependencies",
)  # fmt: skip

# Options that make a compiler read what it does not tell, or write what nobody asks for.
_UNTOLD = (
    "@", "-fprofile", "-fcs-profile", "-fauto-profile", "-fbranch-probabilities", "-fplugin",
    "-fpass-plugin", "-fthinlto-index", "-ftime-trace", "-ivfsoverlay", "-vfsoverlay", "-wrapper",
    "-fmodule", "-fsanitize-ignorelist", "-fsanitize-blacklist", "-Xclang", "-emit-pch", "--config",
    "-frecord-gcc-switches", "-frecord-command-line", "-grecord-command-line", "-M", "-Wp,-M",
    "-fdump-", "-save-temps", "--coverage", "-ftest-coverage", "-gsplit-dwarf", "-fstack-usage",
    "-fcallgraph-info", "-Map", "--out-", "-aux-info",
    "-fopt-info", "-fsave-optimization-record", "-Wp,-I", "-Wp,-i", "--include-", "-iprefix",
    "-iwithprefix", "-Xpreprocessor", "-Xassembler", "-Xlinker", "--retain-symbols-file",
    *_SPELLED_OUT,
)  # fmt: skip

# Options beside which the compiler is not asked: it tells already, or puts the question into what
# it makes, or would name what is no file. And what may hide such options.
_TELLS = (
    "-M", "-Wp,", "-X", "@", "--config", "-wrapper", "-fmodule",
    "-frecord-gcc-switches", "-frecord-command-line", "-grecord-command-line", *_SPELLED_OUT,
)  # fmt: skip


@contextlib.contextmanager
def expecting(expected: Expected) -> Iterator[None]:
    """Let the job of this thread look out for a command, for the length of a ``with`` block."""
    job = current_job()
    assert job is not None
    before, job.expected = job.expected, expected
    try:
        yield
    finally:
        job.expected = before


class Expected:
    """A command that is to write `target`. It is told apart by ``-o`` before that path."""

    mode = 0o666
    #: Words beside which it is not asked what it reads, if something else decides its result, too.
    unasked: tuple[str, ...] = ("",)

    def __init__(self, engine: Engine, target: str, *, rule: str, temporary: str = "") -> None:
        """`rule`: a path of this command alone, for what it tells that it has read."""
        self.engine = engine
        self.target = target
        self._rule = rule
        #: A folder of this build that others call otherwise.
        self._temporary = os.path.join(temporary, "") if temporary else ""
        #: It was not run, since its result was there.
        self.reused = False
        #: What it has read, and paths where it has found nothing; of what is installed nothing.
        self.inputs: list[Input] = []
        self.absent: list[str] = []
        #: Nothing else decides what it makes.
        self.whole = True
        self._key = ""
        self._asked = False
        self._is_installed = installed()
        self._began = 0

    def begin(self, words: list[str], environ: Mapping[str, str] | None) -> list[str] | None:
        """How the command is run, if it is the one; None: it is not run, all is done.

        `environ`: the variables that it is given; None: those of this process.
        """
        position = words.index(self.target) if words.count(self.target) == 1 else 0
        if words[position - 1] != "-o":
            return words
        command = [*words[:position], "", *words[position + 1 :]]
        environ = os.environ if environ is None else environ
        untold = _is_untold(command, environ)
        asked = not untold or not any(word.startswith(self.unasked) for word in command)
        compiler = self.compiler_of(command, environ) if asked else Compiler("")
        if not compiler.identity:
            return words
        self._command, self._compiler, self._environ = command, compiler, environ
        self._key = ""
        if not untold:
            scope = f"{compiler.identity} {_folder(environ)}"
            self._key = object_key(self.named(command), scope=scope)
            if self._take():
                return None
        self._asked = True
        self._began = now_at(os.path.dirname(self.target) or ".")
        self.look_before()
        return [*words, *self.options(self._rule)]

    def _take(self) -> bool:
        """Have what the command has made before, if it would make the same again."""
        record = self.engine.store.take(self._key, self.target, holds=self._holds, mode=self.mode)
        if record is not None:
            self.reused = True
            self.inputs = [self._from_record(values) for values in record["inputs"]]
            self.absent = [self._found(path) for path in record["absent"]]
        return self.reused

    def finish(self) -> None:
        """The command has succeeded: keep what it made, if all that it has read is known."""
        if not self._asked:
            return
        try:
            with open(self._rule, "rb") as stream:
                names = read_rule(stream.read())
        except OSError:
            return
        self.clean_up()
        part = self.read(names)
        certain = part.whole and part.newest < self._began
        certain = certain and all(map(self._is_certain, self.inputs))
        if self._key and names and self.whole and certain:
            record = {
                "inputs": [[self._recorded(known.path), *known[1:]] for known in self.inputs],
                "absent": [self._recorded(path) for path in self.absent],
            }
            self.engine.store.keep(
                self._key, self.target, record, part.line, build=self.engine.private.name
            )

    def clean_up(self) -> None:
        """Nothing is left of it but what it was to make."""
        asked, self._asked = self._asked, False
        if asked:
            with contextlib.suppress(OSError):
                os.unlink(self._rule)

    # --- what differs

    def compiler_of(self, command: Sequence[str], environ: Mapping[str, str]) -> Compiler:
        """What runs the command; one without an identity if nothing can be taken again."""
        raise NotImplementedError

    def named(self, command: Sequence[str]) -> Sequence[str]:
        """The words by which its result is known."""
        return command

    def options(self, rule: str) -> list[str]:
        """What makes it write which files it has read."""
        raise NotImplementedError

    def look_before(self) -> None:
        """Look at what it will read."""

    def read(self, names: list[str]) -> Part:
        """What it says that it has read, and what else decides its result: note what is the
        project's; what is installed."""
        raise NotImplementedError

    # --- records

    def _holds(self, record: dict[str, Any], line: bytes) -> bool:
        return (
            self.engine.installation.holds(line)
            and not any(has_changed(self._from_record(values)) for values in record["inputs"])
            and not any(os.path.lexists(self._found(path)) for path in record["absent"])
        )

    def _recorded(self, path: str) -> str:
        if self._temporary and path.startswith(self._temporary):
            return _TEMPORARY + path[len(self._temporary) :]
        return to_record(path)

    def _found(self, path: str) -> str:
        if path.startswith(_TEMPORARY):
            return self._temporary + path[len(_TEMPORARY) :]
        return from_record(path)

    def _from_record(self, values: list[Any]) -> Input:
        return Input(self._found(values[0]), *values[1:])

    def _is_certain(self, known: Input) -> bool:
        """Whether it was written before the command began, and not in the same moment."""
        return known.stamp is not None and (not known.stamp or known.stamp[0] < self._began)


class Compilation(Expected):
    """A command that compiles one source."""

    unasked = _TELLS

    def __init__(self, engine: Engine, target: str, source: str, *, rule: str) -> None:
        super().__init__(engine, target, rule=rule)
        self._source = source

    def compiler_of(self, command: Sequence[str], environ: Mapping[str, str]) -> Compiler:
        if not all(map(os.path.isfile, _specs_of(command))):
            return Compiler("")
        compilers = self.engine.compilers
        return compilers.of_source(command, self._source, environ)

    def options(self, rule: str) -> list[str]:
        return ["-MD", "-MF", rule]

    def look_before(self) -> None:
        self._before = look_at(self._source)

    def read(self, names: list[str]) -> Part:
        own, far = told_apart(names, self._is_installed)
        own += _specs_of(self._command)
        seen = list(map(self._seen, own))
        texts = [*map(self._text_of, seen), read_text(os.fsencode(" ".join(self._command)))]
        search = Search(
            own,
            far,
            self._command,
            self._is_installed,
            path=_folders_of(self._environ, *_INCLUDE_PATHS),
            standard=self._compiler.folders,
            known=self.engine.searched,
        )
        asked, listed = search.asked_for({name for text in texts for name in text.asked})
        listed |= search.listings()
        rivals = search.shadows({name for text in texts for name in text.called})
        rivals |= {f"{name}.gch" for name in own}
        self.absent, present = absent_of(sorted(asked | rivals), self._began)
        # A rival that was there and was not read comes later than what was, if it came before that.
        present = [i for i in present if i.path in asked or i.stamp is None]
        self.inputs = [*seen, *present]
        part = self.engine.installation.part(far, tuple(sorted(listed)))
        more = part.precompiled or any(os.path.exists(f"{name}.gch") for name in own)
        self.whole = not more and not any(map(_tells_more, texts))
        return part

    def _text_of(self, known: Input) -> Text:
        """What is in a file, read once for each content."""
        text = self.engine.texts.get(known.content) if known.content else None
        if text is None:
            try:
                with open(known.path, "rb") as stream:
                    text = read_text(stream.read())
            except OSError:
                return read_text(b"")
            if known.content:
                self.engine.texts[known.content] = text
        return text

    def _seen(self, name: str) -> Input:
        if name != self._source:
            now = look_at(name, since=self._began)
            # It is gone, or was not read under that name, whatever was understood.
            return now if now.stamp else now._replace(stamp=None)
        # It is known how it was before: that may have been a moment ago.
        now = look_at(name)
        same = now.stamp == self._before.stamp and now.content == self._before.content
        return now if same and now.stamp else now._replace(stamp=None)

    def _is_certain(self, known: Input) -> bool:
        return super()._is_certain(known) or (known.path == self._source and bool(known.stamp))


def _specs_of(command: Sequence[str]) -> list[str]:
    """Files of specifications that gcc reads and does not tell."""
    pairs = (word.partition("=") for word in command)
    return [name for option, _, name in pairs if option in ("-specs", "--specs")]


def _tells_more(text: Text) -> bool:
    """Whether a source puts into an object what is in no file that the compiler tells of."""
    return text.more or (text.dated and not os.environ.get("SOURCE_DATE_EPOCH"))


class Link(Expected):
    """A command that links objects into a library."""

    mode = 0o777

    def __init__(
        self, engine: Engine, target: str, *, objects: Sequence[str], temporary: str
    ) -> None:
        super().__init__(engine, target, rule=f"{target}.d", temporary=temporary)
        self._objects = dict.fromkeys(objects, "")

    def compiler_of(self, command: Sequence[str], environ: Mapping[str, str]) -> Compiler:
        for name in self._objects:
            self._objects[name] = look_at(name).content
        if not all(self._objects.values()) or "," in self.target:
            return Compiler("")
        return self.engine.compilers.of_link(command, environ)

    def named(self, command: Sequence[str]) -> Sequence[str]:
        """With objects by what they are, wherever they are now."""
        folder = self._temporary.rstrip(os.sep)
        return [
            self._objects.get(word)
            or (word.replace(folder, "{temporary}") if folder and word.startswith("-L") else word)
            for word in command
        ]

    def options(self, rule: str) -> list[str]:
        return [f"-Wl,--dependency-file={rule}"]

    def read(self, names: list[str]) -> Part:
        others = [name for name in names if name not in self._objects]
        # Link-time optimization makes names up.
        self.whole = all(map(os.path.exists, others))
        candidates = sorted(_libraries_of(self._command, others, self._environ) - set(others))
        self.absent, present = absent_of(candidates, self._began)
        own = [name for name in dict.fromkeys(others) if not self._is_installed(name)]
        self.inputs = [*(look_at(name, since=self._began) for name in own), *present]
        return self.engine.installation.part(tuple(filter(self._is_installed, others)))


def _libraries_of(
    command: Sequence[str], read: Sequence[str], environ: Mapping[str, str]
) -> set[str]:
    """Where the linker looks for libraries, in the folders that the command names."""
    words = iter(_words_of(command))
    folders = _folders_of(environ, "LIBRARY_PATH")
    names: set[str] = set()
    for word in words:
        for option, found in (("-L", folders.append), ("-l", names.add)):
            if word.startswith(option):
                found(word[2:] or next(words, ""))
    files = {os.path.basename(name) for name in read if not name.endswith(".o")}
    for name in names:
        files |= {name[1:]} if name.startswith(":") else {f"lib{name}.so", f"lib{name}.a"}
    return {os.path.join(folder, name) for folder in folders if folder for name in files}


def _is_untold(command: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether a command has options whose effect cannot be known."""
    return (
        any(word.startswith(_UNTOLD) for word in _words_of(command))
        # Another assembler or linker, maybe.
        or any(word.startswith("-B") for word in command)
        or "COMPILER_PATH" in environ
        or "GCC_EXEC_PREFIX" in environ
        # Listings, and what an assembler includes.
        or any(word.startswith("-Wa,") and re.search(",-+(?:a|I|MD)", word) for word in command)
    )


def _words_of(command: Sequence[str]) -> list[str]:
    """Words, and those that the compiler hands on to the linker."""
    return [
        part
        for word in command
        for part in (word.split(",")[1:] if word.startswith("-Wl,") else [word])
    ]


def _folders_of(environ: Mapping[str, str], *names: str) -> list[str]:
    return [folder for name in names for folder in environ.get(name, "").split(os.pathsep)]


def _folder(environ: Mapping[str, str]) -> str:
    """What debug information calls the current folder, if it is not by its own path: PWD."""
    folder = environ.get("PWD", "")
    with contextlib.suppress(OSError):
        if folder != os.getcwd() and os.path.samefile(folder, "."):
            return folder
    return ""
