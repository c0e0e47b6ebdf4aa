"""tox: one process of its packaging environment runs all hooks."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import PLAIN_BACKEND, QUICK_COMPILE, REPOSITORY, run_hook
from installed_wheel import installed_wheel
from made_files import contents
from projects import carry_backend
from twins import Twin, read_log

sys.path.insert(0, str(REPOSITORY))

from bench.environments import find_interpreter

pytest.importorskip("tox", reason="tox is not installed")

STATES = [Twin(name="north", number=number, source=10**number) for number in range(1, 5)]
FIRST, SECOND, THIRD, LAST = STATES

_PATIENCE = 300  # seconds; a tox that hangs fails its test, not the whole run
_IN_TREE = """\
requires = ["setuptools>=77"]
build-backend = "parallel_backend"
backend-path = ["backend"]
"""

# Its environments, one after another: each keeps what was installed in it, tells what its extension
# module says, and then lays the next state of the project, if there is one, over the present one.
_INI = """\
[pkgenv]
set_env =
    SOURCE_DATE_EPOCH = {epoch}

[testenv]
wheel_build_env = .pkg
commands = python -I {look} {{env_name}}

[testenv:one]
package = wheel

[testenv:two]
package = editable

[testenv:three]
package = sdist

[testenv:other]
package = wheel
wheel_build_env = .pkg-other
base_python = {other}

[testenv:.pkg-other]
base_python = {other}
"""
_LOOK = """\
import json, os, shutil, sys
from pathlib import Path
import _north

home = Path(__file__).parent
seen = home / "seen" / sys.argv[1]
seen.mkdir(parents=True)
shutil.copy(os.environ["TOX_PACKAGE"], seen)
(home / "values" / sys.argv[1]).write_text(json.dumps(_north.value()))
later = home / "later" / sys.argv[1]
if later.exists():  # no times are copied: the files are newer than what was built
    shutil.copytree(later, home / "north", copy_function=shutil.copyfile, dirs_exist_ok=True)
"""


@dataclass(frozen=True, kw_only=True)
class Home:
    """A folder with a project, and tox's environments for it; offline, with what `wheels` holds."""

    folder: Path

    @property
    def project(self) -> Path:
        return self.folder / "north"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def lay_out(self, twin: Twin) -> None:
        """The project in this state, and nothing left of any other."""
        twin.write_anew(self.project, log=self.log, build_system=_IN_TREE)
        shutil.copytree(self.folder / "backend", self.project / "backend")

    def run(self, edits: dict[str, Twin | None], *, other: str = "") -> None:
        """Run tox in environments, one after another; each then brings the project to a state."""
        for name in ("seen", "values", "later"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir()
        for name, twin in edits.items():
            if twin is not None:
                twin.write(self.folder / "later" / name, log=self.log, build_system=_IN_TREE)
        self.log.write_text("", encoding="utf-8")
        look = self.folder / "look.py"
        look.write_text(_LOOK, encoding="utf-8")
        epoch = os.environ["SOURCE_DATE_EPOCH"]
        ini = _INI.format(epoch=epoch, look=look, other=other)
        (self.project / "tox.ini").write_text(ini, encoding="utf-8")
        command = [sys.executable, "-m", "tox", "run", "-e", ",".join(edits)]
        with subprocess.Popen(
            [*command, "--workdir", str(self.folder / "work")],
            cwd=self.project,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
        ) as process:
            try:
                printed, _ = process.communicate(timeout=_PATIENCE)
            finally:  # a tox that hangs has started others
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, printed

    def _environment(self) -> dict[str, str]:
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("TOX")},
            **QUICK_COMPILE,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder / "wheels"),
            "VIRTUALENV_NO_PERIODIC_UPDATE": "1",
            "VIRTUALENV_OVERRIDE_APP_DATA": str(self.folder / "virtualenv"),
        }

    def value(self, name: str) -> object:
        """What the extension module said that was installed in an environment."""
        return json.loads((self.folder / "values" / name).read_text("utf-8"))

    def assert_as_fresh(self, name: str, hook: str, twin: Twin, *, pkg: str = ".pkg") -> None:
        """What was installed is what plain setuptools makes, in a new process and a new tree."""
        made = self.folder / "made"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        self.lay_out(twin)
        done = run_hook(
            self.project,
            hook,
            made,
            backend=PLAIN_BACKEND,
            python=str(self.folder / "work" / pkg / "bin" / "python"),
            env=QUICK_COMPILE,
            path=(),
        )
        assert done.returncode == 0, done.output
        assert contents(self.folder / "seen" / name) == contents(made)

    def assert_one_process(self, commands: list[str], *, pkg: str = ".pkg") -> None:
        """Hooks ran these commands of ``setup.py``, all in the process of which tox's log tells."""
        logs = (self.folder / "work" / pkg / "log").glob("*.log")
        texts = [text for text in (log.read_text("utf-8") for log in logs) if "_backend.py" in text]
        [process] = {int(number) for text in texts for number in _PID.findall(text)}
        # pip builds an sdist in a folder and a process of its own.
        runs = [run for run in read_log(self.log) if run.folder == str(self.project)]
        assert [run.command for run in runs] == commands
        assert {run.parent for run in runs} == {process}
        assert len({run.process for run in runs}) == len(runs)


_PID = re.compile(r"(?m)^metadata pid: ([0-9]+)$")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The environments are made once; tests bring the project to the states that they need."""
    folder = tmp_path_factory.mktemp("tox")
    (folder / "wheels").mkdir()
    installed_wheel("setuptools", folder / "wheels")
    carry_backend(folder)
    return Home(folder=folder)


def test_every_package_is_that_of_a_fresh_process_whatever_was_edited(home: Home) -> None:
    home.lay_out(FIRST)
    home.run({"one": SECOND, "two": THIRD, "three": LAST})
    assert home.value("one") == FIRST.value
    assert home.value("two") == SECOND.value
    assert home.value("three") == THIRD.value
    commands = [*["egg_info"] * 3, "bdist_wheel", "editable_wheel", "sdist"]
    home.assert_one_process(commands)
    tree = home.project.rename(home.folder / "tree")
    home.assert_as_fresh("one", "build_wheel", FIRST)
    home.assert_as_fresh("two", "build_editable", SECOND)
    home.assert_as_fresh("three", "build_sdist", THIRD)

    # Once more, in the same environments and the same tree, which was edited since.
    shutil.rmtree(home.project)
    tree.rename(home.project)
    home.run({"one": None, "two": None})
    assert [home.value(name) for name in ("one", "two")] == [LAST.value] * 2
    home.assert_as_fresh("one", "build_wheel", LAST)
    home.assert_as_fresh("two", "build_editable", LAST)


def test_another_interpreter_has_a_packaging_process_of_its_own(home: Home) -> None:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    others = (find_interpreter(each) for each in ("3.13", "3.12", "3.11") if each != own)
    other = next(filter(None, others), None)
    if other is None:
        pytest.skip("there is no other Python that the backend supports")
    home.lay_out(FIRST)
    home.run({"one": SECOND, "other": None}, other=str(other))
    assert home.value("one") == FIRST.value
    assert home.value("other") == SECOND.value
    home.assert_as_fresh("one", "build_wheel", FIRST)
    home.assert_as_fresh("other", "build_wheel", SECOND, pkg=".pkg-other")
