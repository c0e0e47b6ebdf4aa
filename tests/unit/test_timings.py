"""What is made of the records of a build: slots, the critical path, verdicts, the trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallel_backend.timings import record
from parallel_backend.tools.timings.events import Event, read_events
from parallel_backend.tools.timings.path import critical_path
from parallel_backend.tools.timings.timeline import Source, lay_out
from parallel_backend.tools.timings.trace import trace
from parallel_backend.tools.timings.verdicts import broken_off, verdicts
from timings_harness import happened, judged, laid_out

# What the format's document demands of each kind of event (ph), and which kinds there are here.
DEMANDED = {
    "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"},
    "M": {"name", "ph", "pid", "tid", "args"},
    "C": {"name", "ph", "ts", "pid", "args"},
}


def two_slots(*, second: float) -> list[Event]:
    """An extension of two sources of 4 s and of `second` seconds, 1 s of serial work around it."""
    end = 1 + max(4, second)
    return [
        happened("hook", "build_wheel", 0, end + 1, id="h"),
        happened("command", "build_ext", 0.5, end, id="c", up="h"),
        happened("extension", "ext", 1, end, id="e", up="c"),
        happened("slot", "1", 1, 1 + second, slot=1),
        happened("compile", "a.c", 1, 5, up="e", call=0, id="1", cpu=4 * 10**9),
        happened("compile", "b.c", 1, 1 + second, up="e", call=0, slot=1, id="2", cpu=10**9),
    ]


# --- records


def test_nothing_is_noted_where_nothing_is_recorded(tmp_path: Path) -> None:
    with record.span("compile", "a.c") as timed, record.in_slot(b"3"), record.waiting(True):
        timed.note(result="reused")
        timed.fail(ValueError())
        timed.drop()
        timed.end()
        record.happened("gone", 1)
        assert record.program(["gcc"]) is None
        assert record.current() is timed
    assert list(tmp_path.iterdir()) == []


def test_spans_tell_what_they_happened_in_and_in_which_slot(tmp_path: Path) -> None:
    file = tmp_path / "record"
    with record.recording(file), record.span("hook", "build_wheel", folder="/project") as hook:
        with record.in_slot(b"2"), record.span("compile", "/project/a\udcff.c", call=1):
            record.current().note(result="reused")
        with pytest.raises(ValueError, match="why"), record.span("link", "a.so"):
            raise ValueError("why\nand more")
    compiled, linked = [event for event in read_events(file) if event.kind != "hook"]
    assert (compiled.name, compiled.slot, compiled.result) == ("a\\udcff.c", 2, "reused")
    assert (linked.slot, linked.result, linked.details["error"]) == (0, "failed", "why")
    assert compiled.up == linked.up == hook.id
    assert record.span("hook", "none") is record.current()


def test_what_was_retracted_was_built_again_with_all_that_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "record"
    with record.recording(file):
        for _ in range(2):
            with record.span("extension", "ext"), record.span("compile", "a.c", call=0):
                pass
            record.happened("retracted", "ext")
        with record.span("extension", "ext"):
            with record.span("compile", "a.c", call=1):
                pass
            record.happened("retracted", "a.c", call=1)
            with record.span("compile", "a.c", call=1):
                pass
    results = [(event.kind, event.result) for event in read_events(file)]
    assert results == [
        *[("extension", "again"), ("compile", "again")] * 2,
        ("extension", "done"), ("compile", "again"), ("compile", "done"),
    ]  # fmt: skip


def test_a_full_disk_under_the_record_is_no_error(tmp_path: Path) -> None:
    with record.recording(tmp_path / "missing" / "record"), record.span("compile", "a.c"):
        pass
    assert read_events(tmp_path / "missing" / "record") == []


# --- slots


def test_an_extension_is_at_work_only_while_its_own_code_or_its_sources_are() -> None:
    timeline = laid_out(two_slots(second=2))
    moments = [(begin / 1e9, end / 1e9, number) for begin, end, number in timeline.jobs]
    assert moments == [(0, 1, 1), (1, 3, 2), (3, 6, 1)]
    assert {unit.event.name: unit.row for unit in timeline.of_kind("compile")} == {
        "a.c": 0,
        "b.c": 1,
    }


def test_projects_share_the_rows_of_the_slots_that_they_shared() -> None:
    def project(begin: float) -> list[Event]:
        return [
            happened("hook", "build_wheel", begin, begin + 2),
            happened("slot", "1", begin + 0.5, begin + 1.5, slot=1),
            happened("translation", "a.pyx", begin + 0.5, begin + 1.5, slot=1),
        ]

    sources = [Source(label=f"p{begin}", events=project(begin)) for begin in (0, 1.6, 4)]
    timeline = lay_out(sources, slots=2)
    assert timeline.rows == 2
    rows = [(unit.project, unit.row) for unit in timeline.of_kind("translation")]
    assert rows == [(0, 1), (1, 0), (2, 1)]


def test_what_waits_to_begin_has_no_slot() -> None:
    waits = Source(label="projects that wait", events=[happened("wait", "a job token", 0, 1)])
    timeline = lay_out([waits], slots=2)
    assert [unit.row for unit in timeline.units] == [-1]
    assert timeline.pieces == []


def test_memory_is_that_of_the_largest_process_or_told_to_be_no_more() -> None:
    events = [
        *two_slots(second=2),
        happened("program", "gcc", 1, 5, id="p", up="1", cpu=3 * 10**9, peak=900, least=100),
        happened("program", "gcc", 1, 3, id="q", up="2", cpu=10**9, peak=100, least=100),
    ]
    units = {unit.event.name: unit for unit in laid_out(events).of_kind("compile", "extension")}
    assert (units["a.c"].cpu, units["a.c"].peak, units["a.c"].is_most) == (7 * 10**9, 900, False)
    assert (units["b.c"].peak, units["b.c"].is_most) == (100, True)
    assert (units["ext"].cpu, units["ext"].peak) == (4 * 10**9, 900)


# --- the critical path, and what limited a build


def test_the_critical_path_is_serial_work_and_the_longest_source() -> None:
    steps = [
        (step.kind, step.text, step.nanoseconds / 1e9)
        for step in critical_path(laid_out(two_slots(second=2)))
    ]
    assert steps == [
        ("serial", "setup.py and setuptools, setup.py build_ext", 1.0),
        ("compile", "a.c", 4.0),
        ("serial", "setup.py and setuptools", 1.0),
    ]


def test_a_translation_is_on_the_path_before_what_it_is_for() -> None:
    steps = critical_path(
        laid_out(
            [
                happened("hook", "build_wheel", 0, 6),
                happened("translation", "long.pyx", 0, 2),
                happened("translation", "short.pyx", 0, 1, slot=1),
                happened("extension", "ext", 3, 6, id="e"),
                happened("translation", "own.pyx", 3, 4, up="e"),
                happened("compile", "own.c", 4, 5.5, up="e", call=0),
            ]
        )
    )
    assert [(step.text, step.nanoseconds / 1e9) for step in steps] == [
        ("long.pyx", 2.0),
        ("setup.py and setuptools", 1.0),
        ("own.pyx", 1.0),
        ("own.c", 1.5),
        ("ext: its own code, links included", 0.5),
    ]


def test_one_long_source_is_named_with_what_to_do() -> None:
    found = judged(two_slots(second=1))[0]
    assert (found.kind, round(found.share, 2)) == ("long-source", 0.25)
    assert "a.c took 4.0\N{NO-BREAK SPACE}s of 6.0" in found.text
    assert "Split it" in found.advice


def test_full_slots_say_that_more_of_them_would_help_or_would_not() -> None:
    events = [
        happened("hook", "build_wheel", 0, 10),
        *(happened("slot", "1", 0.1, 10, slot=1) for _ in range(1)),
        *(
            happened(
                "translation", f"{i}.pyx", max(0.1, 2 * (i // 2)), 2 * (i // 2) + 2, slot=i % 2
            )
            for i in range(10)
        ),
    ]
    [slots, *rest] = judged(events)
    assert slots.kind == "slots"
    assert "More slots make it faster" in slots.advice
    assert [each.kind for each in rest] == ["translation"]
    alone = [happened("hook", "build_wheel", 0, 10), happened("translation", "a.pyx", 0, 10)]
    [slots, _] = judged(alone, slots=1)
    assert slots.advice == "More slots would hardly help: shorten the critical path."


def test_waiting_for_tokens_counts_only_while_slots_are_empty_here() -> None:
    waiting = happened("wait", "a job token", 1, 5)
    assert "tokens" not in [each.kind for each in judged([*two_slots(second=4), waiting])]
    found = judged([*two_slots(second=1), waiting])[0]
    assert (found.kind, round(found.share, 2)) == ("tokens", 0.25)
    assert "For 3.0\N{NO-BREAK SPACE}s there was more to run" in found.text
    assert "make -jN" in found.advice


def test_serial_work_names_the_commands_that_took_longest() -> None:
    [serial] = judged(
        [
            happened("hook", "build_wheel", 0, 10),
            happened("command", "bdist_wheel", 1, 10, id="b"),
            happened("command", "build_py", 2, 6, up="b"),
        ]
    )
    assert serial.kind == "serial"
    assert serial.title == "Serial work in setup.py"
    assert "setup.py bdist_wheel 5.0" in serial.text
    assert "setup.py build_py 4.0" in serial.text


def test_extensions_one_after_another_are_told_apart_from_one_long_source() -> None:
    events = [
        happened("hook", "build_wheel", 0, 9),
        *(happened("extension", f"e{i}", 3 * i, 3 * i + 3, id=f"e{i}") for i in range(3)),
    ]
    assert judged(events)[0].kind == "one-at-a-time"


def test_slots_that_nothing_could_fill_are_told_where_no_unit_is_to_blame() -> None:
    events = [happened("hook", "build_wheel", 0, 6)]
    for i in range(6):
        slot = i % 2
        events.append(happened("extension", f"e{i}", i, i + 1.2 - slot / 5, id=f"e{i}", slot=slot))
    events.append(happened("slot", "1", 0.1, 6, slot=1))
    assert judged(events, slots=4)[0].kind == "few"


def test_what_was_built_beforehand_and_again_is_a_cost_and_no_failure() -> None:
    events = [
        happened("hook", "build_wheel", 0, 9),
        happened("extension", "e", 0, 4, id="1", result="again"),
        happened("compile", "e.c", 0, 4, up="1", call=0, result="again"),
        happened("extension", "e", 4, 8, id="2"),
    ]
    kinds = [each.kind for each in judged(events, slots=1)]
    assert "again" in kinds
    assert "failed" not in kinds


def test_a_failure_comes_first_and_names_the_innermost_unit_that_failed() -> None:
    events = two_slots(second=2)
    for event in events:
        if event.name in ("build_wheel", "ext", "b.c"):
            event.result = "failed"
    program = happened("program", "gcc", 1, 3, id="p", up="2", status=1, result="failed")
    first = judged([*events, program])[0]
    assert first.kind == "failed"
    assert first.text.startswith("The source b.c of extension ext failed, 3.0\N{NO-BREAK SPACE}s")
    assert first.text.endswith("gcc ended with exit status 1.")


def test_a_try_that_fails_is_no_failure_of_a_build_that_goes_well() -> None:
    events = [
        happened("hook", "build_wheel", 0, 4),
        happened("program", "gcc", 1, 2, result="failed", status=1),
        happened("link", "a.out", 1, 2, result="failed"),
    ]
    assert [each.kind for each in judged(events) if each.kind == "failed"] == []


def test_each_row_that_something_is_in_is_drawn() -> None:
    """A worker that is ended before its first extension has a slot, and did no work."""
    timeline = laid_out(
        [
            happened("hook", "build_wheel", 0, 4),
            happened("slot", "1", 1, 3, slot=1),
            happened("worker", "worker 7", 1, 3, slot=1, result="cancelled"),
        ]
    )
    assert timeline.rows == 1 + max(unit.row for unit in timeline.units) == 2


def test_what_a_signal_ended_did_not_fail() -> None:
    events = [
        happened("hook", "build_wheel", 0, 4, result="cancelled"),
        happened("extension", "a", 1, 4, result="failed"),
        happened("compile", "a.c", 1, 4, result="failed", error="killed"),
    ]
    assert [each.kind for each in judged(events) if each.kind == "failed"] == []
    timeline = laid_out(events)
    assert broken_off(timeline) == {0}
    # Of many projects each one's own end counts, whatever its hooks say.
    project = happened("project", "one", 0, 5, result="failed")
    assert judged([*events, project])[0].kind == "failed"


def test_each_project_that_failed_is_told() -> None:
    sources = [
        Source(label=name, events=[happened("project", name, 0, 5, result=result)])
        for name, result in (("one", "failed"), ("two", "done"), ("three", "failed"))
    ]
    timeline = lay_out(sources, slots=2)
    told = [each for each in verdicts(timeline, critical_path(timeline)) if each.kind == "failed"]
    assert [each.text.partition(",")[0] for each in told] == [
        "The project one failed in one",
        "The project three failed in three",
    ]


def test_a_build_that_reused_all_says_so() -> None:
    events = [
        happened("hook", "build_wheel", 0, 1),
        happened("compile", "a.c", 0.5, 0.6, result="reused"),
    ]
    assert judged(events)[0].kind == "reused"


def test_compilers_that_have_no_core_are_told() -> None:
    events = two_slots(second=4)
    events[-2].details["cpu"] = 10**9
    assert "cores" in [each.kind for each in judged(events)]
    events[-2].details["cpu"] = events[-1].details["cpu"] = 4 * 10**9
    assert "cores" not in [each.kind for each in judged(events)]


def test_a_build_of_which_nothing_is_known_has_a_page_without_verdicts() -> None:
    timeline = lay_out([], slots=2)
    assert verdicts(timeline, critical_path(timeline)) == []


# --- the trace


def test_the_trace_keeps_to_the_format_and_slices_of_a_slot_are_nested() -> None:
    events = [*two_slots(second=2), happened("wait", "a job token", 1, 2)]
    events.append(happened("program", "gcc", 1, 5, id="p", up="1", cpu=10**9, peak=2**20, status=0))
    whole = json.loads(trace(laid_out(events, label="<b>"), told={"took": 6}))
    assert whole["otherData"] == {"took": "6"}
    for event in whole["traceEvents"]:
        assert set(event) == DEMANDED[event["ph"]]
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0
    names = [e["args"]["name"] for e in whole["traceEvents"] if e["name"] == "thread_name"]
    assert names == ["job slot 1", "job slot 2", "waiting for a job token"]
    slices = [event for event in whole["traceEvents"] if event["ph"] == "X"]
    for one in slices:
        for other in slices:
            if one["tid"] == other["tid"] and one["ts"] <= other["ts"] < one["ts"] + one["dur"]:
                assert other["ts"] + other["dur"] <= one["ts"] + one["dur"]
    gcc = next(event for event in slices if event["name"] == "gcc")
    assert gcc["args"]["cpu_seconds"] == 1.0
    assert gcc["args"]["peak_memory_bytes"] == 2**20
    jobs = [(e["ts"], e["args"]["jobs"]) for e in whole["traceEvents"] if e["ph"] == "C"]
    assert jobs == [(0, 1), (1e6, 2), (3e6, 1), (6e6, 0)]
