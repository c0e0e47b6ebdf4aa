"""What a launcher is put in front of, and what else of a command is changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harness import (
    BuildFailedError,
    build_wheel,
    clean_environment,
    copy_package,
    serial_wheel,
    wheel_bytes_equal,
)
from launcher_harness import SOURCES, Shim, environment, make_tree
from projects import TINY_C, make_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One source of C, one of C++, and a static library."""
    setup = """
from setuptools import Extension, setup
setup(
    libraries=[("helper", {"sources": ["helper.c"]})],
    ext_modules=[Extension("one", ["one.c", "two.cpp"], libraries=["helper"])],
)
"""
    files = {
        "helper.c": "int helper(void) { return 1; }\n",
        "one.c": TINY_C.format(name="one"),
        "two.cpp": "int two() { return 2; }\n",
    }
    return make_project(tmp_path / "sample", setup=setup, files=files)


def path_with(*folders: Path) -> dict[str, str]:
    return {"PATH": os.pathsep.join([*map(str, folders), clean_environment(os.environ)["PATH"]])}


@pytest.mark.parametrize("name", ["mine", "distcc", "icecc"])
def test_a_launcher_stands_before_compilers_alone_and_changes_nothing_else(
    project: Path, tmp_path: Path, name: str
) -> None:
    shim = Shim(tmp_path / "bin", name)
    wheel = build_wheel(
        project, config_settings={"launcher": name}, env=path_with(shim.path.parent)
    )
    commands = shim.commands()
    assert len(commands) == 3
    assert all(" -c " in command for command in commands)
    assert wheel_bytes_equal(serial_wheel(project), wheel)


def test_the_words_of_a_command_of_ones_own_are_kept(project: Path, tmp_path: Path) -> None:
    shim = Shim(tmp_path / "bin", "mine", text='[ "$1 $2" = "--fast a b" ] && shift 2')
    build_wheel(project, env={"PARALLEL_BACKEND_LAUNCHER": f"{shim.path} --fast 'a b'"})
    assert len(shim.commands()) == 3


def test_an_unknown_launcher_stops_the_build_before_anything_is_compiled(project: Path) -> None:
    with pytest.raises(BuildFailedError) as caught:
        build_wheel(project, config_settings={"launcher": "no-such-launcher --fast"})
    message = "parallel-backend: error: launcher 'no-such-launcher --fast': there is no program "
    assert f"{message}'no-such-launcher' on PATH\n" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert not list(project.rglob("*.o"))


@pytest.mark.slow
def test_auto_takes_ccache_then_sccache_then_nothing(project: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("gcc", "g++", "cc", "c++", "ar", "as", "ld", "sh"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    sccache = Shim(tmp_path / "second", "sccache")
    ccache = Shim(tmp_path / "first", "ccache")
    for shims in ([sccache, ccache], [sccache], []):
        folders = [tools, *(shim.path.parent for shim in shims)]
        env = {"PATH": os.pathsep.join(map(str, folders))}
        build_wheel(project, config_settings={"launcher": "auto"}, env=env)
        shutil.rmtree(project / "build")
        used = [shim.path.name for shim in (ccache, sccache) if shim.commands()]
        assert used == [shim.path.name for shim in shims[-1:]]


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["{} gcc", "ccache hash_dir=true gcc", "{}/../links/gcc"])
def test_a_launcher_that_the_compiler_has_already_is_not_doubled(
    project: Path, tmp_path: Path, compiler: str
) -> None:
    # Called as a compiler, ccache runs the real one; it takes settings as words before it.
    shim = Shim(
        tmp_path / "bin",
        "ccache",
        text='case $0 in *links/gcc) set gcc "$@";; esac; [ "$1" = hash_dir=true ] && shift',
    )
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "gcc").symlink_to(shim.path)
    where = shim.path if " " in compiler else shim.path.parent
    env = {**path_with(shim.path.parent), "CC": compiler.format(where), "CXX": "ccache g++"}
    build_wheel(project, config_settings={"launcher": "ccache"}, env=env)
    commands = [command for command in shim.commands() if " -c " in command]
    assert len(commands) == 3
    assert not any("ccache" in command for command in commands)
    assert all("-ffile-prefix-map" in command for command in commands)


def test_nothing_is_rewritten_where_none_is_asked_for(project: Path, tmp_path: Path) -> None:
    shim = Shim(tmp_path / "bin", "ccache")
    env = {"CC": f"{shim.path} gcc"}
    wheel = build_wheel(project, config_settings={"launcher": "none"}, env=env)
    assert not any("-ffile-prefix-map" in command for command in shim.commands())
    assert not list(project.glob("build/parallel-backend/env.*"))
    assert wheel_bytes_equal(serial_wheel(project, env=env), wheel)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "config", "told"),
    [
        ({}, "(default)", "nohashdir=1 "),
        ({"CCACHE_HASHDIR": "1"}, "(default)", "nohashdir= "),
        ({}, "(/etc/ccache.conf)", "nohashdir= "),
    ],
    ids=["default", "environment", "configuration"],
)
def test_what_the_user_has_told_ccache_of_folders_is_kept(
    project: Path, tmp_path: Path, own: dict[str, str], config: str, told: str
) -> None:
    shim = Shim(tmp_path / "bin", "ccache", config=f"{config} hash_dir = true")
    build_wheel(project, config_settings={"launcher": str(shim.path)}, env=own)
    assert all(command.startswith(told) for command in shim.commands())


@pytest.mark.slow
@pytest.mark.parametrize("text", ["ccache distcc", "ccache;distcc"])
def test_ccache_is_told_to_run_the_compiler_by_what_follows_it(
    project: Path, tmp_path: Path, text: str
) -> None:
    ccache, distcc = (Shim(tmp_path / "bin", name) for name in ("ccache", "distcc"))
    env = path_with(tmp_path / "bin")
    build_wheel(project, config_settings={"launcher": text}, env=env)
    commands = ccache.commands()
    assert len(commands) == 3
    assert all(f" prefix={distcc.path} gcc " in c or " g++ " in c for c in commands)
    shutil.rmtree(project / "build")
    own = {**env, "CCACHE_PREFIX": "own"}
    build_wheel(project, config_settings={"launcher": text}, env=own)
    assert all(" prefix=own " in command for command in ccache.commands())


@pytest.mark.slow
def test_a_projects_own_way_to_compile_is_launched_too(tmp_path: Path) -> None:
    folder = copy_package("replaces_compile", tmp_path)
    shim = Shim(tmp_path / "bin", "mine")
    wheel = build_wheel(folder, config_settings={"launcher": str(shim.path)})
    assert len(shim.commands()) >= 6
    assert wheel_bytes_equal(serial_wheel(folder), wheel)


@pytest.mark.slow
def test_a_projects_own_way_to_run_commands_gets_the_launcher_too(tmp_path: Path) -> None:
    setup = """
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

class BuildExt(build_ext):
    def build_extension(self, ext):
        for name in ("call", "spawn"):
            original = getattr(self.compiler, name, None)
            if original:
                setattr(self.compiler, name, lambda command, original=original: original(command))
        super().build_extension(ext)

setup(cmdclass={"build_ext": BuildExt}, ext_modules=[Extension("one", ["one.c", "two.c"])])
"""
    files = {"one.c": TINY_C.format(name="one"), "two.c": "int two(void) { return 2; }\n"}
    folder = make_project(tmp_path / "sample", setup=setup, files=files)
    shim = Shim(tmp_path / "bin", "ccache")
    wheel = build_wheel(folder, config_settings={"launcher": str(shim.path)})
    commands = shim.commands()
    assert len(commands) == 2
    assert wheel_bytes_equal(serial_wheel(folder), wheel)


def test_a_build_folder_that_the_project_deletes_is_done_without(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "sample", environment(tmp_path / "environment"))
    setup = tree.folder / "setup.py"
    text = setup.read_text("utf-8").replace(
        "setup(",
        """
import shutil
from setuptools.command.build_ext import build_ext

class BuildExt(build_ext):
    def run(self):
        shutil.rmtree("build/parallel-backend")
        super().run()

setup(cmdclass={"build_ext": BuildExt}, """,
    )
    setup.write_text(text, encoding="utf-8")
    shim = Shim(tmp_path / "bin", "ccache")
    tree.wheel(launcher=str(shim.path))
    commands = shim.commands()
    assert len(commands) == SOURCES
    assert not any("parallel-backend/env" in command for command in commands)


@pytest.mark.slow
def test_options_that_tell_paths_leave_a_command_as_it_is(project: Path, tmp_path: Path) -> None:
    shim = Shim(tmp_path / "bin", "ccache")
    env = {"CFLAGS": "-O0 --coverage", "CXXFLAGS": "-O0 --coverage"}
    wheel = build_wheel(project, config_settings={"launcher": str(shim.path)}, env=env)
    assert not any("-ffile-prefix-map" in command for command in shim.commands())
    assert wheel_bytes_equal(serial_wheel(project, env=env), wheel)


def test_a_compiler_that_cannot_map_paths_gets_the_launcher_alone(
    project: Path, tmp_path: Path
) -> None:
    shim = Shim(tmp_path / "bin", "ccache")
    old = Shim(tmp_path / "old", "gcc", text='case "$*" in *-ffile-*) exit 1;; esac; set gcc "$@"')
    env = {"CC": str(old.path), "CXX": str(old.path)}
    build_wheel(project, config_settings={"launcher": str(shim.path)}, env=env)
    commands = shim.commands()
    assert len(commands) == 3
    assert not any("-ffile-prefix-map" in command for command in commands)


@pytest.mark.slow
def test_sccache_sees_another_program_when_the_compiler_is_another(
    project: Path, tmp_path: Path
) -> None:
    shim = Shim(tmp_path / "bin", "sccache")
    compiler = tmp_path / "gcc"
    seen = []
    for version in ("one", "one", "two"):
        compiler.write_text(f'#!/bin/sh\n# {version}\nexec gcc "$@"\n', encoding="utf-8")
        compiler.chmod(0o755)
        build_wheel(
            project,
            config_settings={"launcher": str(shim.path)},
            env={"CC": str(compiler), "CXX": str(compiler)},
        )
        shutil.rmtree(project / "build")
        seen.append({command.split()[2] for command in shim.commands()})
        assert len(seen[-1]) == 1
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]
