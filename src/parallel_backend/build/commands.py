"""Commands that compile, link and archive, as their words tell them.

A command may run ahead, at a path of its own, if nothing that it makes depends on that path and
nothing but its output is written: `Placement.ANYWHERE`. Which options are known to be harmless is
a list, taken from the documentation: GCC 14's manual, "Invoking GCC" (Overall Options, C Dialect,
C++ Dialect, Diagnostics, Warnings, Optimize, Preprocessor, Assembler, Link, Directory, Code Gen and
Machine-Dependent Options), Clang's command line reference, and ld(1). What is not in it is taken
for an option that writes more files, or puts its output's path into them.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Command", "Placement", "parse"]


class Placement(enum.Enum):
    """Where and when a command may run."""

    ANYWHERE = "anywhere"
    #: At the path that setuptools chose, beside the other sources of its ``compile()``.
    OWN_PATH = "own path"
    #: At that path, and only in its turn.
    IN_ORDER = "in order"


@dataclass(frozen=True, eq=False)
class Command:
    """A program's words, where it runs, and what is known of it.

    :param environ: all variables that it is given.
    :param kind: compile, link, archive or swig.
    :param target: the path of what it makes, absolute.
    :param position: where that path stands in `words`.
    :param source: for a compile command, its source as it stands there.
    :param reason: why it may not run anywhere.
    """

    words: tuple[str, ...]
    folder: str
    environ: Mapping[str, str]
    umask: int
    kind: str
    position: int
    source: str
    placement: Placement
    reason: str

    @property
    def target(self) -> str:
        return os.path.join(self.folder, self.words[self.position])

    @property
    def name(self) -> str:
        """What humans call it."""
        return self.source or self.words[self.position]

    def inputs(self) -> list[tuple[int, str]]:
        """The words that may be paths of what it reads, each with its place."""
        places = range(1, len(self.words))
        return [
            (i, os.path.join(self.folder, self.words[i]))
            for i in places
            if i != self.position and not self.words[i].startswith("-")
        ]

    def is_cplusplus(self) -> bool:
        return os.path.splitext(self.source)[1] in _CPLUSPLUS


_CPLUSPLUS = (".cc", ".cp", ".cpp", ".cxx", ".c++", ".C", ".CPP", ".mm", ".M", ".ii")
_LANGUAGES = (".c", ".i", ".m", ".mi", ".s", ".S", ".sx", *_CPLUSPLUS)
_NAMED_LANGUAGES = (
    "c", "c++", "cpp-output", "objective-c", "objective-c++", "assembler", "assembler-with-cpp",
    "none",
)  # fmt: skip

# Options whose next word belongs to them.
_WITH_VALUE = frozenset(
    "-I -D -U -L -l -u -z -R -T -isystem -iquote -idirafter -include -imacros -isysroot -x "
    "-arch -target --param --sysroot -framework -F -Xlinker -Xpreprocessor -Xassembler -Xclang "
    "-mllvm -MF -MT -MQ -aux-info -wrapper -iprefix -iwithprefix -iwithprefixbefore -G -A -e "
    "-rpath -h -soname -B -o -specs -dumpbase -dumpdir".split()
)

# What may follow -f or -fno-, and begins so.
_FEATURES = """
PIC pic PIE pie plt wrapv trapv fast-math math-errno unsafe-math associative-math reciprocal-math
finite-math signed-zeros trapping-math rounding-math signaling-nans single-precision fp- excess-
cx- inline partial-inlining early-inlining keep- tree- ipa- loop- unroll- unrolled- peel-
split-loops
split-wide split-paths split-ivs split-stack unswitch- sched selective- sel- gcse cse crossjumping
dce dse delete-null delete-dead devirtualize expensive- forward- guess-branch hoist- if-conversion
indirect-inlining ira- isolate- ivopts jump-tables align- allow- aggressive- auto-inc branch-count
caller-saves code-hoisting combine- compare-elim conserve- cprop- defer-pop omit- optimize- peephole
predictive- prefetch- reorder- rename- rerun- ree section- shrink- signed- unsigned- short- ssa-
stack-protector stack-clash stack-check stack-reuse stack-limit stdarg store-merging thread-jumps
toplevel- tracer trivial-auto variable-expansion vect- vectorize slp- web whole-program zero- lto
use-linker-plugin fat-lto access-control builtin char8_t check-new concepts coroutines exceptions
elide- enforce-eh extern-tls freestanding hosted friend- gnu-keywords gnu89 gnu-unique gnu-tm
gnu-runtime gnu-inline implement-inlines implicit- lax-vector ms-ext ms-compat new-inheriting
new-ttp nonansi nothrow-opt operator-names permissive permitted- plan9 pretty- rtti rvalue-
sized-deallocation strong-eval template- threadsafe- use-cxa visibility weak constexpr- cond-
dollars- extended- exec-charset input-charset wide-exec tabstop asm asynchronous- unwind- non-call
common data-sections function-sections ident instrument-functions leading- merge- semantic-
tls-model pcc- reg-struct pack-struct sanitize= sanitize-recover sanitize-undefined sanitize-trap
sanitize-address sanitize-thread cf-protection harden patchable- strict- sync-libcalls objc next-
openmp blocks color- diagnostics-color diagnostics-show diagnostics-minimum diagnostics-absolute
diagnostics-urls diagnostics-text diagnostics-generate diagnostics-parseable message- max-errors
error-limit macro-backtrace show- caret- spell- file-prefix-map debug-prefix-map macro-prefix-map
canon- debug-types debug-info eliminate- var-tracking dwarf2 standalone-debug limit-debug
emit-struct working-directory random-seed assume- integrated-as declspec delayed-template borland
denormal- honor- complex- approx- addrsig unique- emulated-tls bounds- experimental-library
""".split()
_FEATURE = re.compile("-f(?:no-)?(?:" + "|".join(map(re.escape, _FEATURES)) + ").*")
_LISTED = re.compile("-fsanitize-.*list|-fsanitize-coverage.*list")

_COMPILE = re.compile(
    r"-c|-pipe|-pthread|-ansi|-w|-std=.*|--std=.*|-O.*|-undef|-nostdinc(?:\+\+)?|-trigraphs|-traditional.*"
    r"|-pedantic.*|--pedantic|-Qunused-arguments|-stdlib=.*|--target=.*|--param=.*|--sysroot=.*"
    r"|-(?:I|D|U|iquote|isystem|idirafter|include|imacros|isysroot).+"
    r"|-g(?!split-dwarf|record-command-line|toggle|en).*|-m(?!llvm|record|relax-cmpxchg).+"
    r"|-W(?![pal],).*|-Wp(?:,-[DU][^,]*)+|-Wl,.*|-L.*|-l.*"
    r"|-Wa,(?:--noexecstack|--execstack|-mbig-obj|--64|--32|-mrelax-relocations=\w+|--divide|-g)"
    r"|-B.+|-specs=.*|--specs=.*|-shared|-static.*|-no-pie|-pie|-s|-rdynamic"
)
_LINK = re.compile(
    r"-shared|-pthread|-pipe|-w|-std=.*|-O.*|-s|-static-lib.*|-static|-rdynamic|-pie|-no-pie"
    r"|-nostd.*|-nodefaultlibs|-nostartfiles|-stdlib=.*|--target=.*|--sysroot=.*|-specs=.*"
    r"|-(?:L|l|R|B|D|U|I|u|isystem|iquote|idirafter|include|isysroot).+|-Wl,.+|-W(?![pal],).*|-Wp,.*"
    r"|-g(?!split-dwarf|record-command-line).*|-m(?!llvm).+|-fuse-ld=.*|-z.+|-Wa,.*|-pedantic.*"
)
_LINKER = re.compile(
    r"-(?:O\d?|z.*|rpath.*|R.*|h.*|soname.*|s|S|E|u.*|L.*|l.*|e.*|d|X|x|Bsymbolic.*|Bstatic|Bdynamic"
    r"|Bgroup|\(|\)|m.*|export-dynamic)"
    r"|--?(?:as-needed|no-as-needed|rpath.*|soname.*|build-id.*|hash-style.*|gc-sections|no-gc-sections"
    r"|no-undefined.*|allow-shlib-undefined|no-allow-shlib-undefined|exclude-libs.*|export-dynamic.*"
    r"|strip-.*|discard-.*|sort-common.*|sort-section.*|no-?warn.*|warn-.*|fatal-warnings|start-group"
    r"|end-group|whole-archive|no-whole-archive|version-script.*|dynamic-list.*|copy-dt-needed.*"
    r"|no-copy-dt.*|enable-new-dtags|disable-new-dtags|unresolved-symbols.*|wrap.*|defsym.*"
    r"|undefined.*|icf.*|compress-debug.*|eh-frame-hdr|relax|no-relax|demangle.*|no-demangle"
    r"|pack-dyn-relocs.*|push-state|pop-state|add-needed|no-add-needed|default-symver|no-keep-memory"
    r"|image-base.*|reduce-memory-overheads|stats|combreloc|no-plt|threads.*|no-threads|no-omagic)"
)
_ORDERED = ("-fmodule", "-fprebuilt", "-save-temps", "--save-temps", "@", "-wrapper", "-fplugin")

_ARCHIVER = re.compile(r"(?:.*-)?(?:gcc-|llvm-)?ar(?:-[0-9.]+)?")
_SWIG = re.compile(r"swig[0-9.-]*")
# A compiler that writes its dependencies where these say appends to a file that all share.
_SHARED_OUTPUT = ("DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES")


def parse(
    words: Sequence[str], *, folder: str, environ: Mapping[str, str], umask: int
) -> Command | None:
    """What a command is; None for one that is none of these."""
    found = _found(words, environ)
    if found is None:
        return None
    kind, position, source, placement, reason = found
    return Command(
        words=tuple(words),
        folder=folder,
        environ=environ,
        umask=umask,
        kind=kind,
        position=position,
        source=source,
        placement=placement,
        reason=reason,
    )


def _found(
    words: Sequence[str], environ: Mapping[str, str]
) -> tuple[str, int, str, Placement, str] | None:
    program = os.path.basename(words[0]) if words else ""
    if _ARCHIVER.fullmatch(program) and len(words) > 3 and not words[2].startswith("-"):
        return "archive", 2, "", Placement.IN_ORDER, "an archiver changes what is there"
    places = [i for i, word in enumerate(words[:-1]) if word == "-o"]
    if len(places) != 1 or "-o" in words[-1:]:
        return None
    position = places[0] + 1
    if _SWIG.fullmatch(program):
        return "swig", position, "", Placement.IN_ORDER, "SWIG runs in its turn"
    if "-c" in words:
        kind = "compile"
        source, placement, reason = _look_at_compile(words, position)
    elif "-E" in words or "-S" in words:
        return None
    else:
        kind, source = "link", ""
        placement, reason = _look_at_link(words, position)
    if any(name in environ for name in _SHARED_OUTPUT):
        placement, reason = Placement.IN_ORDER, "DEPENDENCIES_OUTPUT is set"
    return kind, position, source, placement, reason


def _split(words: Sequence[str], position: int) -> tuple[list[str], list[str], list[str]]:
    """Options, what languages are named, and what is left: programs and inputs."""
    options, languages, others = [], [], []
    rest = iter(enumerate(words))
    for i, word in rest:
        if word == "-o" and i + 1 == position:
            next(rest)
        elif word == "-x":
            languages += [next(rest, (0, ""))[1]]
        elif word in _WITH_VALUE:
            value = next(rest, (0, ""))[1]
            options.append(f"{word}{value}" if len(word) == 2 else f"{word}={value}")
        elif word.startswith(("-", "@")):
            options.append(word)
        else:
            others.append(word)
    return options, languages, others


def _look_at_compile(words: Sequence[str], position: int) -> tuple[str, Placement, str]:
    options, languages, others = _split(words, position)
    source = others[-1] if len(others) > 1 else ""
    known = os.path.splitext(source)[1] in _LANGUAGES
    if languages:
        known = all(language in _NAMED_LANGUAGES for language in languages)
    if not known:
        return source, Placement.IN_ORDER, f"the language of {source} is not known"
    for option in options:
        if option.startswith(_ORDERED):
            return source, Placement.IN_ORDER, f"the option {option}"
    for option in options:
        if not _is_harmless(option, _COMPILE):
            return source, Placement.OWN_PATH, f"the option {option}"
    return source, Placement.ANYWHERE, ""


def _look_at_link(words: Sequence[str], position: int) -> tuple[Placement, str]:
    options, languages, others = _split(words, position)
    compiled = [word for word in others if os.path.splitext(word)[1] in _LANGUAGES]
    if compiled or languages:
        return Placement.IN_ORDER, "it compiles and links at once"
    for option in options:
        if option.startswith("-Wl,"):
            unknown = _unknown_to_linker(option.split(",")[1:])
            if unknown:
                return Placement.IN_ORDER, f"the linker's option {unknown}"
        elif not _is_harmless(option, _LINK):
            return Placement.IN_ORDER, f"the option {option}"
    other_linker = any(option.startswith("-fuse-ld=") for option in options)
    if other_linker and any("version-script" in option for option in options):
        return Placement.IN_ORDER, "a version script holds the path of what is linked"
    return Placement.ANYWHERE, ""


def _unknown_to_linker(parts: Sequence[str]) -> str:
    """The first part that is neither a known option nor an option's value; "": none."""
    known = False
    for part in parts:
        if part.startswith("-"):
            known = _LINKER.fullmatch(part) is not None
        if not known:
            return part
    return ""


def _is_harmless(option: str, known: re.Pattern[str]) -> bool:
    if option.startswith("-f") and not option.startswith("-fuse-ld"):
        return _FEATURE.fullmatch(option) is not None and not _LISTED.fullmatch(option)
    return known.fullmatch(option) is not None
