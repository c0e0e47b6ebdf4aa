"""What is seen of what building an extension leaves behind in memory, and what is not."""

from __future__ import annotations

import itertools
import os
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_backend.engine.state import attributes, mark


class Plain:
    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def method(self) -> None: ...


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Slotted({self.value})"


def closure() -> Callable[[], int]:
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return count

    return step


def closure_over_a_list() -> Callable[[], int]:
    items: list[int] = []

    def step() -> int:
        items.append(1)
        return len(items)

    return step


def counting_attribute() -> Callable[[], int]:
    def step() -> int:
        step.count += 1  # type: ignore[attr-defined]
        return 1

    step.count = 0  # type: ignore[attr-defined]
    return step


def generator() -> Iterator[int]:
    yield 1
    yield 2


def loop_begun() -> Iterator[int]:
    """A generator that stops at one place again and again."""
    numbers = (number for number in range(9))
    next(numbers)
    return numbers


def call(thing: Any) -> None:
    thing()


def nested(value: Any, depth: int) -> Any:
    """The value in plain objects, one in another."""
    for _ in range(depth):
        value = Plain(inner=value)
    return value


def innermost(value: Any) -> Any:
    while isinstance(value, Plain) and hasattr(value, "inner"):
        value = value.inner
    return value


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "list": (lambda: [1], lambda v: v.append(2)),
    "dictionary": (lambda: {"a": 1}, lambda v: v.update(a=2)),
    "dictionary's order": (lambda: {"a": 1, "b": 2}, lambda v: v.update(a=v.pop("a"))),
    "set": (lambda: {1}, lambda v: v.add(2)),
    "counter": (lambda: Counter(a=1), lambda v: v.update("a")),
    "ordered dictionary": (lambda: OrderedDict(a=1, b=2), lambda v: v.move_to_end("a")),
    "default dictionary": (lambda: defaultdict(int), lambda v: v["a"]),
    "deque": (lambda: deque([1, 2]), lambda v: v.rotate()),
    "attribute": (lambda: Plain(a=1), lambda v: setattr(v, "a", 2)),
    "new attribute": (Plain, lambda v: setattr(v, "a", 2)),
    "attribute that goes": (lambda: Plain(a=1), lambda v: delattr(v, "a")),
    "namespace": (lambda: SimpleNamespace(n=0), lambda v: setattr(v, "n", 1)),
    "object with slots": (lambda: Slotted(1), lambda v: setattr(v, "value", 2)),
    "list of objects": (lambda: [Plain(a=1)], lambda v: setattr(v[0], "a", 2)),
    "object in an object": (lambda: nested({"a": 1}, 2), lambda v: innermost(v).update(a=2)),
    "object with a list of objects": (
        lambda: Plain(a=[Plain(n=0)]),
        lambda v: setattr(v.a[0], "n", 1),
    ),
    "count": (lambda: itertools.count(3), next),
    "list's iterator": (lambda: iter([1, 2]), next),
    "enumeration": (lambda: enumerate("ab"), next),
    "closure": (closure, call),
    "closure over a list": (closure_over_a_list, call),
    "attribute of a function": (counting_attribute, call),
    "generator": (generator, next),
    "generator in a loop": (loop_begun, next),
    "generator's end": (generator, list),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_mark_stays_equal_until_what_it_marks_changes(kind: str) -> None:
    make, change = CHANGES[kind]
    value = make()
    before = mark(value)
    assert before == mark(value)
    change(value)
    assert before != mark(value)


# One level less deep than what is looked at.
@pytest.mark.parametrize("kind", [k for k in CHANGES if k != "object with a list of objects"])
def test_a_mark_in_a_container_sees_a_change_too(kind: str) -> None:
    make, change = CHANGES[kind]
    value = make()
    for holder in ({"key": value}, [None, value], (0, value)):
        before = mark(holder)
        assert before == mark(holder)
    before = mark({"key": value})
    change(value)
    assert before != mark({"key": value})


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "a", b"b", (1, "a"), [1, [2]], {"a": {1}}])
def test_equal_plain_data_has_equal_marks(value: Any) -> None:
    other = eval(repr(value))
    assert mark(value) == mark(other)


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (0, False), (1, 1.0), ("1", 1), ([1], (1,)), (b"a", "a")]
)
def test_what_is_of_another_type_has_another_mark(one: Any, other: Any) -> None:
    assert mark(one) != mark(other) or type(one) in (int, bool)
    assert mark([one]) != mark([other])


def test_a_mark_does_not_see_how_often_something_is_referred_to() -> None:
    word = "".join(["wo", "rd"])
    before = mark([word])
    keep = [word, word]
    assert before == mark([word])
    assert keep


@pytest.mark.parametrize("value", [dict[str, int], int | None, print, os, Plain, len])
def test_what_holds_no_state_is_no_change(value: Any) -> None:
    """Not even a mapping that Python makes anew whenever it is asked for."""
    before = mark({"name": value})
    assert before == mark({"name": value})


def test_attributes_are_a_copy() -> None:
    thing = Plain(a=[1], b={"x": 1}, c={1}, d=(1,))
    copied = attributes(thing)
    assert copied == vars(thing)
    thing.a.append(2)  # type: ignore[attr-defined]
    thing.b.clear()  # type: ignore[attr-defined]
    thing.c.clear()  # type: ignore[attr-defined]
    assert copied == {"a": [1], "b": {"x": 1}, "c": {1}, "d": (1,)}


def test_another_function_of_the_same_name_has_another_mark() -> None:
    assert mark(closure()) != mark(closure())


def test_what_refers_to_itself_can_be_marked() -> None:
    value: list[Any] = [Plain()]
    value[0].owner = value
    before = mark(value)
    assert before == mark(value)
    value[0].more = 1
    assert before != mark(value)


def test_a_closure_that_has_no_value_yet_can_be_marked() -> None:
    def make() -> Callable[[], object]:
        def inner() -> object:
            return later

        first = mark(inner)
        later = 1
        assert first != mark(inner)
        return inner

    make()


def test_the_object_of_a_mark_cannot_be_mistaken_for_a_new_one() -> None:
    before = [mark(Plain().method) for _ in range(50)]
    after = [mark(Plain().method) for _ in range(50)]
    assert not any(one == other for one in before for other in after)
