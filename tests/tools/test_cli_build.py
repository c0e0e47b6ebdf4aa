"""Real projects built by the command, many at once, offline: without isolation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from cli_harness import in_tree, leftovers, pack, run, with_extension
from harness import PLAIN_BACKEND, QUICK_COMPILE, build_wheel, wheel_bytes_equal
from projects import make_project


def of_backend(folder: Path, package: str, backend: str) -> Path:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    make_project(
        folder,
        name=folder.name,
        build_system=f'requires = ["{package}"]\nbuild-backend = "{backend}"',
    )
    text = (folder / "pyproject.toml").read_text()
    text = text.replace('version = "1.0"\n', 'version = "1.0"\ndescription = "one"\n')
    (folder / "pyproject.toml").write_text(text.partition("[tool.setuptools]")[0])
    return folder


def rows(text: str) -> dict[str, list[str]]:
    """The table's rows by project."""
    return {line.split()[0]: re.split(r"\s{2,}", line) for line in text.splitlines() if line}


@pytest.mark.slow
def test_many_projects_of_all_kinds_are_built_at_once(tmp_path: Path) -> None:
    with_extension(tmp_path / "plain", name="plain")
    packed = pack(with_extension(tmp_path / "packed", name="packed"))
    legacy = make_project(
        tmp_path / "legacy",
        setup="import sample, setuptools\n"
        "setuptools.setup(name='legacy', version=str(sample.VALUE), py_modules=['sample'])\n",
    )
    (legacy / "pyproject.toml").unlink()
    zipped = pack(legacy, ".zip", name="legacy-1")
    of_backend(tmp_path / "flitted", "flit_core", "flit_core.buildapi")
    of_backend(tmp_path / "hatched", "hatchling", "hatchling.build")
    in_tree(tmp_path / "own")
    words: list[str | Path] = ["plain", packed, zipped, "flitted", "hatched", "own"]
    done = run("build", *words, "-o", "out", "-n", "-j", "2", tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(done.stdout)
    results = {name: found[name][3:] for name in list(found)[1:-1]}
    assert results == {
        "of_plain-1.0": ["2", "0", "built"],
        "packed-1.0": ["2", "0", "built"],
        "legacy-1": ["0", "0", "built"],
        "flitted-1.0": ["-", "-", "built by flit_core.buildapi"],
        "hatched-1.0": ["-", "-", "built by hatchling.build"],
        "own-1.0": ["-", "-", "built by own"],
    }
    assert re.fullmatch(r"6 projects in \d+\.\d s on 2 jobs: 6 built", done.stdout.splitlines()[-1])
    out = tmp_path / "out"
    assert {found[name][1] for name in results} == {each.name for each in out.glob("*.whl")}
    assert {each.stem for each in out.glob("*.log")} == results.keys()
    assert leftovers(tmp_path, out) == []
    assert all("Traceback" not in log.read_text() for log in out.glob("*.log"))
    times = json.loads((tmp_path / "cache/parallel-backend/builds.json").read_text())
    assert {name.removeprefix("wheel ") for name in times} == results.keys()


@pytest.mark.smoke
def test_the_wheel_has_the_bytes_that_setuptools_gives(tmp_path: Path) -> None:
    folder = with_extension(tmp_path / "plain", name="plain")
    serial = build_wheel(folder, out=tmp_path / "serial", backend=PLAIN_BACKEND, env=QUICK_COMPILE)
    for each in (folder / "build", *folder.glob("*.egg-info")):
        each.rename(tmp_path / each.name)
    assert run("build", "plain", "-o", "out", "-n", tmp_path=tmp_path).returncode == 0
    [ours] = (tmp_path / "out").glob("*.whl")
    assert wheel_bytes_equal(ours, serial)


def test_a_broken_project_is_named_with_its_logs_end_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    with_extension(tmp_path / "good", name="good")
    with_extension(tmp_path / "bad", name="bad", broken=True)
    in_tree(tmp_path / "raises", "raise ValueError('out of order')")
    in_tree(tmp_path / "lies", "return '../x.whl'")
    in_tree(tmp_path / "dies", "os._exit(3)")
    in_tree(tmp_path / "killed", "os.kill(os.getpid(), 9)")
    missing = 'requires = []\nbuild-backend = "no_such_backend"'
    make_project(tmp_path / "missing", name="missing", build_system=missing)
    words = ["bad", "raises", "lies", "dies", "killed", "missing", "good"]
    done = run("build", *words, "-k", "-n", "-o", "out", "-j", "2", tmp_path=tmp_path)
    assert done.returncode == 1
    found = rows(done.stdout)
    assert found["of_good-1.0"][-1] == "built"
    assert found["of_bad-1.0"][-1].startswith("failed: ")
    assert found["raises-1.0"][-1] == "failed: ValueError: out of order"
    assert found["lies-1.0"][-1] == "failed: own says that it made '../x.whl', but did not"
    assert found["dies-1.0"][-1] == "failed: its process ended with exit status 3"
    assert found["killed-1.0"][-1] == "failed: its process was killed by SIGKILL"
    assert "no_such_backend" in found["missing-1.0"][-1]
    out = tmp_path / "out"
    assert "ModuleNotFoundError: " in (out / "missing-1.0.log").read_text()
    assert "#error this is the broken line" in (out / "of_bad-1.0.log").read_text()
    assert "    ValueError: out of order\n" in done.stderr
    assert f"the whole log: {out / 'of_bad-1.0.log'}\n" in done.stderr
    assert "this is the broken line" in done.stderr
    assert leftovers(tmp_path, out) == []


def test_without_keep_going_no_other_project_begins(tmp_path: Path) -> None:
    in_tree(tmp_path / "first", "raise ValueError('no')")
    in_tree(tmp_path / "second")
    done = run("build", "first", "second", "-n", "-o", "out", "-j", "1", tmp_path=tmp_path)
    assert done.returncode == 1
    assert rows(done.stdout)["second-1.0"] == ["second-1.0", "-", "-", "-", "-", "not begun"]


def test_json_tells_all_that_is_known(tmp_path: Path) -> None:
    with_extension(tmp_path / "plain", name="plain")
    in_tree(tmp_path / "bad", "raise ValueError('no')")
    words = ["plain", "bad", "-k", "-n", "-o", "out", "-j", "3", "--json"]
    done = run("build", *words, tmp_path=tmp_path)
    whole = json.loads(done.stdout)
    assert whole["jobs"] == 3
    good, bad = whole["projects"]
    assert good.pop("seconds") > 0
    assert bad.pop("seconds") > 0
    out = tmp_path / "out"
    assert good == {
        "project": "of_plain-1.0",
        "source": "plain",
        "status": "built",
        "file": str(*out.glob("*.whl")),
        "backend": "parallel_backend:legacy",
        "note": None,
        "compiled": 2,
        "reused": 0,
        "log": str(out / "of_plain-1.0.log"),
    }
    assert (bad["status"], bad["file"], bad["backend"]) == ("failed", None, "own")
    assert bad["note"] == "ValueError: no"


def test_a_folder_is_built_again_from_what_it_has(tmp_path: Path) -> None:
    with_extension(tmp_path / "plain", name="plain")
    words = ["build", "plain", "-n", "-o", "out"]
    assert run(*words, tmp_path=tmp_path).returncode == 0
    assert rows(run(*words, tmp_path=tmp_path).stdout)["of_plain-1.0"][3:5] == ["0", "2"]


@pytest.mark.parametrize(
    ("option", "name"),
    [("--sdist", "of_plain-1.0.tar.gz"), ("--editable-wheel", "of_plain-1.0-0.")],
)
def test_other_kinds_are_built(tmp_path: Path, option: str, name: str) -> None:
    with_extension(tmp_path / "plain", name="plain")
    done = run("build", "plain", option, "-n", "-o", "out", tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    [made] = [each for each in (tmp_path / "out").iterdir() if each.suffix != ".log"]
    assert made.name.startswith(name)


def test_config_settings_reach_the_backend(tmp_path: Path) -> None:
    in_tree(tmp_path / "own", "print(sorted(config_settings.items()))")
    words = ["-C", "a=1", "-C", "b", "-C", "a=2", "--config-setting", "a=3=4"]
    assert run("build", "own", "-n", *words, tmp_path=tmp_path).returncode == 0
    told = (tmp_path / "dist/own-1.0.log").read_text()
    assert told == "[('a', ['1', '2', '3=4']), ('b', '')]\n"


def test_what_a_build_starts_finds_the_pool(tmp_path: Path) -> None:
    names = "MAKEFLAGS CARGO_MAKEFLAGS CMAKE_BUILD_PARALLEL_LEVEL MAX_JOBS PYTHONPATH".split()
    in_tree(tmp_path / "own", f"[print(name, os.environ.get(name)) for name in {names}]")
    assert run("build", "own", "-n", "-j", "5", tmp_path=tmp_path).returncode == 0
    lines = (tmp_path / "dist/own-1.0.log").read_text().splitlines()
    told = dict(line.split(" ", 1) for line in lines)
    assert re.search(r"-j5 --jobserver-auth=fifo:\S+", told["CARGO_MAKEFLAGS"])
    assert "--jobserver-auth=fifo:" in told["MAKEFLAGS"]
    assert told["PYTHONPATH"].startswith(str(tmp_path / "temporary"))


def test_another_interpreter_builds(tmp_path: Path) -> None:
    in_tree(tmp_path / "own", "import sys; print(sys.executable)")
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", other], check=True)
    python = str(other / "bin/python")
    assert run("build", "own", "-n", "--python", python, tmp_path=tmp_path).returncode == 0
    assert (tmp_path / "dist/own-1.0.log").read_text() == f"{python}\n"


def test_verbose_shows_every_log_and_quiet_nothing_that_went_well(tmp_path: Path) -> None:
    in_tree(tmp_path / "own", "print('a word of the backend')")
    done = run("build", "own", "-n", "-v", tmp_path=tmp_path)
    assert done.stderr.splitlines()[:3] == [
        "own-1.0: begins",
        "--- own-1.0",
        "a word of the backend",
    ]
    assert re.fullmatch(r"\[1/1\] own-1.0: built by own \(.* s\)", done.stderr.splitlines()[3])
    done = run("build", "own", "-n", "-q", tmp_path=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_two_projects_that_make_one_file_do_not_overwrite_it(tmp_path: Path) -> None:
    in_tree(tmp_path / "a" / "own")
    in_tree(tmp_path / "b" / "own")
    done = run("build", "a/own", "b/own", "-n", "-j", "1", tmp_path=tmp_path)
    assert done.returncode == 1
    found = rows(done.stdout)
    assert found["own-1.0"][-1] == "built by own"
    assert found["own-1.0-2"][-1] == "failed: own-1.0 made own-1.0-py3-none-any.whl already"


def test_an_archive_that_is_no_sdist_fails_alone(tmp_path: Path) -> None:
    in_tree(tmp_path / "own")
    with zipfile.ZipFile(tmp_path / "evil-1.0.zip", "w") as archive:
        archive.writestr("evil", "x")
    done = run("build", "evil-1.0.zip", "own", "-k", "-n", tmp_path=tmp_path)
    assert done.returncode == 1
    found = rows(done.stdout)
    assert "is no sdist" in found["evil-1.0"][-1]
    assert found["own-1.0"][-1] == "built by own"
    assert not [*tmp_path.rglob("evil")]
