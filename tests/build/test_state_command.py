"""Snapshots of a command see what an extension's build has left behind."""

from __future__ import annotations

import copy
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

from parallel_backend.engine.state import changed, snapshot


class FakeCompiler:
    __module__ = "distutils.made_up"  # as the compilers of distutils, which are known

    def __init__(self) -> None:
        self.compiler_so = ["cc"]

    def compile(self) -> str:
        return "compiled"


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than here, whose modules would be the project's."""
    monkeypatch.chdir(tmp_path)


def command_of(kind: type[build_ext] = build_ext) -> Any:
    extensions = [Extension(name, [f"{name}.c"]) for name in "abc"]
    command: Any = kind(Distribution({"name": "x", "ext_modules": extensions}))
    command.extensions = extensions
    command.compiler = FakeCompiler()
    return command


def left_by(
    change: Callable[[Any], object], kind: type[build_ext] = build_ext, *, compiler: Any = None
) -> list[str]:
    """The names of what a change leaves, seen as after building the first extension."""
    command = command_of(kind)
    command.compiler = compiler or command.compiler
    before = snapshot(command)
    assert changed(before, snapshot(command, command.extensions[0])) == []
    change(command)
    return changed(before, snapshot(command, command.extensions[0]))


def test_a_change_of_the_command_its_compiler_or_its_distribution_is_named() -> None:
    def change(command: Any) -> None:
        command.include_dirs = ["new"]
        command.compiler.compiler_so.append("-O3")
        command.distribution.verbose = 7

    names = ["command.include_dirs", "compiler.compiler_so", "distribution.verbose"]
    assert left_by(change) == names


def test_the_environment_and_the_current_folder_are_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def change(_: Any) -> None:
        monkeypatch.setenv("LEFT_BEHIND", "1")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")

    [variable, folder] = left_by(change)
    assert "LEFT_BEHIND" in variable
    assert folder == "os.getcwd()"


def test_the_note_of_what_was_linked_last_does_not_count() -> None:
    assert left_by(lambda command: setattr(command, "_built_objects", ["a.o"])) == []


def test_a_method_replaced_on_the_compiler_is_seen() -> None:
    def change(command: Any) -> None:
        command.compiler.compile = lambda: "otherwise"

    assert left_by(change) == ["compiler.compile"]


def test_a_method_that_was_put_back_on_the_compiler_does_not_count() -> None:
    def change(command: Any) -> None:
        original = command.compiler.compile
        command.compiler.compile = lambda: "otherwise"
        command.compiler.compile = original

    assert left_by(change) == []


class Own(build_ext):
    """As a project's own, in a module of its own."""

    built = 0
    log: ClassVar[list[str]] = []

    def build_extension(self, ext: Extension) -> None:
        raise NotImplementedError


def test_the_other_extensions_are_seen_and_the_built_one_is_not() -> None:
    def change(command: Any) -> None:
        command.extensions[0].libraries.append("own")
        command.extensions[2].libraries.append("another's")

    assert left_by(change, Own) == ["extension 'c'.libraries"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda _: setattr(Own, "built", 1), "Own.built"),
        (lambda _: Own.log.append("a"), "Own.log"),
        (lambda _: setattr(Own, "later", 1), "Own.later"),
        (lambda _: globals().update(_LEFT=1), "Own's module._LEFT"),
        (lambda _: setattr(Own, "run", lambda self: None), "Own.run"),
    ],
    ids=["attribute", "list", "new attribute", "global", "method"],
)
def test_a_change_of_the_project_s_class_or_module_is_seen(
    change: Callable[[Any], object], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Own, "built", 0)
    monkeypatch.setattr(Own, "log", [])
    try:
        assert name in left_by(change, Own)
    finally:
        globals().pop("_LEFT", None)
        for leftover in {"later", "run"} & vars(Own).keys():
            delattr(Own, leftover)


def test_a_patched_method_of_the_compiler_s_class_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(_: Any) -> None:
        monkeypatch.setattr(FakeCompiler, "compile", lambda self: "otherwise")

    assert left_by(change, Own) == ["FakeCompiler.compile"]


def test_a_method_of_the_compiler_s_class_that_was_put_back_does_not_count() -> None:
    def change(_: Any) -> None:
        original = FakeCompiler.compile
        FakeCompiler.compile = lambda self: "otherwise"  # type: ignore[method-assign]
        FakeCompiler.compile = original  # type: ignore[method-assign]

    assert left_by(change, Own) == []


def test_the_project_s_other_modules_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    helper = ModuleType("helper_of_the_project")
    helper.__file__ = os.path.join(os.getcwd(), "helper.py")
    helper.state = Counter()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, helper.__name__, helper)
    names = left_by(lambda _: helper.state.update("a"), Own)
    assert names == ["helper_of_the_project.state"]


def test_nothing_but_the_compiler_can_be_looked_at_without_a_command() -> None:
    compiler = FakeCompiler()
    before = snapshot(None, compiler=compiler)
    compiler.compiler_so = ["other"]
    assert changed(before, snapshot(None, compiler=compiler)) == ["compiler.compiler_so"]


def test_a_copy_of_the_compiler_leaves_nothing_in_its_class() -> None:
    """`copy` notes the names of slots in a class, the first time."""
    compiler = type("Compiler", (FakeCompiler,), {})()
    assert left_by(lambda command: copy.copy(command.compiler), Own, compiler=compiler) == []


def test_this_backend_in_a_project_s_tree_is_no_code_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    class Own(build_ext):
        pass

    command = Own(Distribution({"ext_modules": []}))
    command.extensions = []
    for name in ("parallel_backend.engine.made_up", "own_module"):
        module = ModuleType(name)
        module.__file__ = str(tmp_path / "carried.py")
        monkeypatch.setitem(sys.modules, name, module)
    before = snapshot(command)
    for name in ("parallel_backend.engine.made_up", "own_module"):
        vars(sys.modules[name])["noted"] = 1
    assert changed(before, snapshot(command)) == ["own_module.noted"]
