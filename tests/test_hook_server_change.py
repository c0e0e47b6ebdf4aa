"""A warm hook server notices what a fresh interpreter would have found otherwise."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hook_server_harness import Wire, made_up_environment, open_wire, until

# A backend that the server imports beforehand, because of its name; it says when it is imported.
PRELOADED = "setuptools.build_meta"
FAKE = """
import os
with open(os.environ["IMPORTS"], "a") as file:
    file.write(f"{os.getpid()}\\n")
from made_up import *
VALUE = 1
def tell():
    return VALUE
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def environment(tmp_path: Path, site: Path) -> dict[str, str]:
    return made_up_environment(
        site, STARTS=str(tmp_path / "starts"), IMPORTS=str(tmp_path / "imports")
    )


@pytest.fixture
def fake(environment: dict[str, str], site: Path) -> Path:
    """In place of setuptools, in the environment."""
    package = site / "setuptools"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "build_meta.py").write_text(FAKE)
    return package / "build_meta.py"


@pytest.fixture
def wire(environment: dict[str, str]) -> Iterator[Wire]:
    with open_wire(environment=environment) as wire:
        yield wire


def count(environment: Mapping[str, str], name: str) -> int:
    """How many STARTS or IMPORTS there were."""
    file = Path(environment[name])
    return len(file.read_text().splitlines()) if file.exists() else 0


def settle(wire: Wire, project: Path, **more: Any) -> None:
    """Call hooks until the server is warm: files that were made just now make it start again."""
    pids = [0, 1]
    while pids[-1] != pids[-2] or len(pids) < 5:
        path = Path(os.readlink(f"/proc/{wire.process.pid}/exe"))
        assert path.exists()
        wire.value("give_back", source=project, arguments={"value": 1}, **more)
        pids.append(started(wire))


def started(wire: Wire) -> int:
    """A number that changes when the server becomes another interpreter: its memory's layout."""
    text = Path(f"/proc/{wire.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(text[25])  # startstack


def test_a_backend_of_setuptools_is_imported_once(
    wire: Wire, project: Path, fake: Path, environment: dict[str, str]
) -> None:
    settle(wire, project, backend=PRELOADED)
    starts, imports = count(environment, "STARTS"), count(environment, "IMPORTS")
    for _ in range(5):
        assert wire.value("tell", source=project, backend=PRELOADED) == 1
    assert count(environment, "STARTS") == starts
    assert count(environment, "IMPORTS") == imports
    assert imports <= starts


def test_other_backends_are_imported_by_each_hook_itself(wire: Wire, project: Path) -> None:
    settle(wire, project)
    assert "made_up" in wire.value("look", source=project)["modules"]
    modules = wire.value("who", source=project, backend="made_up:nested")
    assert modules == "outer"
    script = project / "tell.py"
    script.write_text("import sys; sys.exit('made_up' in sys.modules)\n")
    wire.send({"id": "s", "script": str(script), "source": str(project), "backend": "made_up"})
    assert wire.receive()["status"] == 0


def test_a_script_finds_the_backend_that_it_was_said_to_import(
    wire: Wire, project: Path, fake: Path
) -> None:
    script = project / "tell.py"
    script.write_text("import sys; sys.exit('setuptools.build_meta' in sys.modules)\n")
    request = {"id": "s", "script": str(script), "source": str(project)}
    for more, status in [({}, 0), ({"backend": PRELOADED}, 1), ({}, 0)]:
        wire.send({**request, **more})
        assert wire.receive()["status"] == status


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with nothing installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


CODELESS = '[project]\nname = "sample"\nversion = "1.0"\ndependencies = ["hattrs"]\n'


@pytest.mark.parametrize(
    ("files", "backend", "expected"),
    [
        ({"pyproject.toml": CODELESS}, PRELOADED, True),
        ({"pyproject.toml": CODELESS}, "parallel_backend", True),
        ({"pyproject.toml": CODELESS}, f"{PRELOADED}:__legacy__", False),
        ({"pyproject.toml": CODELESS, "setup.py": "print(1)"}, PRELOADED, False),
        ({"pyproject.toml": CODELESS, "setup.py": ""}, PRELOADED, True),
        ({"pyproject.toml": CODELESS, "setup.cfg": "x = attr: x"}, PRELOADED, False),
        ({"pyproject.toml": CODELESS, "setup.cfg": "[metadata]\nname = x"}, PRELOADED, True),
        ({"pyproject.toml": f'{CODELESS}version = {{attr = "x"}}'}, PRELOADED, False),
        ({"pyproject.toml": f"{CODELESS}[cmdclass]"}, PRELOADED, False),
        ({"pyproject.toml": f'{CODELESS}"\\u0061ttr" = 1'}, PRELOADED, False),
        ({"pyproject.toml": f"{CODELESS}[tool.own]\nx = 'a\\.b'\n"}, PRELOADED, True),
        ({"pyproject.toml": "[build-system]\n[tool.setuptools_scm]\n"}, PRELOADED, False),
        ({"pyproject.toml": " [tool . setuptools]\n"}, PRELOADED, True),
        ({}, PRELOADED, False),
    ],
)
def test_commands_are_imported_where_no_code_can_run_before(
    bare: Path,
    project: Path,
    fake: Path,
    environment: dict[str, str],
    files: Mapping[str, str],
    backend: str,
    expected: bool,
) -> None:
    """And never the one that looks for Cython."""
    add_commands(fake)
    for name, text in files.items():
        (project / name).write_text(text)
    with open_wire(environment=environment, python=bare) as wire:
        for _ in range(2):
            found = preloaded(wire, project, backend)
            assert ("setuptools.command.sdist" in found) == expected
            assert "setuptools.command.build_ext" not in found
            assert "setuptools.build_meta" in found


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("own-1.0.dist-info", "[console_scripts]\nown = own:main\n", True),
        ("own-1.0.dist-info", "[distutils.commands]\nown = own:command\n", False),
        ("own.egg-info", "[setuptools.finalize_distribution_options]\nown = own:f\n", False),
        ("own.egg", "", False),
        ("setuptools-80.0.dist-info", "[distutils.commands]\nx = x:y\n", True),
    ],
)
def test_commands_are_not_imported_before_a_plugin_of_setuptools(
    bare: Path,
    project: Path,
    fake: Path,
    site: Path,
    environment: dict[str, str],
    name: str,
    text: str,
    expected: bool,
) -> None:
    add_commands(fake)
    (project / "pyproject.toml").write_text(CODELESS)
    with open_wire(environment=environment, python=bare) as wire:
        assert "setuptools.command.sdist" in preloaded(wire, project, PRELOADED)
        (site / name).mkdir()
        (site / name / "entry_points.txt").write_text(text)
        assert ("setuptools.command.sdist" in preloaded(wire, project, PRELOADED)) == expected


def test_commands_are_given_up_after_the_first_project_with_code(
    bare: Path, project: Path, fake: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Or a server for both kinds would start anew at every change."""
    add_commands(fake)
    (project / "pyproject.toml").write_text(CODELESS)
    other = tmp_path / "other"
    other.mkdir()
    with open_wire(environment=environment, python=bare) as wire:
        settle(wire, other, backend=PRELOADED)
        assert "setuptools.command.sdist" in preloaded(wire, project, PRELOADED)
        assert "setuptools.command.sdist" not in preloaded(wire, other, PRELOADED)
        before = started(wire)
        for folder in (project, other, project):
            assert "setuptools.command.sdist" not in preloaded(wire, folder, PRELOADED)
        assert started(wire) == before


def test_a_command_that_brings_build_ext_along_is_not_imported(
    bare: Path, project: Path, fake: Path, environment: dict[str, str]
) -> None:
    add_commands(fake)
    (project / "pyproject.toml").write_text(CODELESS)
    (fake.parent / "command" / "sdist.py").write_text("import setuptools.command.build_ext\n")
    with open_wire(environment=environment, python=bare) as wire:
        for _ in range(2):
            assert "setuptools.build_meta" not in preloaded(wire, project, PRELOADED)


def add_commands(fake: Path) -> None:
    """Give the fake setuptools some commands, and a fake parallel_backend."""
    folder = fake.parent / "command"
    folder.mkdir()
    for name in ("__init__", "sdist", "build_ext"):
        (folder / f"{name}.py").touch()
    (fake.parent.parent / "parallel_backend.py").write_text("import setuptools.build_meta\n")


def preloaded(wire: Wire, source: Path, backend: str) -> list[str]:
    """The modules that a script of this backend finds."""
    script, told = source / "tell.py", source / "told"
    script.write_text("import sys; print(*sys.modules)\n")
    told.unlink(missing_ok=True)
    request = {"id": "s", "script": str(script), "source": str(source), "backend": backend}
    wire.send({**request, "stdout": str(told)})
    assert wire.receive()["status"] == 0
    return told.read_text().split()


def test_never_more_is_imported_than_a_fresh_process_has(
    wire: Wire, project: Path, fake: Path
) -> None:
    """A backend in the tree, or another one, does not find setuptools there already."""
    assert wire.value("tell", source=project, backend=PRELOADED) == 1
    shutil.copytree(fake.parent, project / "setuptools")
    (project / "setuptools" / "build_meta.py").write_text("def tell(): return 'in the tree'\n")
    value = wire.value("tell", source=project, backend=PRELOADED, backend_path=["."])
    assert value == "in the tree"
    assert wire.value("tell", source=project, backend=PRELOADED) == 1
    assert "setuptools" not in wire.value("look", source=project)["modules"]


def test_what_is_installed_between_two_hooks_is_seen_by_the_second(
    wire: Wire, project: Path, site: Path, fake: Path, environment: dict[str, str]
) -> None:
    """get_requires, install, build."""
    look = "try:\n    import extra\nexcept ImportError:\n    extra = None\n"
    look += "def look_for_extra():\n    return getattr(extra, 'VALUE', None)\n"
    fake.write_text(FAKE + look)
    settle(wire, project, backend=PRELOADED)
    for value in (None, 1, None, 22):
        if value is None:
            (site / "extra.py").unlink(missing_ok=True)
        else:
            (site / "extra.py").write_text(f"VALUE = {value}\n")
        for _ in range(2):
            assert wire.value("look_for_extra", source=project, backend=PRELOADED) == value


def test_what_is_installed_between_two_hooks_is_seen_by_a_backend_of_any_name(
    wire: Wire, project: Path, site: Path
) -> None:
    settle(wire, project)
    arguments = {"name": "extra"}
    assert wire.value("try_import", source=project, arguments=arguments) is None
    (site / "extra.py").touch()
    found = wire.value("try_import", source=project, arguments=arguments)
    assert found == str(site / "extra.py")
    (site / "extra.py").unlink()
    assert wire.value("try_import", source=project, arguments=arguments) is None


def test_an_edited_backend_is_imported_anew(
    wire: Wire, project: Path, fake: Path, environment: dict[str, str]
) -> None:
    # Of another size: within one second Python itself takes what it compiled before.
    for value in (22, 333, 4444):
        fake.write_text(FAKE.replace("VALUE = 1", f"VALUE = {value}"))
        assert wire.value("tell", source=project, backend=PRELOADED) == value


def test_a_backend_that_was_replaced_by_one_of_the_same_age_is_imported_anew(
    wire: Wire, project: Path, fake: Path
) -> None:
    settle(wire, project, backend=PRELOADED)
    before = fake.stat()
    other = fake.with_suffix(".new")
    other.write_text(FAKE.replace("VALUE = 1", "VALUE = 9"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.rmtree(fake.parent / "__pycache__")  # Python itself would take the old one
    other.replace(fake)
    assert wire.value("tell", source=project, backend=PRELOADED) == 9


def test_a_backend_that_is_edited_while_it_is_imported_is_imported_again(
    wire: Wire, project: Path, fake: Path
) -> None:
    """What its file is afterwards says nothing of what is in memory."""
    later = FAKE.replace("VALUE = 1", "VALUE = 4444")
    fake.write_text(f"{FAKE}with open(__file__, 'w') as file:\n    file.write({later!r})\n")
    assert wire.value("tell", source=project, backend=PRELOADED) == 4444


def test_a_submodule_that_is_added_is_seen(wire: Wire, project: Path, fake: Path) -> None:
    text = "try:\n    from setuptools import added\nexcept ImportError:\n    added = None\n"
    fake.write_text(f"{FAKE}{text}def has(): return added is not None\n")
    settle(wire, project, backend=PRELOADED)
    assert wire.value("has", source=project, backend=PRELOADED) is False
    (fake.parent / "added.py").touch()
    assert wire.value("has", source=project, backend=PRELOADED) is True


def test_what_hooks_compile_is_no_change(
    wire: Wire, project: Path, site: Path, environment: dict[str, str]
) -> None:
    shutil.rmtree(site / "__pycache__", ignore_errors=True)
    settle(wire, project)
    starts = count(environment, "STARTS")
    (site / "__pycache__").rename(site.parent / "aside")
    for _ in range(3):
        assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
    assert (site / "__pycache__").exists()
    assert count(environment, "STARTS") == starts


def test_a_path_file_that_is_added_or_edited_counts(project: Path, tmp_path: Path) -> None:
    """As an editable install has it: the interpreter reads it at its start alone."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    environment = made_up_environment(tmp_path / "site")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "editable.py").touch()
    arguments = {"name": "editable"}
    with open_wire(environment=environment, python=folder / "bin" / "python") as wire:
        assert wire.value("try_import", source=project, arguments=arguments) is None
        for name in ("one", "two"):
            (packages / "editable.pth").write_text(f"{tmp_path / name}\n")
            found = wire.value("try_import", source=project, arguments=arguments)
            assert found == str(tmp_path / name / "editable.py")
        (packages / "editable.pth").unlink()
        assert wire.value("try_import", source=project, arguments=arguments) is None
        # What the base interpreter has installed belongs to it from now on.
        path = wire.value("look", source=project)["path"]
        text = (folder / "pyvenv.cfg").read_text()
        (folder / "pyvenv.cfg").write_text(
            text.replace("site-packages = false", "site-packages = true")
        )
        assert wire.value("look", source=project)["path"] != path


def test_a_folder_for_packages_that_appears_is_seen(
    project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    later = tmp_path / "later"
    path = os.pathsep.join([environment["PYTHONPATH"], str(later)])
    with open_wire(environment={**environment, "PYTHONPATH": path}) as wire:
        settle(wire, project)
        later.mkdir()
        (later / "extra.py").touch()
        found = wire.value("try_import", source=project, arguments={"name": "extra"})
        assert found == str(later / "extra.py")


def test_a_zip_archive_on_the_path_that_is_replaced_is_seen(
    project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    archive = tmp_path / "modules.zip"

    def pack(name: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").touch()
        made = shutil.make_archive(str(tmp_path / f"made-{name}"), "zip", tmp_path / name)
        Path(made).replace(archive)

    pack("one")
    path = os.pathsep.join([environment["PYTHONPATH"], str(archive)])
    with open_wire(environment={**environment, "PYTHONPATH": path}) as wire:
        assert wire.value("try_import", source=project, arguments={"name": "one"})
        pack("two")
        assert wire.value("try_import", source=project, arguments={"name": "one"}) is None
        assert wire.value("try_import", source=project, arguments={"name": "two"})


# --- the environment


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


def test_other_variables_do_not_cost_a_start(
    wire: Wire, project: Path, environment: dict[str, str], fake: Path
) -> None:
    settle(wire, project, backend=PRELOADED)
    starts = count(environment, "STARTS")
    for value in ("1", "2"):
        given = {
            **environment,
            "CFLAGS": value,
            "PATH": value,
            "MAKEFLAGS": "-j --jobserver-auth=3,4",
        }
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


def test_a_variable_that_the_backend_reads_when_it_is_imported_is_heeded(
    wire: Wire, project: Path, environment: dict[str, str], fake: Path
) -> None:
    fake.write_text(f"{FAKE}SWITCH = os.environ.get('SWITCH')\ndef switch(): return SWITCH\n")
    for value in ("on", "off", "on", None):
        given = environment if value is None else {**environment, "SWITCH": value}
        assert wire.value("switch", source=project, environment=given, backend=PRELOADED) == value


def test_a_backend_that_looks_through_all_variables_is_not_imported_beforehand(
    wire: Wire, project: Path, environment: dict[str, str], fake: Path
) -> None:
    fake.write_text(f"{FAKE}SEEN = dict(os.environ)\ndef seen(): return SEEN['SWITCH']\n")
    for value in ("on", "off"):
        given = {**environment, "SWITCH": value}
        assert wire.value("seen", source=project, environment=given, backend=PRELOADED) == value


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
    project: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    with open_wire(environment=environment, interpreter_options=("-S",)) as wire:
        settle(wire, project)
        before = started(wire)
        for _ in range(3):
            assert wire.ask("x", source=project, backend=PRELOADED)["outcome"] == "no-backend"
        assert started(wire) == before


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


# --- the other interpreter


def test_what_was_asked_for_is_carried_over(
    wire: Wire, project: Path, site: Path, environment: dict[str, str]
) -> None:
    """All that waits, and the beginning of a message; and nobody hears of it."""
    settle(wire, project)
    waits = project / "waits"
    wire.send({**wire.request("wait", source=project, arguments={"file": str(waits)}), "id": 0})
    until(waits.exists)
    given = {**environment, "PYTHONHASHSEED": "7"}
    for number in (1, 2, 3):
        request = wire.request("look", source=project, environment=given if number == 2 else None)
        if number != 2:
            del request["environment"]
        wire.send({**request, "id": number})
    (site / "extra.py").touch()
    wire.send(b'{"cancel": "no')
    wire.send({"cancel": 0})
    os.write(wire.write, b"")
    # The line so far is no JSON, and must not be lost either.
    assert wire.receive()["outcome"] == "refused"
    wire.send({"cancel": 0})
    answers = [wire.receive() for _ in range(4)]
    assert [answer["id"] for answer in answers] == [0, 1, 2, 3]
    pids = {answer["value"]["parent"] for answer in answers[1:]}
    assert pids == {wire.process.pid}
    seeds = [answer["value"]["environment"].get("PYTHONHASHSEED") for answer in answers[1:]]
    assert seeds == [None, "7", None]


def test_the_end_of_input_is_carried_over(
    wire: Wire, project: Path, site: Path, environment: dict[str, str]
) -> None:
    given = {**environment, "PYTHONHASHSEED": "7"}
    for more in ({"environment": given}, {}, {"environment": given}):
        wire.send(wire.request("give_back", source=project, arguments={"value": 1}, **more))
    wire.close_input()
    assert [wire.receive()["value"] for _ in range(3)] == [1, 1, 1]
    assert wire.line() == b""


def test_half_a_message_is_carried_over(
    wire: Wire, project: Path, environment: dict[str, str]
) -> None:
    given = {**environment, "PYTHONHASHSEED": "7"}
    first = wire.request("give_back", source=project, arguments={"value": 1}, environment=given)
    second = wire.request("give_back", source=project, arguments={"value": "é\ud800"})
    text = json.dumps(second, ensure_ascii=False).encode("utf-8", "surrogatepass")
    text = text.replace(b"\xed\xa0\x80", b"\\ud800") + b"\n"
    wire.send(json.dumps(first).encode() + b"\n" + text[:-8])
    assert wire.receive()["value"] == 1
    wire.send(text[-8:])
    assert wire.receive()["value"] == "é\ud800"


def test_options_of_the_interpreter_are_carried_over(
    project: Path, environment: dict[str, str]
) -> None:
    options = ("-O", "-X", "utf8", "-P")
    with open_wire(environment=environment, interpreter_options=options) as wire:
        given = {**environment, "PYTHONHASHSEED": "7"}
        for more in ({"environment": given}, {}):
            flags = wire.value("look", source=project, **more)["flags"]
            assert (flags["optimize"], flags["utf8_mode"]) == (1, 1)


def test_signals_are_heeded_after_it_as_before(
    wire: Wire, project: Path, environment: dict[str, str]
) -> None:
    given = {**environment, "PYTHONHASHSEED": "7"}
    assert wire.value("signals", source=project, environment=given) == wire.value(
        "signals", source=project
    )
    wire.process.send_signal(signal.SIGINT)
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
    wire.process.terminate()
    assert wire.line() == b""
    assert wire.process.wait() == -signal.SIGTERM


def test_an_interpreter_that_is_gone_refuses_hooks(
    project: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    with open_wire(environment=environment, python=folder / "bin" / "python") as wire:
        settle(wire, project)
        shutil.rmtree(folder)
        answer = wire.ask("give_back", source=project, arguments={"value": 1})
        assert answer["outcome"] == "refused"
        assert "No such file or directory" in answer["message"]


def test_a_source_that_is_gone_refuses_the_hook_alone(
    wire: Wire, project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Where the interpreter would have to start in it."""
    given = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}{os.pathsep}inside"}
    answer = wire.ask("look", source=tmp_path / "gone", environment=given)
    assert answer["outcome"] == "refused"
    assert wire.value("give_back", source=project, arguments={"value": 1}) == 1
