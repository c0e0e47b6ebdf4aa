from __future__ import annotations

import json
import os
import subprocess
import sys
from configparser import ConfigParser, Error
from pathlib import Path

import pytest
import setuptools
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from parallel_backend.extra_config import extra_config
from parallel_backend.settings import Settings

BUILD = ("build", "build_ext")
# Time says nothing on a machine that is busy with builds.
untimed = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def written(data: bytes | None, folder: Path, *, jobs: int = 4) -> bytes:
    """The file that a hook's setuptools sees where ``data`` is the user's own."""
    user_config = None
    if data is not None:
        user_config = folder / "user.cfg"
        user_config.write_bytes(data)
    settings = Settings(user_config=str(user_config) if user_config else None)
    with extra_config(settings=settings, jobs=jobs, private=folder) as path:
        assert os.environ["DIST_EXTRA_CONFIG"] == str(path)
        assert path.parent == folder
        return path.read_bytes()


def parsed(data: bytes, folder: Path) -> ConfigParser:
    """Parse as setuptools' Distribution._parse_config_files does."""
    path = folder / "parsed.cfg"
    path.write_bytes(data)
    parser = ConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    with open(path, encoding="utf-8") as file:
        parser.read_file(file)
    return parser


def options(parser: ConfigParser, *, raw: bool) -> dict[str, list[tuple[str, str]]]:
    """Every section's options in order, less ``parallel`` of the two that are ours to set."""

    def value(section: str, name: str) -> str:
        try:
            return parser.get(section, name, raw=raw)
        except Error as error:
            return type(error).__name__

    return {
        section: [
            (name, value(section, name))
            for name in parser.options(section)
            if section not in BUILD or name.lower() != "parallel"
        ]
        for section in parser.sections()
    }


def check(data: bytes, folder: Path) -> None:
    before = parsed(data, folder)
    after = parsed(written(data, folder, jobs=6), folder)
    for raw in (True, False):
        expected: dict[str, list[tuple[str, str]]] = {name: [] for name in BUILD} | options(
            before, raw=raw
        )
        assert options(after, raw=raw) == expected
    for section in BUILD:
        told = {
            name: after.get(section, name)
            for name in after.options(section)
            if name.lower() == "parallel"
        }
        assert told["parallel"] == "6"
        assert set(told.values()) == {"6"}
    sections = before.sections()
    assert [name for name in after.sections() if name in sections] == sections


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIST_EXTRA_CONFIG", raising=False)


SPACE = st.sampled_from(["", "", "", " ", "  ", "    ", "\t", "\x0c", "\xa0"])
NAME = st.sampled_from([*BUILD, "build", "build_ext", "DEFAULT", "metadata", "a b", "é", "a][b"])
KEY = st.sampled_from(
    [
        "parallel",
        "Parallel",
        "PARALLEL",
        "debug",
        "build-temp",
        "build_temp",
        "Define",
        "x",
        "é [y]",
    ]
)
VALUE = st.sampled_from(
    [
        "",
        "3",
        "a b",
        "%(x)s",
        "50%%",
        "%",
        "ü # no comment",
        "[build]",
        "parallel = 9",
        "= :",
        "\x85b",
    ]
)
HEADER = st.builds("[{}]{}".format, NAME, st.sampled_from(["", " # a note", "]"]))
OPTION = st.builds("{}{}{}".format, KEY, st.sampled_from([" = ", "=", ":", " : "]), VALUE)
INERT = st.sampled_from(["", "", "# [build]", "; parallel = 5", "#"])
NOISE = st.lists(st.sampled_from([*"[]=:#; \t%", "build", "_ext", "parallel", "x"])).map("".join)
LINE = st.tuples(
    SPACE,
    st.one_of(HEADER, OPTION, OPTION, VALUE, INERT, NOISE),
    st.sampled_from(["\n", "\n", "\r\n", "\r", " \n"]),
)


@st.composite
def valid_ini(draw: st.DrawFn) -> bytes:
    """A file that ConfigParser reads: lines that it would refuse are left out."""
    lines: list[str] = []
    for line in draw(st.lists(LINE, max_size=14)):
        text = "".join([*lines, "".join(line)])
        parser = ConfigParser()
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            parser.read_string(text.replace("\r\n", "\n").replace("\r", "\n"))
        except Error:
            continue
        lines.append("".join(line))
    text = "".join(lines)
    if draw(st.booleans()):
        text = text.rstrip("\r\n")
    return text.encode()


@untimed
@given(data=valid_ini())
@example(b"")
@example(b"[build_ext]\nparallel = 2\n")
@example(b"[build_ext]\nparallel = 2")
@example(b"[build_ext]\nparallel =\n\n  # why\n  2\n\n[build]\r\nparallel:\r\n\t3\n  debug=1")
@example(b"[build_ext]\n    define = A\n    include-dirs = x\n  [build]\n  debug = 1\n")
@example(b"[build]\n   [metadata]\n   name = x\n")
@example(b"[build]\n debug = 1\n;c = d\n parallel = 2\n")
@example(b"[DEFAULT]\nname = x\n  y\n\n  z\n[metadata]\nversion = %(name)s\n[DEFAULT]\nx = 1")
@example(b"[DEFAULT]\nParallel = 3\n[build]\n[build_ext]\n")
@example(b"[DEFAULT]\rParallel = 3\rx =\r 1\r 2\r[build]\rx=3\r[a]")
@example(b"[DEFAULT]\nparallel = 3\n[a]\nb = %(parallel)s\n")
def test_every_other_option_is_as_the_user_wrote_it(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    check(data, tmp_path_factory.mktemp("private"))


@untimed
@given(data=st.binary(max_size=60) | valid_ini().map(lambda data: b"\xef\xbb\xbf" + data))
@example(b"[build]\nparallel = 1\nparallel = 2\n[build]\n")
@example(b"[build_ext]\nno delimiter\n  = x\n[DEFAULT]\n\xe4\xff = 2\n")
@example(b"[DEFAULT]\nx = 1\nbroken\n")
def test_what_setuptools_refuses_it_still_refuses(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("private")
    after = written(data, folder)
    try:
        parsed(data, folder)
    except (Error, UnicodeDecodeError) as error:
        with pytest.raises(type(error)):
            parsed(after, folder)


@untimed
@given(
    data=st.lists(
        st.binary(max_size=8).filter(lambda line: b"\r" not in line and b"\n" not in line)
    ).map(b"\n".join)
)
def test_bytes_of_any_encoding_pass_through(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    data = b"# \xe4 \xef\xbb\xbf" + data.replace(b"[", b"") + b"\n"
    assert written(data, tmp_path_factory.mktemp("private")).startswith(data)


def test_only_the_value_of_parallel_changes_in_the_text(tmp_path: Path) -> None:
    data = (
        b"# Our machines\r\n[build_ext]\r\nInclude-Dirs = /a\r\n   ; more\r\n   /b\r\n\r\n"
        b"parallel = 2\r\ndefine = %(x)s\r\nx = 100%%\r\n"
    )
    assert written(data, tmp_path) == (
        data.replace(b"parallel = 2", b"parallel = 4") + b"[build]\r\nparallel = 4\r\n"
    )


def test_a_value_that_refers_to_parallel_gets_the_number_in_force(tmp_path: Path) -> None:
    data = b"[build]\nparallel = 2\nbuild_temp = t%(parallel)s\n"
    assert parsed(written(data, tmp_path), tmp_path).get("build", "build_temp") == "t4"


@pytest.mark.parametrize("name", ["missing.cfg", "."])
def test_a_users_file_that_is_not_a_file_is_passed_over(tmp_path: Path, name: str) -> None:
    settings = Settings(user_config=str(tmp_path / name))
    with extra_config(settings=settings, jobs=4, private=tmp_path) as path:
        assert path.read_bytes() == written(None, tmp_path / path.parent)


def test_the_users_own_file_stays_untouched(tmp_path: Path) -> None:
    data = b"[build]\nparallel = 2\n"
    written(data, tmp_path)
    assert (tmp_path / "user.cfg").read_bytes() == data


@pytest.mark.parametrize("before", [None, "", "/some/user.cfg"])
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("meanwhile", ["kept", "changed", "deleted"])
def test_afterwards_the_file_is_gone_and_the_variable_as_before(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str | None,
    error: type[BaseException] | None,
    meanwhile: str,
) -> None:
    if before is not None:
        monkeypatch.setenv("DIST_EXTRA_CONFIG", before)
    environ = dict(os.environ)

    def hook() -> None:
        with extra_config(settings=Settings(), jobs=4, private=tmp_path) as path:
            if meanwhile == "changed":
                os.environ["DIST_EXTRA_CONFIG"] = "/elsewhere"
            elif meanwhile == "deleted":
                del os.environ["DIST_EXTRA_CONFIG"]
                path.unlink()
            if error:
                raise error

    if error:
        with pytest.raises(error):
            hook()
    else:
        hook()
    assert dict(os.environ) == environ
    assert list(tmp_path.iterdir()) == []


def test_a_private_folder_that_is_gone_leaves_the_variable_as_before(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError),
        extra_config(settings=Settings(), jobs=4, private=tmp_path / "gone"),
    ):
        pytest.fail("entered without a file")
    assert "DIST_EXTRA_CONFIG" not in os.environ


SHOW_COMMAND_OPTIONS = """
import json
from setuptools.dist import Distribution
distribution = Distribution()
distribution.parse_config_files()
options = {
    name: {key: value for key, (_, value) in each.items()}
    for name, each in distribution.command_options.items()
}
print(json.dumps(options))
"""


@pytest.mark.parametrize(
    ("user", "others"),
    [
        (None, {}),
        (
            (
                "[build]\nbuild-base = b%%\n[DEFAULT]\nname = p\n[metadata]\nversion = 1\n"
                "long_description =\n  a\n\n  # no\n  %(name)s\n"
            ),
            {
                "metadata": {"version": "1", "long_description": "\na\n\np", "name": "p"},
                "build": {"build_base": "b%", "name": "p"},
            },
        ),
        (
            "# c\r\n[build_ext]\r\nparallel=\r\n  2\r\ndefine = A,B",
            {"build_ext": {"define": "A,B"}},
        ),
    ],
)
def test_setuptools_takes_the_number_and_keeps_the_users_options(
    tmp_path: Path, user: str | None, others: dict[str, dict[str, str]]
) -> None:
    user_config = tmp_path / "user.cfg"
    if user is not None:
        user_config.write_bytes(user.encode())
    (tmp_path / "setup.cfg").write_text("[build]\nparallel = 9\n[build_ext]\nparallel = 8\n")
    private = tmp_path / "private"
    private.mkdir()
    # The setuptools of this process, whichever way it came to be importable.
    setuptools_folder = str(Path(setuptools.__file__).parents[1])
    with extra_config(settings=Settings(user_config=str(user_config)), jobs=5, private=private):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SHOW_COMMAND_OPTIONS],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": setuptools_folder},
            stdout=subprocess.PIPE,
            check=True,
        )
    expected = {name: {**others.get(name, {}), "parallel": "5"} for name in BUILD}
    assert json.loads(done.stdout) == {**others, **expected}
