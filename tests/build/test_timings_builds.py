"""Builds that are recorded: what stands in their trace and page, and what stays as it is."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cli_harness import pack, run
from harness import (
    QUICK_COMPILE,
    HookRun,
    copy_package,
    expectation,
    run_hook,
    serial_wheel,
    wheel_bytes_equal,
)
from parallel_backend.errors import SettingsError
from parallel_backend.timings.folder import check_folder
from projects import TINY_C, make_project
from timings_harness import embedded, slices
from watched_builds import write_compiler, write_extensions

HOSTILE = "<img src=x onerror=alert(1)>.c"


def project(folder: Path, *, names: str = "abc", broken: str = "", tables: str = "") -> Path:
    """Extensions of two sources each; `broken`: the name of one more source that is none."""
    first = names[0]
    more = {first: [broken]} if broken else {}
    return make_project(
        folder,
        setup="from setuptools import Extension, setup\n"
        f"more = {more!r}\n"
        "setup(ext_modules=[Extension(n, [n + '.c', n + '_2.c', *more.get(n, [])])"
        f" for n in {[*names]}])\n",
        files={
            **{f"{name}.c": TINY_C.format(name=name) for name in names},
            **{f"{name}_2.c": f"int {name}_2;\n" for name in names},
            **({broken: "#error broken\n"} if broken else {}),
        },
        tables=tables,
    )


def wheel_hook(
    folder: Path,
    out: Path,
    *,
    env: Mapping[str, str] | None = None,
    **settings: str,
) -> HookRun:
    out.mkdir(exist_ok=True)
    return run_hook(
        folder,
        "build_wheel",
        out,
        env={**QUICK_COMPILE, **(env or {})},
        config_settings={"jobs": "2", **settings},
    )


def kinds(timings: Path) -> Counter[str]:
    return Counter(event["cat"] for event in slices(timings / "timings.json"))


def verdicts(timings: Path) -> list[str]:
    return [each[0] for each in embedded(timings / "timings.html")["verdicts"]]


def test_a_build_is_recorded_whole_and_makes_the_same_bytes(tmp_path: Path) -> None:
    folder, timings = project(tmp_path / "project"), tmp_path / "timings"
    expected = serial_wheel(folder, env=QUICK_COMPILE)
    done = wheel_hook(folder, tmp_path / "out", timings=str(timings))
    assert done.returncode == 0, done.output
    assert wheel_bytes_equal(tmp_path / "out" / done.result, expected)
    assert f"parallel-backend: timings: {timings / 'timings.html'}\n" in done.stdout

    found = kinds(timings)
    assert found["hook"] == 1
    assert (found["recorder"], found["compile"], found["link"]) == (1, 6, 3)
    assert found["command"] > 3
    told = slices(timings / "timings.json")
    assert {event["tid"] for event in told} <= {1, 2}  # a row a job slot
    compiled = [event["args"] for event in told if event["cat"] == "compile"]
    assert all(each["cpu_seconds"] > 0 for each in compiled)
    assert {each["run"] for each in compiled} <= {"ahead", "live"}
    assert Counter(each["extension"] for each in compiled) == {"a": 2, "b": 2, "c": 2}
    assert all({"peak_memory_bytes", "peak_memory_at_most_bytes"} & {*each} for each in compiled)
    data = embedded(timings / "timings.html")
    assert data["title"] == "sample 1.0"
    assert data["slots"] == 2
    assert dict(data["told"])["compiled"] == "6"
    assert dict(data["told"])["linked"] == "3"
    assert data["path"][0][0] == data["path"][-1][0] == "serial"
    assert {kind for kind, *_ in data["path"]} == {"serial", "compile", "link"}
    assert max(number for _, _, number in data["jobs"]) == 2

    done = wheel_hook(folder, tmp_path / "out", timings=str(timings))
    assert done.returncode == 0, done.output
    assert kinds(timings)["cache hit"] >= 6
    assert "reused" in verdicts(timings)


def test_sources_of_one_extension_stand_in_the_rows_of_the_slots_they_had(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "project", {"ext": 8})
    body = """
    if [ $kind = compile ]; then
        log +
        patiently together 2
        log -
    fi
    real "$@"
    """
    env, timings = write_compiler(tmp_path / "cc", body), tmp_path / "timings"
    done = wheel_hook(folder, tmp_path / "out", env=env, timings=str(timings))
    assert done.returncode == 0, done.output
    rows: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for event in slices(timings / "timings.json"):
        if event["cat"] == "compile":
            rows[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert all(rows.values())
    for spans in rows.values():
        assert all(one[1] <= other[0] for one, other in pairwise(sorted(spans)))


def test_nothing_is_written_where_nobody_asked(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", names="a")
    env = {"PARALLEL_BACKEND_TIMINGS": "", "TMPDIR": str(tmp_path)}
    done = wheel_hook(folder, tmp_path / "out", env=env)
    assert done.returncode == 0, done.output
    assert "timings" not in done.output
    assert not [*tmp_path.rglob("*timings*")]


@pytest.mark.parametrize("place", ["-C", "environment", "pyproject.toml"])
def test_each_place_of_a_setting_may_name_the_folder(tmp_path: Path, place: str) -> None:
    tables = '[tool.parallel-backend]\ntimings = "build/timings"\n'
    folder = make_project(tmp_path / "project", tables=tables if place == "pyproject.toml" else "")
    settings: dict[str, Any] = {"timings": "build/timings"} if place == "-C" else {}
    env = {"PARALLEL_BACKEND_TIMINGS": "build/timings"} if place == "environment" else {}
    done = wheel_hook(folder, tmp_path / "out", env=env, **settings)
    assert done.returncode == 0, done.output
    assert verdicts(folder / "build" / "timings") == ["serial"]


def test_a_hook_that_builds_nothing_leaves_the_timings_of_the_build_alone(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project")
    settings = {"timings": str(tmp_path / "timings")}
    done = run_hook(folder, "get_requires_for_build_wheel", config_settings=settings)
    assert done.returncode == 0, done.output
    assert not (tmp_path / "timings").exists()


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_folder_that_cannot_be_is_one_line_before_the_build_begins(
    tmp_path: Path, where: str
) -> None:
    folder = project(tmp_path / "project", names="a")
    (tmp_path / "file").write_text("")
    done = wheel_hook(folder, tmp_path / "out", timings=str(tmp_path / where))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        f"parallel-backend: error: timings: {tmp_path / 'file'} is no folder; "
        "name one for timings.html to go to"
    )
    assert not (folder / "build").exists()


def test_a_folder_that_nobody_may_write_to_is_told_before_the_build_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_folder(str(tmp_path / "new" / "timings"))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(SettingsError, match=f"timings: nothing can be written to {tmp_path};"):
        check_folder(str(tmp_path / "new" / "timings"))


def test_a_page_that_cannot_be_written_in_the_end_fails_no_build(tmp_path: Path) -> None:
    setup = "import pathlib, setuptools\npathlib.Path('late').write_text('')\nsetuptools.setup()\n"
    folder = make_project(tmp_path / "project", setup=setup)
    done = wheel_hook(folder, tmp_path / "out", timings="late")
    assert done.returncode == 0, done.output
    assert "parallel-backend: no timings: FileExistsError: " in done.stderr


def test_a_failed_build_tells_what_is_known_and_what_failed(tmp_path: Path) -> None:
    folder, timings = project(tmp_path / "project", broken=HOSTILE), tmp_path / "timings"
    done = wheel_hook(folder, tmp_path / "out", timings=str(timings))
    assert done.returncode != 0
    assert "#error broken" in done.stderr
    data = embedded(timings / "timings.html")
    kind, _, text, *_ = data["verdicts"][0]
    assert kind == "failed"
    assert f"The source {HOSTILE} of extension a failed" in text
    assert "ended with exit status 1" in text
    assert "<img" not in (timings / "timings.html").read_text()
    failed = [e for e in slices(timings / "timings.json") if e["args"]["result"] == "failed"]
    assert {"hook", "compile"} <= {event["cat"] for event in failed}
    # It has failed ahead of its turn perhaps, which did not count.
    broken = [event["args"] for event in failed if event["name"] == HOSTILE]
    assert [each["run"] for each in broken] == ["live"]


def test_what_a_failure_breaks_off_did_not_fail(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "project", {"first": 1, "second": 1})
    body = """
    case $kind/$source in
        compile/first_0.c) patiently logged second_0.c 1; exit 1 ;;
        compile/second_0.c) log second_0.c; exec sleep 600 ;;
    esac
    real "$@"
    """
    env, timings = write_compiler(tmp_path / "cc", body), tmp_path / "timings"
    done = wheel_hook(folder, tmp_path / "out", env=env, timings=str(timings))
    assert done.returncode != 0
    told = [(event["name"], event["args"]) for event in slices(timings / "timings.json")]
    assert [args["result"] for name, args in told if name == "second_0.c"] == ["cancelled"]
    assert [args["result"] for name, args in told if name == "first_0.c"] == ["again", "failed"]
    text = embedded(timings / "timings.html")["verdicts"][0][2]
    assert "The source first_0.c of extension first failed" in text


def test_a_failure_of_what_does_not_start_is_told(tmp_path: Path) -> None:
    folder, timings = project(tmp_path / "project", names="a"), tmp_path / "timings"
    done = wheel_hook(folder, tmp_path / "out", env={"CC": "no-cc"}, timings=str(timings))
    assert done.returncode != 0
    kind, _, text, *_ = embedded(timings / "timings.html")["verdicts"][0]
    assert kind == "failed"
    assert text.startswith("The source a.c of extension a failed")
    assert "No such file or directory: 'no-cc'" in text


def test_what_runs_in_its_place_tells_why_and_what_it_used(tmp_path: Path) -> None:
    folder, timings = tmp_path / "project", tmp_path / "timings"
    make_project(
        folder,
        setup="from setuptools import Extension, setup\n"
        "setup(ext_modules=[Extension('a', ['a.c'], extra_compile_args=['-save-temps=obj'])])\n",
        files={"a.c": TINY_C.format(name="a")},
    )
    done = wheel_hook(folder, tmp_path / "out", timings=str(timings))
    assert done.returncode == 0, done.output
    [told] = [e["args"] for e in slices(timings / "timings.json") if e["cat"] == "compile"]
    assert (told["run"], told["why"]) == ("live", "the option -save-temps=obj")
    assert told["extension"] == "a"
    assert told["cpu_seconds"] > 0
    assert {"peak_memory_bytes", "peak_memory_at_most_bytes"} & {*told}


def test_what_ran_ahead_in_vain_is_shown_as_such(tmp_path: Path) -> None:
    """Compiling the first extension changes a header of the second, which has been compiled."""
    timings = tmp_path / "timings"
    folder = write_extensions(
        tmp_path / "project",
        {"first": 1, "second": 1},
        contents={"second_0.c": '#include "made.h"\nint PyInit_second;\n'},
    )
    (folder / "made.h").write_text("")
    body = f"""
    if [ $kind/$source = compile/first_0.c ]; then
        patiently logged second_0.c 1
        echo '#define MADE' > '{folder / "made.h"}'
    fi
    real "$@" || exit
    [ $kind = link ] || log $source
    """
    env = write_compiler(tmp_path / "cc", body)
    done = wheel_hook(folder, tmp_path / "out", env=env, timings=str(timings))
    assert done.returncode == 0, done.output
    assert "2 compiled, 2 linked, 0 reused, 1 recompiled" in done.stdout
    told = [event for event in slices(timings / "timings.json") if event["cat"] == "compile"]
    second = [event["args"] for event in told if event["name"] == "second_0.c"]
    assert [(each["run"], each["result"]) for each in second] == [
        ("ahead", "again"),
        ("live", "done"),
    ]
    assert second[1]["why"] == "what it reads has changed since it ran"
    assert dict(embedded(timings / "timings.html")["told"])["compiled"] == "2"
    assert "failed" not in verdicts(timings)


@pytest.mark.parametrize("sample", ["pyx_cythonize", "pyx_build_ext", "build_clib"])
def test_translations_and_c_libraries_are_recorded(tmp_path: Path, sample: str) -> None:
    if missing := expectation(sample).missing:
        pytest.skip(f"there is no {missing}")
    folder, timings = copy_package(sample, tmp_path), tmp_path / "timings"
    done = wheel_hook(folder, tmp_path / "out", timings=str(timings))
    assert done.returncode == 0, done.output
    found = kinds(timings)
    assert found["compile"]
    assert found["link"]
    if sample.startswith("pyx"):
        told = [e for e in slices(timings / "timings.json") if e["cat"] == "translation"]
        names = [(event["name"], event["args"]["extension"]) for event in told]
        assert sorted(names) == [("doubled.pyx", "doubled"), ("tripled.pyx", "tripled")]
        path = [kind for kind, *_ in embedded(timings / "timings.html")["path"]]
        assert path.index("translation") < path.index("compile") < path.index("link")


def test_what_the_serial_build_translates_is_not_translated_once_more(tmp_path: Path) -> None:
    """A recorder that is slow comes to it later, and what is compiled of it waits for it."""
    if missing := expectation("pyx_build_ext").missing:
        pytest.skip(f"there is no {missing}")
    folder, timings = copy_package("pyx_build_ext", tmp_path), tmp_path / "timings"
    setup = folder / "setup.py"
    slow = """
import os, time
main = os.getpid()
class build_ext(build_ext):
    def build_extension(self, ext):
        if os.getpid() != main:
            time.sleep(0.5)
        super().build_extension(ext)
setup("""
    setup.write_text(setup.read_text().replace("\nsetup(", slow))
    done = wheel_hook(folder, tmp_path / "out", timings=str(timings))
    assert done.returncode == 0, done.output
    told = slices(timings / "timings.json")
    runs = {e["name"]: e["args"]["run"] for e in told if e["cat"] == "translation"}
    assert runs == {"doubled.pyx": "live", "tripled.pyx": "ahead"}
    assert (kinds(timings)["translation"], kinds(timings)["compile"]) == (2, 2)
    assert {e["args"]["result"] for e in told} == {"done"}


def test_waits_for_a_token_that_others_hold_are_recorded(tmp_path: Path) -> None:
    folder, timings = project(tmp_path / "project"), tmp_path / "timings"
    fifo = tmp_path / "tokens"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDWR)  # nobody puts a token in
    try:
        done = run_hook(
            folder,
            "build_wheel",
            tmp_path,
            env={**QUICK_COMPILE, "MAKEFLAGS": f" -j3 --jobserver-auth=fifo:{fifo}"},
            config_settings={"timings": str(timings)},
        )
    finally:
        os.close(held)
    assert done.returncode == 0, done.output
    assert kinds(timings)["wait for a token"]
    assert "tokens" in verdicts(timings)


def test_many_projects_are_written_as_one(tmp_path: Path) -> None:
    good, bad = project(tmp_path / "good"), project(tmp_path / "bad", names="z", broken=HOSTILE)
    words: list[Any] = ["build", good, pack(bad), "-n", "-j2", "-k", "--json", "-o", tmp_path / "o"]
    elsewhere = {"PARALLEL_BACKEND_TIMINGS": "elsewhere"}
    done = run(*words, "--timings", "here", tmp_path=tmp_path, more=elsewhere)
    assert done.returncode == 1, done.stderr
    assert len(json.loads(done.stdout)["projects"]) == 2
    assert "parallel-backend: timings: " in done.stderr
    assert not (tmp_path / "elsewhere").exists()
    whole = json.loads((tmp_path / "here" / "timings.json").read_text())
    names = [e["args"]["name"] for e in whole["traceEvents"] if e["name"] == "process_name"]
    assert names[:2] == ["sample-1.0", "bad-1.0"]
    data = embedded(tmp_path / "here" / "timings.html")
    units = Counter((unit[0], unit[2]) for unit in data["units"])
    assert units["compile", 0] == 6
    assert units["compile", 1]
    assert units["hook", 0] == 2  # the requirements, and the wheel
    assert units["project", 0] == units["project", 1] == 1
    assert units["step", 0] >= 4
    assert f"The source {HOSTILE} of extension z failed in bad-1.0" in data["verdicts"][0][2]
    assert data["rows"] <= 2
    assert max(number for _, _, number in data["jobs"]) <= 2


def test_many_projects_take_the_folder_from_a_config_setting_and_no_backend_gets_it(
    tmp_path: Path,
) -> None:
    folder = project(tmp_path / "project", names="a")
    words: list[Any] = ["build", folder, "-n", "-q", "-o", tmp_path / "o"]
    done = run(*words, "-C", "timings=here", tmp_path=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "here" / "timings.html").exists()
    assert not (folder / "here").exists()
    (tmp_path / "file").write_text("")
    done = run(*words, "--timings", "file/here", tmp_path=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("parallel-backend: error: timings: ")
    done = run(*words, "-C", "timings", tmp_path=tmp_path)
    assert done.stderr.startswith("parallel-backend: error: -C timings: no value is not allowed")
