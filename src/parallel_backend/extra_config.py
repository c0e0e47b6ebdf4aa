"""The ``DIST_EXTRA_CONFIG`` file of one hook call.

setuptools reads the ini file which that variable names after every other configuration file, so
``parallel`` in it reaches every build command, custom ones and child processes included. A file
that the user's own variable names is kept whole: it is edited as text, line by line as
:class:`configparser.ConfigParser` reads it, because writing it anew would lose comments and
formatting, and would misread what setuptools has yet to say about a broken file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parallel_backend.settings import Settings

__all__ = ["extra_config"]

_VARIABLE = "DIST_EXTRA_CONFIG"
_SECTIONS = ("build", "build_ext")
_KEY = "parallel"


@contextmanager
def extra_config(*, settings: Settings, jobs: int, private: Path) -> Iterator[Path]:
    """Have setuptools take ``jobs`` as ``parallel`` of [build] and [build_ext] meanwhile.

    The file lies in the folder ``private``, and ``DIST_EXTRA_CONFIG`` names it. Afterwards,
    whatever happens, the file is gone and the variable as it was.
    """
    path = private / "extra.cfg"
    before = os.environ.get(_VARIABLE)
    try:
        path.write_bytes(_with_parallel(_read(settings.user_config), jobs=jobs))
        os.environ[_VARIABLE] = str(path)
        yield path
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before
        path.unlink(missing_ok=True)


def _read(user_config: str | None) -> bytes:
    # setuptools passes over whatever is not a file (Distribution.find_config_files).
    if user_config is None or not os.path.isfile(user_config):
        return b""
    return Path(user_config).read_bytes()


def _with_parallel(data: bytes, *, jobs: int) -> bytes:
    """The ini file ``data`` with ``parallel`` set, and every other option as it was."""
    if not data:
        return "".join(f"[{name}]\n{_KEY} = {jobs}\n" for name in _SECTIONS).encode()
    # Bytes that are not UTF-8 go through as they are; setuptools then refuses them as before.
    lines = _scan(data.decode("utf-8", "surrogateescape"))
    present = {line.section for line in lines}
    if not present.issuperset(_SECTIONS):
        _spread_defaults(lines)
    for name in _SECTIONS:
        _set_parallel(lines, section=name, jobs=jobs)
    return "".join(line.text for line in lines).encode("utf-8", "surrogateescape")


@dataclass(kw_only=True, eq=False)
class _Line:
    """One line, its end included, and what ConfigParser takes it for.

    ``key`` is set on the first line of an option and on those that continue its value;
    ``is_continuation`` tells them apart. A header has a section and no key. Blank lines,
    comments and what ConfigParser refuses are ``is_inert``.
    """

    text: str
    section: str | None
    key: str | None = None
    is_continuation: bool = False
    is_inert: bool = False

    @property
    def is_header(self) -> bool:
        return self.section is not None and self.key is None and not self.is_inert

    @property
    def indent(self) -> str:
        return self.text[: len(self.text) - len(self.text.lstrip())]


def _scan(text: str) -> list[_Line]:
    """Read lines as ConfigParser._read of Python 3.11 to 3.14 does, with its default options."""
    from configparser import ConfigParser

    lines: list[_Line] = []
    section: str | None = None
    key: str | None = None
    indent_level = 0
    # str.splitlines would split at form feeds and others, which no text file is split at.
    for raw in re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text):
        value = raw.strip()
        if not value or value.startswith(("#", ";")):
            lines.append(_Line(text=raw, section=section, is_inert=True))
            continue
        indent = len(raw) - len(raw.lstrip())
        if section is not None and key is not None and indent > indent_level:
            lines.append(_Line(text=raw, section=section, key=key, is_continuation=True))
            continue
        indent_level = indent
        if header := ConfigParser.SECTCRE.match(value):
            section, key = header["header"], None
            lines.append(_Line(text=raw, section=section))
        elif section is not None and (option := ConfigParser.OPTCRE.match(value)):
            key = option["option"].rstrip()
            lines.append(_Line(text=raw, section=section, key=key))
        else:
            lines.append(_Line(text=raw, section=section, is_inert=True))
    return lines


def _set_parallel(lines: list[_Line], *, section: str, jobs: int) -> None:
    # setuptools lowercases keys and lets the last spelling win, so every one of them is set.
    # One that [DEFAULT] has comes after the section's own, unless the section has it too.
    wanted: dict[str, None] = {_KEY: None}
    for line in list(lines):
        if line.key is None or line.key.lower() != _KEY:
            continue
        if line.section == section and line.is_continuation:
            lines.remove(line)
        elif line.section == section:
            line.text = f"{line.indent}{line.key} = {jobs}{_line_end(lines)}"
        if line.section in (section, "DEFAULT"):
            wanted[line.key] = None
    present = {line.key for line in lines if line.section == section}
    _append(
        lines, section=section, options={key: str(jobs) for key in wanted if key not in present}
    )


def _spread_defaults(lines: list[_Line]) -> None:
    """Move the options of [DEFAULT] into the sections that have them from there.

    A section that is added would have them too, and setuptools refuses an option that its
    command does not know.
    """
    from configparser import Error, RawConfigParser
    from io import StringIO

    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_file(StringIO("".join(line.text for line in lines), newline=None))
    except Error:
        return
    for name in parser.sections():
        own = {line.key for line in lines if line.section == name}
        inherited = {key: value for key, value in parser.defaults().items() if key not in own}
        _append(lines, section=name, options=inherited)
    lines[:] = [line for line in lines if line.section != "DEFAULT" or line.key is None]


def _append(lines: list[_Line], *, section: str, options: dict[str, str]) -> None:
    """Add options at the end of a section, or a section at the end of the file."""
    if not options:
        return
    end = _line_end(lines)
    if lines and not lines[-1].text.endswith(("\r", "\n")):
        lines[-1].text += end
    headers = [at for at, line in enumerate(lines) if line.is_header]
    starts = [at for at in headers if lines[at].section == section]
    if not starts:
        lines.append(_Line(text=f"[{section}]{end}", section=section))
        starts = [len(lines) - 1]
    at = next((at for at in headers if at > starts[-1]), len(lines))
    # An option indented as the header after it begins there, whatever stands around the two:
    # less, and the header would continue the option's value; more, and the option could continue
    # the one before it.
    indent = lines[at].indent if at < len(lines) else ""
    continued = f"{end}{indent} "
    for key, value in reversed(options.items()):
        text = f"{indent}{key} = {value.replace(chr(10), continued)}{end}"
        lines.insert(at, _Line(text=text, section=section, key=key))


def _line_end(lines: list[_Line]) -> str:
    found = re.search(r"\r\n|\r|\n", lines[0].text) if lines else None
    return found[0] if found else "\n"
