"""The small parts of the engine, in this process: what is no build of ours, and what is rare."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_backend import engine
from parallel_backend.engine import compilation, links, patches, workers
from parallel_backend.engine.scope import Scope
from parallel_backend.engine.slots import WorkerSlots

NO_ENGINE = cast("Any", None)


@pytest.mark.parametrize(
    ("wrap", "arguments"),
    [
        (patches._compile, (["a.c"], "out")),
        (patches._newer_pairwise_group, ([["a.c"]], ["a.o"])),
        (links.link, ("shared", ["a.o"], "a.so", None)),
        (links.create_static_lib, (["a.o"], "a", None)),
    ],
    ids=["compile", "newer_pairwise_group", "link", "create_static_lib"],
)
def test_what_is_called_outside_of_a_build_is_distutils_own(
    wrap: Callable[[Any, Any], Any], arguments: tuple[Any, ...]
) -> None:
    seen: list[tuple[Any, ...]] = []

    def original(*given: Any, **options: Any) -> str:
        seen.append((*given, options))
        return "its result"

    compiler = SimpleNamespace(EXECUTABLE="executable")
    words = arguments if wrap is patches._newer_pairwise_group else (compiler, *arguments)
    assert wrap(NO_ENGINE, original)(*words) == "its result"
    assert seen == [(*words, {})]


def test_nothing_is_done_where_there_are_no_c_libraries() -> None:
    run = patches._run_build_clib(NO_ENGINE, lambda _: pytest.fail("it ran"))
    run(SimpleNamespace(libraries=None))


def test_objects_that_are_no_list_are_left_to_distutils() -> None:
    scope = Scope(name="a", command=None, slots=NO_ENGINE, publish=True)
    scope.objects["a.o"] = "store/a.o"
    assert links._placed(scope, ["a.o", Path("b.o")]) == ["store/a.o", Path("b.o")]
    assert links._placed(scope, "a.o") == "a.o"


def test_what_is_linked_to_a_device_is_written_there() -> None:
    scope = Scope(name="a", command=None, slots=NO_ENGINE, publish=True)
    with links._whole(NO_ENGINE, scope, os.devnull) as target:
        assert target == os.devnull


def test_a_token_may_come_after_other_messages() -> None:
    ours, theirs = Pipe()
    slots = WorkerSlots(ours)
    for message in (("build", 1), ("token", b"x"), ("token", b"y"), ("end",)):
        theirs.send(message)
    assert slots.take() == b"x"
    assert slots.receive() == ("build", 1)
    assert slots.receive() == ("end",)
    assert theirs.recv() == ("give", b"y")  # nobody waited for it
    assert slots.take() is None
    for end in (ours, theirs):
        end.close()


def test_variables_are_as_before_when_the_pool_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITS_OWN", "before")
    monkeypatch.delenv("NEW", raising=False)
    with engine._environment({"ITS_OWN": "inside", "NEW": "inside"}):
        assert (os.environ["ITS_OWN"], os.environ["NEW"]) == ("inside", "inside")
    assert os.environ["ITS_OWN"] == "before"
    assert "NEW" not in os.environ


def test_a_report_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    engine.Engine.report("something is to be known")
    assert capfd.readouterr() == ("", "parallel-backend: something is to be known\n")


def test_what_cannot_be_pickled_stays_in_the_worker() -> None:
    assert workers._pickled(lambda: None) == b""
    assert workers._pickled([1])


@pytest.mark.parametrize("words", [["-save-temps", "-o", ""], ["-o", "a.o"]])
def test_what_tells_its_path_is_not_looked_for_in_the_store(words: list[str]) -> None:
    launcher = SimpleNamespace(launched=lambda command: (command, {}))
    call: Any = SimpleNamespace(engine=SimpleNamespace(launcher=launcher))
    unit = compilation._Unit("a.o", "a.c", ".c", command=["gcc", "-c", "a.c", *words])
    assert not compilation._take(call, unit)
