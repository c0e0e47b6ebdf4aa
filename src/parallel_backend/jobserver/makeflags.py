"""The words of MAKEFLAGS that concern job slots: found, taken out, put in.

MAKEFLAGS is `LETTERS OPTION... -- VARIABLE=VALUE...`: single letters without a dash come first (or
nothing, then the text begins with a space), words are parted by blanks, and a backslash takes the
next character's meaning away.

GNU make before 4.4 dies on `--jobserver-auth=fifo:PATH` ("internal error: invalid
--jobserver-auth string"), but takes what stands after `--` for variables, while ninja and cargo
look for the option there as well.  That place is called *sheltered* here: such a make then runs
one job at a time, and hands the words on to what it starts.

Source: GNU make's manual, "Communicating Options to a Sub-make".
"""

from __future__ import annotations

import re

__all__ = ["find_auth", "find_jobs", "is_tellable", "with_jobserver"]

_WORD = re.compile(r"(?:\\.|[^\s\\]|\\$)+", re.DOTALL)
_AUTH = re.compile(r"--jobserver-(?:auth|fds)=(.*)", re.DOTALL)

# Letters whose argument is the rest of their word: a "j" in there means no jobs.
_TAKES_ARGUMENT = "CEIOWflo"


def find_auth(makeflags: str) -> str | None:
    """Return what the last `--jobserver-auth=` or `--jobserver-fds=` says, None without any.

    The option is looked for behind `--` too, where we may have put it ourselves.
    """
    matches = (_AUTH.fullmatch(word) for word in _WORD.findall(makeflags))
    values = [match[1] for match in matches if match]
    return re.sub(r"\\(.)", r"\1", values[-1]) if values else None


def find_jobs(makeflags: str) -> int | None:
    """Return the number of the last -j, None without any or without a number.

    It is looked for behind `--` too, as `find_auth` does.
    """
    words = _WORD.findall(makeflags)
    if words and not words[0].startswith("-"):
        # Make writes its letters without a dash, and reads them so.
        words[0] = f"-{words[0]}"
    number = None
    for word, following in zip(words, [*words, ""][1:], strict=True):
        match = re.fullmatch(rf"(?:-[^-{_TAKES_ARGUMENT}j\W]*j|--jobs=?)(\d*)", word, re.ASCII)
        if match:
            digits = match[1] or following
            number = int(digits) if re.fullmatch("0*[1-9][0-9]{0,8}", digits) else None
    return number


def is_tellable(path: str) -> bool:
    """Say whether `path` can stand in MAKEFLAGS and mean the same to all who read it."""
    # Readers differ in how they part and unescape words; "$" is expanded by make.
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return re.search(r"[\s\\$]", path) is None


def with_jobserver(makeflags: str, *, words: list[str], sheltered: bool) -> str:
    """Return `makeflags` with `words` in place of its own words about jobs and jobservers.

    `words` are a -j and a --jobserver-auth; `sheltered` puts them behind the `--`.
    """
    found = _WORD.findall(makeflags)
    separator = found.index("--") if "--" in found else len(found)
    options = _without_jobs(found[:separator])
    variables = _without_jobs(found[separator + 1 :])
    letters = ""
    if options and makeflags[0] not in " \t-" and "=" not in options[0]:
        letters = options.pop(0)
    if sheltered:
        return " ".join([letters, *options, "--", *variables, *words])
    if variables:
        variables.insert(0, "--")
    return " ".join([letters, *options, *words, *variables])


def _without_jobs(words: list[str]) -> list[str]:
    kept: list[str] = []
    number_follows = False
    for place, word in enumerate(words):
        if number_follows and word.isdigit():
            number_follows = False
            continue
        number_follows = word == "--jobs"
        if re.fullmatch(r"--jobs(=.*)?|--jobserver-.*", word):
            continue
        is_letters = place == 0 and "=" not in word
        if not word.startswith("--") and (word.startswith("-") or is_letters):
            rest, number_follows = _without_letter_j(word)
            kept += [rest] if rest.strip("-") else []
        else:
            kept.append(word)
    return kept


def _without_letter_j(word: str) -> tuple[str, bool]:
    """Return `word` less its j and number, and whether the number is the next word."""
    for place, letter in enumerate(word):
        if letter in _TAKES_ARGUMENT:
            break
        if letter == "j":
            return word[:place] + word[place + 1 :].lstrip("0123456789"), word.endswith("j")
    return word, False
