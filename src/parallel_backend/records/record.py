"""What one command has read, and whether it would read the same again.

A `Record` is the narrow door between the engine and what is known of files: a command is asked to
tell which files it reads, by options that change nothing in what it makes (``-MD``, the linker's
``--dependency-file``). `Record.holds` says whether a result that is there is still that of the
command, `Record.take` has it from the object store, `Record.finish` keeps it there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from parallel_backend.records.compilers import Compiler, Compilers
from parallel_backend.records.environment_prefix import from_record, to_record, without_places
from parallel_backend.records.fingerprints import (
    Input,
    digest,
    has_changed,
    installed,
    look_at,
    now_at,
)
from parallel_backend.records.headers import (
    Far,
    Search,
    Text,
    absent_of,
    read_rule,
    read_text,
    told_apart,
)
from parallel_backend.records.installation import Installation, Part
from parallel_backend.records.store import Store

__all__ = ["CompileRecord", "LinkRecord", "Record", "Records"]

# Stands for a directory that is new for every build.
_TEMPORARY = "{temporary}/"

_INCLUDE_PATHS = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "OBJC_INCLUDE_PATH")

# Options that make a compiler or a linker read what it does not tell.
_UNTOLD = (
    "-specs",
    "--specs",
    "-fsanitize-ignorelist",
    "-fsanitize-blacklist",
    "--retain-symbols-file",
)

# What follows such an option gets into what is made.
_TOLD = ("-D", "-U", "-Wl,", "-R")


class Records:
    """What the records of one build share.

    :param folder: where relative paths of commands begin.
    :param temporary: setuptools' directory for temporary files, as it names it.
    :param build: a name of this build.
    """

    def __init__(self, store: Store, *, folder: str, temporary: str, build: str) -> None:
        self.store = store
        self.folder = folder
        self.temporary = temporary
        self.build = build
        self.compilers = Compilers()
        self.installation = Installation()
        self.is_installed = installed()
        #: Where the headers lie that commands have read; see headers.Search.
        self.searched: dict[tuple[object, ...], Far] = {}
        #: What is in sources, by their content.
        self.texts: dict[str, Text] = {}

    def path(self, name: str) -> str:
        """Where a command finds what it calls `name`."""
        return os.path.join(self.folder, name)


class Record:
    """What a command reads. `words`: the command, "" in place of its output's path.

    :param output: where it really writes.
    :param label: the base name of what it makes.
    """

    mode = 0o666

    def __init__(
        self,
        records: Records,
        words: Sequence[str],
        environ: Mapping[str, str],
        *,
        output: str,
        label: str,
    ) -> None:
        self.records = records
        self.output = output
        self.content = ""
        #: What the command printed: standard output, standard error.
        self.text = (b"", b"")
        self._words = list(words)
        self._environ = environ
        self._label = label
        self._rule = os.path.join(os.path.dirname(output), "d")
        self._inputs: list[Input] = []
        self._absent: list[str] = []
        #: All that it has read is known, and was the same while it ran.
        self._known = False
        self._whole = True
        self._key = ""
        self._compiler = Compiler("")
        self._began = 0

    def can_be_asked(self) -> bool:
        """Whether the program takes the options by which it tells what it reads."""
        if not self._compiler.identity:
            self._compiler = self.compiler()
        return bool(self._compiler.identity)

    def take(self, *, umask: int = 0o022) -> bool:
        """Have what the command has made before, if it would make the same again."""
        if not self.can_be_asked() or _is_untold(self._words, self._environ):
            return False
        scope = f"{self._compiler.identity} {_folder(self._environ, self.records.folder)}"
        words = [w if w.startswith(_TOLD) else without_places(w) for w in self.named()]
        self._key = digest(
            os.fsencode("\0".join([scope, self.records.folder, self._label, *words]))
        )
        store = self.records.store
        mode = self.mode & ~umask
        record = store.take(self._key, self.output, holds=self._kept_holds, mode=mode)
        if record is None:
            return False
        self._inputs = [self._from_record(values) for values in record["inputs"]]
        self._absent = [self._found(path) for path in record["absent"]]
        self.content = str(record["content"])
        out, err = (text.encode("latin-1") for text in record["text"])
        self.text = out, err
        self._known = True
        return True

    def begin(self) -> None:
        """The command is about to run."""
        self._began = now_at(os.path.dirname(self.output))
        self.look_before()

    def finish(self) -> None:
        """The command has succeeded: learn what it has read, and keep what it made."""
        try:
            with open(self._rule, "rb") as stream:
                names = read_rule(stream.read())
            os.unlink(self._rule)
        except OSError:
            return
        part = self.read(names)
        self._known = self._whole and part.whole and all(i.stamp is not None for i in self._inputs)
        certain = self._known and part.newest < self._began
        if self._key and names and certain and all(map(self._is_certain, self._inputs)):
            record = {
                "inputs": [[self._recorded(known.path), *known[1:]] for known in self._inputs],
                "absent": [self._recorded(path) for path in self._absent],
                "text": [text.decode("latin-1") for text in self.text],
            }
            self.records.store.keep(
                self._key, self.output, record, part.line, build=self.records.build
            )

    def holds(self) -> bool:
        """Whether the command, if it ran now, would read what it has read."""
        return (
            self._known
            and not any(map(has_changed, self._inputs))
            and not any(map(os.path.lexists, self._absent))
        )

    # --- what differs

    def compiler(self) -> Compiler:
        """What runs the command; one without an identity if it cannot be asked."""
        raise NotImplementedError

    def named(self) -> Sequence[str]:
        """The words by which its result is known."""
        folder = self.records.temporary
        return [
            w.replace(folder, "{temporary}") if folder and w.startswith(("-L", "-I")) else w
            for w in self._words
        ]

    def options(self) -> list[str]:
        """What makes it write which files it has read."""
        raise NotImplementedError

    def look_before(self) -> None:
        """Look at what it will read."""

    def read(self, names: list[str]) -> Part:
        """What it says that it has read, and what else decides its result: note what is the
        project's; what is installed."""
        raise NotImplementedError

    # --- what is kept

    def _kept_holds(self, record: dict[str, Any], line: bytes) -> bool:
        return (
            self.records.installation.holds(line)
            and not any(has_changed(self._from_record(values)) for values in record["inputs"])
            and not any(os.path.lexists(self._found(path)) for path in record["absent"])
            and len(record["text"]) == 2
        )

    def _recorded(self, path: str) -> str:
        temporary = os.path.join(self.records.path(self.records.temporary), "")
        if path.startswith(temporary):
            return _TEMPORARY + path[len(temporary) :]
        return to_record(path)

    def _found(self, path: str) -> str:
        if path.startswith(_TEMPORARY):
            temporary = os.path.join(self.records.path(self.records.temporary), "")
            return temporary + path[len(_TEMPORARY) :]
        return from_record(path)

    def _from_record(self, values: list[Any]) -> Input:
        return Input(self._found(values[0]), *values[1:])

    def _is_certain(self, known: Input) -> bool:
        """Whether it was written before the command began, and not in the same moment."""
        return known.stamp is not None and (not known.stamp or known.stamp[0] < self._began)

    def _look(self, name: str) -> Input:
        return look_at(self.records.path(name), since=self._began - 1)


class CompileRecord(Record):
    """A command that compiles one source."""

    def __init__(self, *args: Any, source: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self._source = source

    def compiler(self) -> Compiler:
        return self.records.compilers.of_source(self._words, self._source, self._environ)

    def options(self) -> list[str]:
        return ["-MD", "-MF", self._rule]

    def look_before(self) -> None:
        self._before = look_at(self.records.path(self._source))

    def read(self, names: list[str]) -> Part:
        records = self.records
        own, far = told_apart(names, records.is_installed)
        seen = list(map(self._seen, own))
        texts = [*map(self._text_of, seen), read_text(os.fsencode(" ".join(self._words)))]
        search = Search(
            own,
            far,
            self._words,
            records.is_installed,
            folder=records.folder,
            path=_folders_of(self._environ, *_INCLUDE_PATHS),
            standard=self._compiler.folders,
            known=records.searched,
        )
        asked, listed = search.asked_for({name for text in texts for name in text.asked})
        listed |= search.listings()
        rivals = search.shadows({name for text in texts for name in text.called})
        rivals |= {f"{name}.gch" for name in own}
        asked = set(map(records.path, asked))
        paths = sorted(asked.union(map(records.path, rivals)))
        self._absent, present = absent_of(paths, self._began)
        # A rival that was there and was not read comes later than what was, if it came before that.
        present = [i for i in present if i.path in asked or i.stamp is None]
        self._inputs = [*seen, *present]
        listed = set(map(records.path, listed))
        part = records.installation.part(tuple(map(records.path, far)), tuple(sorted(listed)))
        more = part.precompiled or any(os.path.exists(records.path(f"{name}.gch")) for name in own)
        dated = not self._environ.get("SOURCE_DATE_EPOCH")
        self._whole = not more and not any(t.more or (t.dated and dated) for t in texts)
        return part

    def _text_of(self, known: Input) -> Text:
        """What is in a file, read once for each content."""
        text = self.records.texts.get(known.content) if known.content else None
        if text is None:
            try:
                with open(known.path, "rb") as stream:
                    text = read_text(stream.read())
            except OSError:
                return read_text(b"")
            if known.content:
                self.records.texts[known.content] = text
        return text

    def _seen(self, name: str) -> Input:
        if name != self._source:
            now = self._look(name)
            # It is gone, or was not read under that name, whatever was understood.
            return now if now.stamp else now._replace(stamp=None)
        # It is known how it was before: that may have been a moment ago.
        now = look_at(self.records.path(name))
        same = now.stamp == self._before.stamp and now.content == self._before.content
        return now if same and now.stamp else now._replace(stamp=None)

    def _is_certain(self, known: Input) -> bool:
        own = known.path == self.records.path(self._source)
        return super()._is_certain(known) or (own and bool(known.stamp))


class LinkRecord(Record):
    """A command that links objects into a library.

    `made`: contents of files that commands of this build have made, by their paths in the words.
    """

    mode = 0o777

    def __init__(self, *args: Any, made: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self._made = made
        self._objects: dict[str, Input] = {}

    def compiler(self) -> Compiler:
        return self.records.compilers.of_link(self._words, self._environ)

    def named(self) -> Sequence[str]:
        """With objects by what they are, wherever they are now."""
        names = [w for w in self._words[1:] if w.endswith((".o", ".obj")) and w[:1] != "-"]
        self._objects = {w: look_at(self.records.path(w)) for w in names if w not in self._made}
        contents = {w: known.content for w, known in self._objects.items()} | dict(self._made)
        return [contents.get(word) or word for word in super().named()]

    def options(self) -> list[str]:
        return ["-Xlinker", f"--dependency-file={self._rule}"]

    def look_before(self) -> None:
        self.named()

    def read(self, names: list[str]) -> Part:
        path = self.records.path
        others = [name for name in names if name not in self._objects and name not in self._made]
        # Link-time optimization makes names up.
        self._whole = all(os.path.exists(path(name)) for name in others)
        candidates = _libraries_of(self._words, others, self._environ) - set(others)
        self._absent, present = absent_of(sorted(map(path, candidates)), self._began)
        is_installed = self.records.is_installed
        own = [name for name in dict.fromkeys(others) if not is_installed(name)]
        self._inputs = [*map(self._look, own), *present]
        return self.records.installation.part(tuple(filter(is_installed, others)))

    def holds(self) -> bool:
        return super().holds() and not any(map(has_changed, self._objects.values()))


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
        or any(word.startswith("-B") and len(word) > 2 for word in command)
        or "COMPILER_PATH" in environ
        or "GCC_EXEC_PREFIX" in environ
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


def _folder(environ: Mapping[str, str], current: str) -> str:
    """What debug information calls the current folder, if it is not by its own path: PWD."""
    folder = environ.get("PWD", "")
    with contextlib.suppress(OSError):
        if folder != current and os.path.samefile(folder, current):
            return folder
    return ""
