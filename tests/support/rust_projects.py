"""What the tests of Rust extensions share: environments, projects, and a setuptools-rust of ours.

It does what setuptools-rust 1.13 does as far as it matters here, so that none has to be installed.
"""

from __future__ import annotations

import os
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest
import setuptools

from harness import SOURCE, HookRun, run_hook
from projects import make_project

__all__ = ["build_with", "make_environment", "make_rust_project", "no_choices", "write_program"]

_BUILD_RUST = """
import os, subprocess, sys
from setuptools import Command

class build_rust(Command):
    user_options = []
    def initialize_options(self): pass
    def finalize_options(self): pass
    def run(self):
        executable = sys.executable
        if os.getenv("SETUPTOOLS_RUST_PEP517_USE_BASE_PYTHON"):
            executable = os.path.realpath(sys._base_executable)
        env = {"PYTHON_SYS_EXECUTABLE": executable, "PYO3_PYTHON": executable, **os.environ}
        cargo = os.environ.get("CARGO", "cargo")
        subprocess.run([cargo, "build", "--lib", "--offline", "-v"], env=env, check=True)
"""

_SETUP = """
from setuptools import Distribution, setup
from setuptools.command.build_ext import build_ext
from setuptools_rust.build import build_rust

class WithRust(Distribution):
    def has_ext_modules(self):
        return True

class build_ext_with_rust(build_ext):
    def run(self):
        super().run()
        self.run_command("build_rust")

commands = {"build_ext": build_ext_with_rust, "build_rust": build_rust}
setup(distclass=WithRust, cmdclass=commands)
"""


@pytest.fixture
def no_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell says of Rust must not reach a build."""
    for name in os.environ:
        if name.startswith(("PYO3_", "PYTHON_SYS_EXECUTABLE", "CARGO_BUILD", "CARGO_TARGET")):
            monkeypatch.delenv(name)
    monkeypatch.delenv("CARGO", raising=False)
    monkeypatch.delenv("RUSTC_WRAPPER", raising=False)


def make_environment(folder: Path, *, installed: Mapping[str, str] | None = None) -> Path:
    """Make a virtual environment with what this one has; returns its interpreter.

    `installed` maps distributions to the hash of their one file.
    """
    venv.EnvBuilder(symlinks=True).create(folder)
    [site] = folder.glob("lib/python*/site-packages")
    here = str(Path(setuptools.__file__).parent.parent)
    # A line that imports runs; so do the .pth files there: setuptools' own, and coverage's.
    (site / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    (site / "only_here.py").write_text("")
    for name, digest in (installed or {}).items():
        (site / f"{name}-1.0.dist-info").mkdir()
        lines = [
            f"../../../bin/{name},sha256={folder.name},9",
            f"{name}-1.0.dist-info/direct_url.json,sha256={folder.name},9",
            f"{name}.py,sha256={digest},9",
        ]
        (site / f"{name}-1.0.dist-info" / "RECORD").write_text("\n".join(lines))
    return folder / "bin" / "python"


def make_rust_project(folder: Path, *, files: Mapping[str, str] | None = None) -> Path:
    """Write a project that runs ``cargo build`` in its folder; returns the folder.

    The module `setuptools_rust` is in the folder's ``tools``.
    """
    modules = {
        "tools/setuptools_rust/__init__.py": "",
        "tools/setuptools_rust/build.py": _BUILD_RUST,
    }
    return make_project(folder, setup=_SETUP, files={**modules, **(files or {})})


def build_with(
    python: Path | str,
    folder: Path,
    *,
    hook: str = "build_wheel",
    env: Mapping[str, str] | None = None,
    config_settings: Mapping[str, str] | None = None,
) -> HookRun:
    """Call a hook of the project in an interpreter; it must succeed."""
    done = run_hook(
        folder,
        hook,
        folder.parent,
        python=str(python),
        env=env,
        config_settings=config_settings,
        path=(SOURCE, folder / "tools"),
    )
    assert done.returncode == 0, done.output
    return done


def write_program(path: Path, code: str) -> Path:
    """Write a Python program that can be started; returns `path`."""
    path.write_text(f"#!{sys.executable}\n{code}")
    path.chmod(0o755)
    return path
