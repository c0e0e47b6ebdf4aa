"""While jobs count the slots of other hosts, what runs here holds to this machine's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import build_wheel
from launcher_harness import Shim
from projects import TINY_C, make_project

EXTENSIONS = 6


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Extensions of one source each."""
    names = [f"ext{i}" for i in range(EXTENSIONS)]
    setup = f"""
from setuptools import Extension, setup
setup(ext_modules=[Extension(name, [name + ".c"]) for name in {names!r}])
"""
    files = {f"{name}.c": TINY_C.format(name=name) for name in names}
    return make_project(tmp_path / "sample", setup=setup, files=files)


def linker(folder: Path) -> tuple[dict[str, str], Path]:
    """A linker that notes when it runs beside another one, which it gives time to come."""
    notes, script = folder / "notes", folder / "linker"
    script.write_text(
        "#!/bin/sh\n"
        # What it is, it may be asked besides.
        'case "$*" in *" -o "*) ;; *) exec gcc -shared "$@";; esac\n'
        f'if mkdir {folder}/one; then sleep 0.1; gcc -shared "$@"; s=$?; rmdir {folder}/one\n'
        f'else echo overlap >> {notes}; gcc -shared "$@"; s=$?; fi\n'
        f"echo linked >> {notes}; exit $s\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return {"LDSHARED": str(script)}, notes


@pytest.mark.parametrize(
    "told", [{"local-jobs": "1", "launcher": "none"}, {"launcher": "distcc"}], ids=["set", "farm"]
)
def test_links_hold_to_the_local_jobs(project: Path, tmp_path: Path, told: dict[str, str]) -> None:
    shim = Shim(tmp_path / "bin", "distcc")
    env, notes = linker(tmp_path)
    env |= {
        "PATH": f"{shim.path.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHON_CPU_COUNT": "1",  # the machine's offer
    }
    build_wheel(project, jobs=EXTENSIONS, config_settings=told, env=env)
    assert notes.read_text("utf-8").split() == ["linked"] * EXTENSIONS
    assert len(shim.commands()) == (EXTENSIONS if told["launcher"] == "distcc" else 0)
