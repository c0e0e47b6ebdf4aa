"""Promise P3: extensions share a worker only where no code of the project's own runs in it."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

from parallel_backend.engine.origins import runs_own_code


class Plain(build_ext):
    """What runs before and after all extensions is no matter, nor is what names nothing."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.own = None

    def finalize_options(self) -> None:
        super().finalize_options()

    def build_extensions(self) -> None:
        super().build_extensions()

    def run(self) -> None:
        super().run()

    def get_libraries(self, ext: Any) -> list[str]:
        return []


class OwnMethod(build_ext):
    def build_extension(self, ext: Any) -> None:
        super().build_extension(ext)


class OwnDefault(build_ext):
    def get_libraries(self, ext: Any, seen: list[str] = []) -> list[str]:  # noqa: B006
        return seen[:0]


class OwnProperty(build_ext):
    @property
    def extra_objects(self) -> int:
        return len(self.extensions)


class OwnClassMethod(build_ext):
    @classmethod
    def get_libraries(cls, _ext: Any) -> list[str]:
        return [cls.__name__][:0]


class OwnExtension(Extension):
    """An extension class of a project's own."""


def command(kind: type[build_ext], extension: type[Extension] = Extension) -> Any:
    distribution = Distribution({"ext_modules": [extension("one", ["one.c"])]})
    made: Any = kind(distribution)
    made.extensions = distribution.ext_modules
    from distutils.ccompiler import new_compiler

    made.compiler = new_compiler()
    return made


@pytest.mark.parametrize("kind", [build_ext, Plain])
def test_nothing_of_a_project_runs_while_an_extension_is_built(kind: type[build_ext]) -> None:
    assert not runs_own_code(command(kind))


@pytest.mark.parametrize("kind", [OwnMethod, OwnDefault, OwnProperty, OwnClassMethod])
def test_a_method_of_a_projects_own_is_seen(kind: type[build_ext]) -> None:
    assert runs_own_code(command(kind))


def test_an_extension_class_of_a_projects_own_is_seen() -> None:
    assert runs_own_code(command(build_ext, OwnExtension))


def test_a_method_put_on_the_command_is_seen() -> None:
    made = command(build_ext)
    made.build_extension = lambda ext: build_ext.build_extension(made, ext)
    assert runs_own_code(made)


@pytest.mark.parametrize("where", ["instance", "class"])
def test_a_method_put_on_the_compiler_is_seen(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = command(build_ext)
    compiler = made.compiler if where == "instance" else type(made.compiler)
    spawn = compiler.spawn

    def own_spawn(*arguments: Any, **named: Any) -> Any:
        return spawn(*arguments, **named)

    monkeypatch.setattr(compiler, "spawn", own_spawn)
    assert runs_own_code(made)


def test_a_callable_object_put_on_the_command_is_seen() -> None:
    made = command(build_ext)
    made.build_extension = functools.partial(build_ext.build_extension, made)
    assert runs_own_code(made)
