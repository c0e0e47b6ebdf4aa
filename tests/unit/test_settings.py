"""Settings of the frontend, the environment and MAKEFLAGS; which place wins."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import settings_harness
from parallel_backend.machine import offer
from parallel_backend.settings import Settings, read_settings
from settings_harness import Read, fails, write

read = settings_harness.read

MIB = 2**20
# Time says nothing on a machine that is busy with builds.
untimed = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_without_any_setting_the_machine_decides(read: Read) -> None:
    settings = read()
    assert settings == Settings(
        jobs=None,
        jobs_source="the machine",
        memory_per_job=512 * MIB,
        keep_going=False,
        makeflags="",
        user_options={},
        backend_config=None,
    )
    assert settings.slots() == offer(memory_per_job=512 * MIB).jobs


def test_settings_cannot_be_changed(read: Read) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().jobs = 3  # type: ignore[misc]


def test_slots_are_the_jobs_asked_for() -> None:
    assert Settings(jobs=7).slots() == 7


def test_slots_heed_the_memory_of_a_job() -> None:
    assert Settings(memory_per_job=2**60).slots() == 1


PLACES = ("-C", "environment", "MAKEFLAGS", "extra config", "setup.cfg", "pyproject.toml")
JOBS = st.one_of(st.none(), st.integers(min_value=1, max_value=10**6))


@untimed
@given(
    jobs=st.fixed_dictionaries(dict.fromkeys(PLACES, JOBS)),
    auto=st.sets(st.sampled_from(("-C", "environment", "pyproject.toml"))),
    sections=st.lists(st.sampled_from(("build", "build_ext")), min_size=2, max_size=2),
)
def test_the_first_place_that_names_jobs_wins(
    tmp_path_factory: pytest.TempPathFactory,
    jobs: dict[str, int | None],
    auto: set[str],
    sections: list[str],
) -> None:
    folder = tmp_path_factory.mktemp("project")
    told = {
        place: "auto" if place in auto else jobs[place]
        for place in PLACES
        if place in auto or jobs[place] is not None
    }
    environ = {"PATH": os.defpath}
    config_settings = {"jobs": str(told["-C"])} if "-C" in told else None
    if "environment" in told:
        environ["PARALLEL_BACKEND_JOBS"] = str(told["environment"])
    if "MAKEFLAGS" in told:
        environ["MAKEFLAGS"] = f"ks -j{told['MAKEFLAGS']} --jobserver-auth=3,4 -- X=1"
    if "extra config" in told:
        extra = write(folder / "x.ini", f"[{sections[0]}]\nparallel={told['extra config']}\n")
        environ["DIST_EXTRA_CONFIG"] = str(extra)
    if "setup.cfg" in told:
        write(folder / "setup.cfg", f"[{sections[1]}]\nparallel = {told['setup.cfg']}\n")
    if "pyproject.toml" in told:
        value = '"auto"' if "pyproject.toml" in auto else told["pyproject.toml"]
        write(folder / "pyproject.toml", f"[tool.parallel-backend]\njobs = {value}\n")

    settings = read_settings(config_settings=config_settings, environ=environ, folder=folder)

    sources = {
        "-C": "-C jobs",
        "environment": "PARALLEL_BACKEND_JOBS",
        "MAKEFLAGS": f"MAKEFLAGS -j{told.get('MAKEFLAGS')}",
        "extra config": f"[{sections[0]}] parallel in {folder / 'x.ini'}",
        "setup.cfg": f"[{sections[1]}] parallel in setup.cfg",
        "pyproject.toml": "[tool.parallel-backend] jobs in pyproject.toml",
    }
    first = next((place for place in PLACES if place in told), None)
    if first is None:
        assert (settings.jobs, settings.jobs_source) == (None, "the machine")
    elif told[first] == "auto":
        expected = (None, f"the machine, as {sources[first]} says")
        assert (settings.jobs, settings.jobs_source) == expected
    else:
        assert (settings.jobs, settings.jobs_source) == (told[first], sources[first])
    assert settings.makeflags == environ.get("MAKEFLAGS", "")
    users = {sections[0]: {"parallel": str(told["extra config"])}} if "extra config" in told else {}
    assert settings.user_options == users


VALUES: dict[str, dict[str, object]] = {
    "memory-per-job": {"2GiB": 2048 * MIB, "1MiB": MIB, "3k": 3072},
    "keep-going": {"true": True, "off": False, "1": True, "no": False},
    "lock-timeout": {"60": 60},
    "launcher": {
        "ccache": "ccache",
        "ccache;distcc": "ccache distcc",
        "none": "none",
        "auto": "auto",
    },
    "local-jobs": {"2": 2, "auto": None},
    "timings": {"/a/b": "/a/b"},
}


def one_key() -> Iterator[st.SearchStrategy[tuple[str, list[str | None]]]]:
    for key, values in VALUES.items():
        value = st.one_of(st.none(), st.sampled_from(sorted(values)))
        yield st.tuples(st.just(key), st.lists(value, min_size=3, max_size=3))


@untimed
@given(told=st.one_of(*one_key()))
def test_the_first_place_that_names_any_other_key_wins(
    tmp_path_factory: pytest.TempPathFactory, told: tuple[str, list[str | None]]
) -> None:
    key, (by_frontend, by_environment, by_project) = told
    name = key.replace("-", "_")
    folder = tmp_path_factory.mktemp("project")
    environ = {}
    if by_environment is not None:
        environ[f"PARALLEL_BACKEND_{name.upper()}"] = by_environment
    if by_project is not None:
        write(folder / "pyproject.toml", f'[tool.parallel-backend]\n{key} = "{by_project}"\n')
    settings = read_settings(
        config_settings={} if by_frontend is None else {key: by_frontend},
        environ=environ,
        folder=folder,
    )
    first = next((each for each in told[1] if each is not None), None)
    default = getattr(Settings(), name)
    assert getattr(settings, name) == (default if first is None else VALUES[key][first])


@pytest.mark.parametrize("name", ["memory-per-job", "memory_per_job"])
def test_keys_may_be_spelled_with_dashes_and_underscores(
    read: Read, tmp_path: Path, name: str
) -> None:
    write(tmp_path / "pyproject.toml", f'[tool.parallel-backend]\n{name} = "3GiB"\n')
    assert read().memory_per_job == 3 * 2**30
    assert read({name: "2GiB"}).memory_per_job == 2 * 2**30


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("2GiB", 2 * 2**30),
        ("512MiB", 512 * MIB),
        ("1.5 GiB", 3 * 2**29),
        ("1TiB", 2**40),
        ("7KiB", 7 * 1024),
        ("9B", 9),
        (" 2g ", 2 * 2**30),
        ("2G", 2 * 2**30),
        ("3m", 3 * MIB),
        ("4k", 4096),
        ("0.5T", 2**39),
    ],
)
def test_memory_per_job_takes_binary_units(read: Read, given: str, size: int) -> None:
    assert read({"memory-per-job": given}).memory_per_job == size


@pytest.mark.parametrize(
    "value", ["2", "0GiB", "0.1B", "-1GiB", "GiB", "2GB", "1e3M", "", None, 2.5]
)
def test_a_wrong_memory_per_job_is_one_line(read: Read, value: object) -> None:
    message = fails(lambda: read({"memory-per-job": value}))
    shown = "no value" if value is None else repr(value)
    assert message == (
        f"-C memory-per-job: {shown} is not allowed; "
        'allowed is more than 0 with B, KiB, MiB, GiB or TiB, such as "2GiB"'
    )


@pytest.mark.parametrize("value", [None, "", True, "True", "ON", "1", "yes", ["no", "yes"], []])
def test_keep_going_without_a_value_means_true(read: Read, value: object) -> None:
    assert read({"keep-going": value}).keep_going is True


def test_a_wrong_switch_names_the_words_allowed(read: Read) -> None:
    assert fails(lambda: read({"keep_going": "maybe"})) == (
        "-C keep_going: 'maybe' is not allowed; allowed is true, false, 1, 0, yes, no, on or off"
    )


@pytest.mark.parametrize(
    "value", ["0", "-1", "+1", "1.5", "four", "", None, [], "Auto", True, "1_0", "٣", "9" * 10, {}]
)
def test_wrong_jobs_are_one_line(read: Read, value: object) -> None:
    message = fails(lambda: read({"jobs": value}))
    assert message.startswith("-C jobs: ")
    assert message.endswith('is not allowed; allowed is a whole number from 1, or "auto"')


def test_a_long_wrong_value_is_cut_and_a_line_break_in_it_is_shown_escaped(read: Read) -> None:
    message = fails(lambda: read({"keep-going": "a\n" + "b" * 500}))
    assert message.startswith(r"-C keep-going: 'a\nbbb")
    assert len(message) < 160


@pytest.mark.parametrize("value", ["4", ["2", "4"], 4, " 4 ", "004", ("1", "4")])
def test_the_last_of_repeated_config_settings_counts(read: Read, value: object) -> None:
    assert read({"jobs": value}).jobs == 4


def test_config_settings_without_our_keys_reach_setuptools(read: Read) -> None:
    others = {
        "--build-option": ["--foo"],
        "--global-option": "-q",
        "--jobs": "4",
        "editable-mode": "strict",
        "editable_mode": "strict",
        "verbose": "1",
        "quiet": None,
        "tag-date": "x",
        "tag-build": "y",
        "cmake.args": "-DX=1",
        "version": "1",
        "": "",
    }
    settings = read({"jobs": "2", **others, "keep-going": None})
    assert settings.backend_config == others


def test_config_settings_that_are_none_or_empty_stay_so(read: Read) -> None:
    assert read(None).backend_config is None
    assert read({}).backend_config == {}
    assert read({"jobs": "2"}).backend_config == {}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("job", "jobs"),
        ("Jobs", "jobs"),
        ("launch", "launcher"),
        ("memory-per-jobs", "memory-per-job"),
        ("keepgoing", "keep-going"),
        ("keep_goin", "keep-going"),
    ],
)
def test_a_near_miss_of_our_key_in_config_settings_names_the_nearest(
    read: Read, name: str, nearest: str
) -> None:
    assert fails(lambda: read({name: "1"})) == (
        f"-C: unknown key {name!r}; the nearest is {nearest!r}, "
        "known are jobs, memory-per-job, keep-going, fresh, store-size, "
        "lock-timeout, launcher, local-jobs, timings"
    )


def test_an_unknown_variable_of_ours_names_the_nearest(read: Read) -> None:
    message = fails(lambda: read(PARALLEL_BACKEND_JOB="4"))
    assert message.startswith(
        "environment: unknown key 'PARALLEL_BACKEND_JOB'; the nearest is 'PARALLEL_BACKEND_JOBS', "
    )


def test_a_wrong_value_in_the_environment_stops_the_build_even_if_another_place_wins(
    read: Read,
) -> None:
    assert fails(lambda: read({"jobs": "4"}, PARALLEL_BACKEND_JOBS="many")) == (
        "PARALLEL_BACKEND_JOBS: 'many' is not allowed; "
        'allowed is a whole number from 1, or "auto"'
    )


def test_an_empty_variable_is_not_set(read: Read) -> None:
    assert read(PARALLEL_BACKEND_JOBS="", PARALLEL_BACKEND_KEEP_GOING="") == read()


@pytest.mark.parametrize(
    ("makeflags", "jobs", "source"),
    [
        (" -j4 --jobserver-auth=3,4", 4, "MAKEFLAGS -j4"),
        ("-j 5", 5, "MAKEFLAGS -j5"),
        ("--jobs=6", 6, "MAKEFLAGS -j6"),
        ("--jobs 6", 6, "MAKEFLAGS -j6"),
        ("kj7", 7, "MAKEFLAGS -j7"),
        ("-ksj8", 8, "MAKEFLAGS -j8"),
        ("-j4 -j2", 2, "MAKEFLAGS -j2"),
        (" -- -j3 --jobserver-auth=fifo:/x", 3, "MAKEFLAGS -j3"),
        ("k --jobserver-fds=3,4 -j", None, "the jobserver in MAKEFLAGS"),
        ("--jobserver-auth=fifo:/dev/steve", None, "the jobserver in MAKEFLAGS"),
        (" -j4 -j --jobserver-auth=3,4", None, "the jobserver in MAKEFLAGS"),
        ("-j1 --jobserver-auth=-2,-2", 1, "MAKEFLAGS -j1"),
        ("--jobserver-auth=-2,-2", None, "the machine"),
        ("-j", None, "the machine"),
        ("-j0", None, "the machine"),
        ("-Ij4", None, "the machine"),
        ("--jobserver-style=fifo", None, "the machine"),
        ("X=-j4", None, "the machine"),
        (r"k -- X=a\ -j4", None, "the machine"),
        ("   ", None, "the machine"),
    ],
)
def test_makeflags_tell_jobs_or_a_jobserver(
    read: Read, makeflags: str, jobs: int | None, source: str
) -> None:
    settings = read(MAKEFLAGS=makeflags)
    assert (settings.jobs, settings.jobs_source) == (jobs, source)
    assert settings.makeflags == makeflags


def test_a_jobserver_comes_before_configuration_files(read: Read, tmp_path: Path) -> None:
    write(tmp_path / "setup.cfg", "[build_ext]\nparallel = 3\n")
    assert read(MAKEFLAGS="--jobserver-auth=3,4").jobs is None


@pytest.mark.parametrize("value", ["", "  ", "'unfinished", "''", True, 3])
def test_a_launcher_is_the_words_of_a_command(read: Read, value: object) -> None:
    message = fails(lambda: read({"launcher": value}))
    assert message == (
        f"-C launcher: {value!r} is not allowed; "
        'allowed is a command such as "ccache", or "auto" or "none"'
    )


def test_local_slots_are_the_machines_where_nothing_else_is_said() -> None:
    assert Settings(jobs=64).local_slots() == offer(memory_per_job=512 * MIB).jobs
    assert Settings(jobs=64, local_jobs=3).local_slots() == 3
