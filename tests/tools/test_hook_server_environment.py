"""Variables that a warm hook server heeds, and imports that it leaves to hooks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from hook_server_harness import FAKE, PRELOADED, Wire, count, open_wire, settle

pytest_plugins = ["hook_server_fixtures", "warm_server_fixtures"]


@pytest.fixture
def environment(warm_environment: dict[str, str]) -> dict[str, str]:
    return warm_environment


@pytest.fixture
def wire(warm: Wire) -> Wire:
    return warm


@pytest.mark.parametrize(
    ("name", "value", "flag", "seen"),
    [
        ("PYTHONOPTIMIZE", "2", "optimize", 2),
        ("PYTHONUTF8", "1", "utf8_mode", 1),
        ("PYTHONDEVMODE", "1", "dev_mode", True),
    ],
)
def test_variables_of_the_interpreter_are_heeded(
    wire: Wire,
    project: Path,
    environment: dict[str, str],
    name: str,
    value: str,
    flag: str,
    seen: object,
) -> None:
    given = {**environment, name: value}
    for _ in range(2):
        flags = wire.value("look", source=project, environment=given)["flags"]
        assert flags[flag] == seen
        # Those that name no environment keep the server's own.
        assert wire.value("look", source=project)["flags"][flag] != seen


def test_another_environment_costs_one_start(
    wire: Wire, project: Path, environment: dict[str, str], fake: Path
) -> None:
    settle(wire, project, backend=PRELOADED)
    starts = count(environment, "STARTS")
    for value in ("1", "2"):
        starts += 1
        given = {
            **environment,
            "CFLAGS": value,
            "PATH": value,
            "MAKEFLAGS": "-j --jobserver-auth=3,4",
        }
        for _ in range(3):
            seen = wire.value("look", source=project, environment=given, backend=PRELOADED)
            assert seen["environment"] == {**given, **own_variables(seen["environment"], given)}
            assert count(environment, "STARTS") == starts


def own_variables(seen: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """What the interpreter adds by itself (PEP 538)."""
    return {"LC_CTYPE": seen["LC_CTYPE"]} if "LC_CTYPE" in {*seen} - {*given} else {}


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C"}, {"LANG": "C"}, {"LANG": "POSIX"}])
def test_what_the_interpreter_makes_of_the_locale_does_not_cost_a_start(
    project: Path, environment: dict[str, str], locale: dict[str, str]
) -> None:
    """PEP 538: it sets LC_CTYPE itself, where the client does not have it."""
    plain = {
        name: value
        for name, value in environment.items()
        if name != "LANG" and not name.startswith("LC_")
    }
    given = {**plain, **locale}
    with open_wire(environment=given) as wire:
        settle(wire, project, environment=given)
        starts = count(environment, "STARTS")
        seen = [wire.value("look", source=project, environment=given) for _ in range(2)]
        seen.append(wire.value("look", source=project))
        assert count(environment, "STARTS") == starts
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    fresh = subprocess.run(
        [sys.executable, "-c", f"import json, made_up; {script}"],
        env=given,
        capture_output=True,
        check=True,
    )
    for each in seen:
        assert each["environment"] == json.loads(fresh.stdout)


def test_what_a_sitecustomize_sets_is_set_for_hooks(
    project: Path, site: Path, environment: dict[str, str]
) -> None:
    with (site / "sitecustomize.py").open("a") as file:
        file.write("os.environ['FROM_SITE'] = 'yes'\nos.environ.pop('GOES', None)\n")
    given = {**environment, "GOES": "x", "PYTHONHASHSEED": "3"}
    with open_wire(environment=environment) as wire:
        for more in ({}, {"environment": given}, {"environment": given}):
            seen = wire.value("look", source=project, **more)["environment"]
            assert seen["FROM_SITE"] == "yes"
            assert "GOES" not in seen


@pytest.mark.parametrize("read", ["os.environ.get('SWITCH')", "dict(os.environ).get('SWITCH')"])
def test_a_variable_that_the_backend_reads_when_it_is_imported_is_heeded(
    wire: Wire, project: Path, environment: dict[str, str], fake: Path, read: str
) -> None:
    fake.write_text(f"{FAKE}SWITCH = {read}\ndef switch(): return SWITCH\n")
    for value in ("on", "off", "on", None):
        given = environment if value is None else {**environment, "SWITCH": value}
        assert wire.value("switch", source=project, environment=given, backend=PRELOADED) == value


def test_a_path_that_is_not_absolute_is_taken_from_the_projects_folder(
    wire: Wire, project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    given = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}{os.pathsep}inside"}
    (tmp_path / "link").symlink_to("one")
    for name in ("one", "two", "link"):
        source = tmp_path / name
        (source / "inside").mkdir(parents=True, exist_ok=True)
        (source / "inside" / "extra.py").touch()
        arguments = {"name": "extra"}
        for _ in range(2):
            found = wire.value("try_import", source=source, environment=given, arguments=arguments)
            assert found == str(source.resolve() / "inside" / "extra.py")


def test_warnings_of_an_import_belong_to_the_hook(
    wire: Wire, project: Path, environment: dict[str, str], fake: Path, tmp_path: Path
) -> None:
    fake.write_text(f"{FAKE}import warnings\nwarnings.warn('old', DeprecationWarning)\n")
    given = {**environment, "PYTHONWARNINGS": "default"}
    for number in range(2):
        err = tmp_path / f"err-{number}"
        wire.value("tell", source=project, environment=given, backend=PRELOADED, stderr=str(err))
        assert "DeprecationWarning: old" in err.read_text()


# --- what cannot be imported beforehand


def test_an_import_that_fails_does_no_harm(
    wire: Wire, project: Path, fake: Path, environment: dict[str, str]
) -> None:
    fake.write_text(f"{FAKE}raise ZeroDivisionError\n")
    for _ in range(3):
        answer = wire.ask("tell", source=project, backend=PRELOADED)
        assert (answer["outcome"], answer["type"]) == ("raised", "ZeroDivisionError")
    modules = wire.value("look", source=project)["modules"]
    assert "setuptools" not in modules
    fake.write_text(FAKE)
    assert wire.value("tell", source=project, backend=PRELOADED) == 1


def test_an_import_that_finds_nothing_costs_no_start(
    project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    script, told = tmp_path / "tell.py", tmp_path / "told"
    script.write_text("import os; print(os.getppid())\n")
    request = {"script": str(script), "source": str(project), "backend": PRELOADED}
    with open_wire(environment=environment, interpreter_options=("-S",)) as wire:
        for number in range(5):
            assert wire.ask("x", source=project, backend=PRELOADED)["outcome"] == "no-backend"
            wire.send({**request, "id": f"script {number}", "stdout": str(told)})
            assert wire.receive()["status"] == 0
    # At first the script is new.
    assert len({*told.read_text().split()[1:]}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n",
        "raise SystemExit(5)\n",
        "raise KeyboardInterrupt\n",
    ],
)
def test_a_backend_with_a_life_of_its_own_is_left_to_the_hook(
    wire: Wire, project: Path, fake: Path, text: str, environment: dict[str, str]
) -> None:
    fake.write_text(FAKE + text)
    for _ in range(2):
        answer = wire.ask("tell", source=project, backend=PRELOADED)
        assert answer["outcome"] == ("raised" if "raise" in text else "returned")
    assert "setuptools" not in wire.value("look", source=project)["modules"]


def test_no_number_of_changes_keeps_a_hook_from_running(
    project: Path, site: Path, environment: dict[str, str]
) -> None:
    """Each start of the interpreter changes what it watches."""
    with (site / "sitecustomize.py").open("a") as file:
        file.write(
            "import tempfile\n"
            "if 'STARTS' in os.environ:\n"
            "    tempfile.mkstemp(dir=os.path.dirname(__file__))\n"
        )
    with open_wire(environment=environment) as wire:
        for value in range(3):
            arguments = {"value": value}
            assert wire.value("give_back", source=project, arguments=arguments) == value
    assert count(environment, "STARTS") <= 3 * 4 + 1
