"""The ``DIST_EXTRA_CONFIG`` file of a hook: the user's own options, and ``parallel``."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import warnings
from configparser import ConfigParser, Error, InterpolationError
from pathlib import Path

import pytest
import setuptools
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from setuptools.dist import Distribution

from parallel_backend.errors import HookProcessError, SettingsError
from parallel_backend.extra_config import extra_config
from parallel_backend.settings import Settings, read_settings

BUILD = ("build", "build_ext")
# Time says nothing on a machine that is busy with builds.
untimed = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

Options = dict[str, dict[str, str]]


def told(variable: str, folder: Path) -> Settings:
    """The settings of a build with 6 jobs in `folder`."""
    return read_settings(
        config_settings={"jobs": "6"}, environ={"DIST_EXTRA_CONFIG": variable}, folder=folder
    )


def seen(path: Path) -> Options:
    """The options that setuptools reads from a file."""
    distribution = Distribution()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spellings that setuptools wants to see no more
        distribution.parse_config_files([str(path)], ignore_option_errors=True)
    return {
        section: {name: value for name, (_, value) in options.items()}
        for section, options in distribution.command_options.items()
    }


def seen_with(user_file: Path) -> Options:
    """The options that setuptools reads in a hook where the user has a file."""
    private = user_file.parent / "private"
    private.mkdir()
    with extra_config(settings=told(str(user_file), private), jobs=6, private=private) as path:
        return seen(path)


def with_parallel(options: Options) -> Options:
    """What setuptools is to see where it would see these options without us."""
    whole = {section: dict(values) for section, values in options.items()}
    for section in BUILD:
        values = whole.setdefault(section, {})
        values |= {name: "6" for name in (*values, "parallel") if name.lower() == "parallel"}
    return whole


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
HEADER = st.builds("[{}]{}".format, NAME, st.sampled_from(["", " # a note"]))
OPTION = st.builds("{}{}{}".format, KEY, st.sampled_from([" = ", "=", ":", " : "]), VALUE)
INERT = st.sampled_from(["", "", "# [build]", "; parallel = 5", "#"])
NOISE = st.lists(st.sampled_from([*"[]=:#; \t%", "build", "_ext", "parallel", "x"])).map("".join)
LINE = st.tuples(
    SPACE,
    st.one_of(HEADER, OPTION, OPTION, VALUE, INERT, NOISE),
    st.sampled_from(["\n", "\n", "\r\n", "\r", " \n"]),
)


ANY_INI = st.lists(LINE, max_size=14).map(lambda lines: "".join(map("".join, lines)).encode())


@st.composite
def valid_ini(draw: st.DrawFn) -> bytes:
    """A file that ConfigParser reads: lines that it would refuse are left out."""
    text = draw(st.sampled_from(["", "[build]\n", "[build_ext]\n", "[DEFAULT]\n"]))
    for line in draw(st.lists(LINE, min_size=4, max_size=20)):
        parser = ConfigParser()
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        more = text + "".join(line)
        with contextlib.suppress(Error):
            parser.read_string(more.replace("\r\n", "\n").replace("\r", "\n"))
            for section in parser.sections():
                parser.items(section)
            text = more
    return (text if draw(st.booleans()) else text.rstrip("\r\n")).encode()


@untimed
@given(data=valid_ini() | valid_ini() | ANY_INI | st.binary(max_size=60))
@example(b"")
@example(b"[build_ext]\nparallel = 2")
@example(b"[build_ext]\nparallel =\n\n  # why\n  2\n\n[build]\r\nparallel:\r\n\t3\n  debug=1")
@example(b"[build_ext]\n    define = A\n    include-dirs = x\n  [build]\n  debug = 1\n")
@example(b"[build_ext]\nparallel = 2\nParallel = 3\n")
@example(b"[build]\n   [metadata]\n   name = x\n")
@example(b"[build]\n debug = 1\n;c = d\n parallel = 2\n")
@example(b"[DEFAULT]\nname = x\n  y\n\n  z\n[metadata]\nversion = %(name)s\n[DEFAULT]\nx = 1")
@example(b"[DEFAULT]\nParallel = 3\n[build]\n[build_ext]\n")
@example(b"[DEFAULT]\rParallel = 3\rx =\r 1\r 2\r[build]\rx=3\r[a]")
@example(b"[DEFAULT]\ndebug = 1\n[build_ext]\nDEBUG = 0\n")
@example(b"[a]\nempty =\nb = %(empty)s # x\nc = 50%%\n")
@example("[bäh]\né = ü\x85\n  \x1cw\n".encode())
@example(b"[build]\nparallel = 1\nparallel = 2\n[build]\n")
@example(b"[build_ext]\nno delimiter\n  = x\n[DEFAULT]\n\xe4\xff = 2\n")
@example(b"\xef\xbb\xbf[build]\n")
@example(b"[build]\nx = %(\n")
def test_setuptools_sees_the_users_options_and_parallel(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("user") / "user.cfg"
    path.write_bytes(data)
    try:
        users = seen(path)
    except InterpolationError:
        with pytest.raises((InterpolationError, SettingsError)):
            seen_with(path)
    except (Error, UnicodeDecodeError):
        with pytest.raises(SettingsError, match="which cannot be read"):
            seen_with(path)
    else:
        assert seen_with(path) == with_parallel(users)
    assert path.read_bytes() == data


def test_a_value_that_refers_to_parallel_gets_the_number_in_force(tmp_path: Path) -> None:
    path = tmp_path / "user.cfg"
    path.write_text("[build]\nparallel = 2\nbuild_temp = t%(parallel)s\n")
    assert seen_with(path)["build"] == {"parallel": "6", "build_temp": "t6"}


@pytest.mark.parametrize("name", ["missing.cfg", "."])
def test_a_users_file_that_is_not_a_file_is_passed_over(tmp_path: Path, name: str) -> None:
    with extra_config(settings=told(name, tmp_path), jobs=6, private=tmp_path) as path:
        assert seen(path) == with_parallel({})


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
        pytest.raises(HookProcessError, match="cannot be written"),
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
    if user is not None:
        (tmp_path / "user.cfg").write_bytes(user.encode())
    (tmp_path / "setup.cfg").write_text("[build]\nparallel = 9\n[build_ext]\nparallel = 8\n")
    private = tmp_path / "private"
    private.mkdir()
    # The setuptools of this process, whichever way it came to be importable.
    setuptools_folder = str(Path(setuptools.__file__).parents[1])
    with extra_config(settings=told("user.cfg", tmp_path), jobs=5, private=private):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SHOW_COMMAND_OPTIONS],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": setuptools_folder},
            stdout=subprocess.PIPE,
            check=True,
        )
    expected = {name: {**others.get(name, {}), "parallel": "5"} for name in BUILD}
    assert json.loads(done.stdout) == {**others, **expected}
