"""What is made of the records of a build: slots, the critical path, verdicts, the trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    """An extension of two sources, of 4 s and `second` seconds; serial work of 1 s around them."""
    end = 1 + max(4, second)
    return [
        happened("hook", "build_wheel", 0, end + 1, id="h"),
        happened("command", "build_ext", 0.5, end, id="c", up="h"),
        happened("slot", "1", 1, 1 + second, slot=1),
        ran("compile", "a.c", 1, 5, cpu=4 * 10**9),
        ran("compile", "b.c", 1, 1 + second, slot=1, cpu=10**9),
    ]


def ran(kind: str, name: str, begin: float, end: float, **more: Any) -> Event:
    """A command of an extension that ran ahead, if nothing else is said."""
    return happened(kind, name, begin, end, **{"extension": "ext", "run": "ahead", **more})


# --- records


def test_nothing_is_noted_where_nothing_is_recorded(tmp_path: Path) -> None:
    with record.span("compile", "a.c") as timed, record.waiting(True):
        timed.note(result="reused")
        timed.fail(ValueError())
        timed.end()
        assert record.program(["gcc"]) is None
        assert record.begun("compile", "b.c", slot=3) is None
        assert record.current() is timed
    assert list(tmp_path.iterdir()) == []


def test_spans_tell_what_they_happened_in_and_in_which_slot(tmp_path: Path) -> None:
    file = tmp_path / "record"
    with record.recording(file), record.span("hook", "build_wheel", folder="/project") as hook:
        begun = record.begun("compile", "/project/a\udcff.c", slot=2)
        assert begun is not None
        begun.note(result="reused")
        begun.end()
        with pytest.raises(ValueError, match="why"), record.span("link", "a.so"):
            raise ValueError("why\nand more")
    compiled, linked = [event for event in read_events(file) if event.kind != "hook"]
    assert (compiled.name, compiled.slot, compiled.result) == ("a\\udcff.c", 2, "reused")
    assert (linked.slot, linked.result, linked.details["error"]) == (0, "failed", "why")
    assert compiled.up == linked.up == hook.id
    assert record.span("hook", "none") is record.current()


def test_what_ran_ahead_in_vain_is_marked_when_it_runs_again(tmp_path: Path) -> None:
    file = tmp_path / "record"
    with record.recording(file):
        for name in ("a.c", "b.c"):
            ahead = record.begun("compile", name, slot=1, run="ahead")
            assert ahead is not None
            ahead.note(result="failed")
            ahead.end()
            again = ahead.id if name == "b.c" else ""
            with record.span("compile", name, run="live", again=again):
                pass
    assert [(event.name, event.details["run"], event.result) for event in read_events(file)] == [
        ("a.c", "ahead", "failed"),
        ("a.c", "live", "done"),
        ("b.c", "ahead", "again"),
        ("b.c", "live", "done"),
    ]


def test_what_is_known_after_the_end_belongs_to_the_same_event(tmp_path: Path) -> None:
    file = tmp_path / "record"
    with record.recording(file, watched=True):
        process = record.program(["/usr/bin/gcc", "-v"], slot=1)
        assert process is not None
        process.used(3, None)
        process.end()
        [ended] = read_events(file)
        process.note(cpu=7)
        process.end()
        del process.details["cpu"]  # as if another thread had not known it
        process.end()
    [event] = read_events(file)
    assert (event.name, event.slot, event.result) == ("gcc", 1, "failed")
    assert event.details["cpu"] == 7
    assert event.end == ended.end


def test_what_has_begun_and_has_no_end_was_broken_off(tmp_path: Path) -> None:
    file = tmp_path / "record"
    with record.recording(file):
        record.span("hook", "build_wheel", told=True)
        with record.span("compile", "a.c"):
            pass
    with file.open("a", encoding="utf-8") as stream:
        stream.write('["compile", "half')
    hook, compiled = read_events(file)
    assert (hook.result, compiled.result) == ("cancelled", "done")
    assert hook.end == compiled.end


def test_a_full_disk_under_the_record_is_no_error(tmp_path: Path) -> None:
    with record.recording(tmp_path / "missing" / "record"), record.span("compile", "a.c"):
        pass
    assert read_events(tmp_path / "missing" / "record") == []


# --- slots


def test_a_slot_is_at_work_while_something_runs_in_it() -> None:
    timeline = laid_out(two_slots(second=2))
    moments = [(begin / 1e9, end / 1e9, number) for begin, end, number in timeline.jobs]
    assert moments == [(0, 1, 1), (1, 3, 2), (3, 6, 1)]
    assert {unit.event.name: unit.row for unit in timeline.of_kind("compile")} == {
        "a.c": 0,
        "b.c": 1,
    }


def test_a_recorder_and_a_program_beside_setup_py_are_work_and_setup_py_goes_on() -> None:
    timeline = laid_out(
        [
            happened("hook", "build_wheel", 0, 9),
            happened("slot", "1", 1, 3, slot=1),
            happened("recorder", "recorder", 1, 3, slot=1),
            happened("slot", "1", 4, 5, slot=1),
            happened("program", "helper", 4, 5, slot=1),
            happened("program", "pkg-config", 6, 7),
        ]
    )
    moments = [(begin / 1e9, end / 1e9, number) for begin, end, number in timeline.jobs]
    assert moments == [(0, 1, 1), (1, 3, 2), (3, 4, 1), (4, 5, 2), (5, 9, 1)]
    [step] = critical_path(timeline)
    assert (step.kind, step.nanoseconds) == ("serial", 9 * 10**9)


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


def test_memory_is_known_or_told_to_be_no_more() -> None:
    events = two_slots(second=2)
    events[-2].details.update(peak=900, least=100)
    events[-1].details.update(peak=100, least=100)
    units = {unit.event.name: unit for unit in laid_out(events).units}
    assert (units["a.c"].cpu, units["a.c"].peak, units["a.c"].is_most) == (4 * 10**9, 900, False)
    assert (units["b.c"].peak, units["b.c"].is_most) == (100, True)
    assert (units["build_ext"].cpu, units["build_ext"].peak) == (None, None)


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


def test_the_path_has_the_longest_translation_source_and_link_of_one_extension() -> None:
    other = {"extension": "other"}
    steps = critical_path(
        laid_out(
            [
                happened("hook", "build_wheel", 0, 12),
                happened("translation", "long.pyx", 1, 3, makes="elsewhere.c"),
                happened("translation", "short.pyx", 1, 2, slot=1, makes="ext.c"),
                ran("compile", "./ext.c", 3, 6),
                ran("compile", "more.c", 3, 5, slot=1),
                ran("compile", "other.c", 5, 8.5, slot=1, **other),
                ran("compile", "ext.c", 6, 10, result="again"),
                ran("link", "ext.so", 6, 7.5),
                ran("link", "other.so", 9, 10, slot=1, **other),
                happened("slot", "1", 1, 10, slot=1),
            ]
        )
    )
    assert [(step.kind, step.text, step.nanoseconds / 1e9) for step in steps] == [
        ("serial", "setup.py and setuptools", 1.0),
        ("translation", "short.pyx", 1.0),
        ("compile", "./ext.c", 3.0),
        ("link", "ext.so", 1.5),
        ("serial", "setup.py and setuptools", 2.0),
    ]


def test_a_translation_for_nobody_is_no_part_of_the_chain_of_a_library() -> None:
    events = [
        happened("hook", "build_wheel", 0, 5),
        happened("translation", "own.pyx", 0, 4),
        ran("compile", "library.c", 0, 3, slot=1, extension=""),
        ran("archive", "liba.a", 3, 5, slot=1, extension=""),
        happened("slot", "1", 0, 5, slot=1),
    ]
    assert [step.text for step in critical_path(laid_out(events))] == ["library.c", "liba.a"]


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


def test_extensions_one_after_another_for_want_of_a_recorder_are_told() -> None:
    events = [
        happened("hook", "build_wheel", 0, 9),
        *(ran("compile", f"e{i}.c", 3 * i, 3 * i + 2, extension=f"e{i}") for i in range(3)),
        *(ran("link", f"e{i}.so", 3 * i + 2, 3 * i + 3, extension=f"e{i}") for i in range(3)),
    ]
    assert judged(events)[0].kind == "one-at-a-time"
    events.append(happened("recorder", "recorder", 0, 0.1))
    assert judged(events)[0].kind == "few"


def test_one_long_link_is_no_source() -> None:
    events = [
        happened("hook", "build_wheel", 0, 6),
        ran("compile", "e.c", 0, 1),
        ran("link", "e.so", 1, 6),
    ]
    [found, *_] = judged(events)
    assert (found.kind, found.title) == ("long-link", "One long link")
    assert "The link of e.so took 5.0" in found.text
    events[-1].kind = "swig"
    assert judged(events)[0].title == "One long command"


def test_what_could_not_run_ahead_is_told_with_the_reason() -> None:
    why = "writes /project/made.h"
    events = [
        happened("hook", "build_wheel", 0, 9),
        happened("recorder", "recorder", 0, 1, slot=1, why=why),
        ran("compile", "known.c", 0, 1),
        *(ran("compile", f"{i}.c", i, i + 1, run="live", extension=f"e{i}") for i in range(1, 7)),
        ran("compile", "in-place.c", 7, 9, run="live", why="the option -save-temps"),
        happened("slot", "1", 0, 1, slot=1),
    ]
    [found, *rest] = judged(events)
    assert (found.kind, round(found.share, 2)) == ("recorder", 0.44)
    assert found.text.startswith(
        "7 sources ran only when the serial build came to it: "
        f"the recorder had stopped ({why}), and 1 more."
    )
    assert [each.kind for each in rest] == []
    # What is hurried on as all slots are full would have run ahead all the same.
    events[1].details["why"] = events[-2].details["why"] = ""
    assert "recorder" not in [each.kind for each in judged(events)]


def test_slots_that_nothing_could_fill_are_told_where_no_unit_is_to_blame() -> None:
    events = [happened("hook", "build_wheel", 0, 6)]
    for i in range(6):
        slot = i % 2
        events.append(ran("compile", f"{i}.c", i, i + 1.2 - slot / 5, slot=slot))
    events.append(happened("slot", "1", 0.1, 6, slot=1))
    assert judged(events, slots=4)[0].kind == "few"


def test_what_ran_ahead_in_vain_is_a_cost_and_no_failure() -> None:
    events = [
        happened("hook", "build_wheel", 0, 9),
        ran("compile", "e.c", 0, 4, result="again"),
        ran("compile", "e.c", 4, 8, run="live", again="1", why="what it reads has changed"),
    ]
    found = {each.kind: each for each in judged(events)}
    assert round(found["again"].share, 2) == 0.22
    assert found["again"].text.startswith("1 command had run before the serial build came to it")
    assert "cost 4.0" in found["again"].text
    assert not {"failed", "recorder"} & {*found}


@pytest.mark.parametrize(
    ("status", "text"), [(1, "It ended with exit status 1."), (-9, "It was ended by signal 9.")]
)
def test_a_failure_comes_first_and_names_the_innermost_unit_that_failed(
    status: int, text: str
) -> None:
    events = two_slots(second=2)
    events[0].result = events[1].result = "failed"
    failed = {"result": "failed", "status": status}
    events += [
        # Nobody knows whether it would have failed in its turn.
        ran("compile", "later.c", 1, 2, extension="later", **failed),
        ran("compile", "b.c", 5, 5.5, run="live", **failed),
        ran("compile", "c.c", 5, 5.2, result="cancelled", status=-15),
    ]
    first = judged(events)[0]
    assert first.kind == "failed"
    assert first.text.startswith("The source b.c of extension ext failed, 5.5\N{NO-BREAK SPACE}s")
    assert first.text.endswith(text)


def test_a_try_that_fails_is_no_failure_of_a_build_that_goes_well() -> None:
    events = [
        happened("hook", "build_wheel", 0, 4),
        happened("program", "gcc", 1, 2, result="failed", status=1),
        happened("link", "a.out", 1, 2, result="failed"),
    ]
    assert [each.kind for each in judged(events) if each.kind == "failed"] == []


def test_each_row_that_something_is_in_is_drawn() -> None:
    """A hook that is killed has given no token back."""
    timeline = laid_out(
        [
            happened("hook", "build_wheel", 0, 4, result="cancelled"),
            ran("compile", "a.c", 1, 3, slot=1, result="cancelled"),
        ]
    )
    assert timeline.rows == 1 + max(unit.row for unit in timeline.units) == 2


def test_what_a_signal_ended_did_not_fail() -> None:
    events = [
        happened("hook", "build_wheel", 0, 4, result="cancelled"),
        happened("command", "build_ext", 1, 4, result="failed"),
        ran("compile", "a.c", 1, 4, run="live", result="failed", error="killed"),
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
    events.append(happened("program", "gcc", 5, 5.5, cpu=10**9, peak=2**20, status=0))
    events.append(ran("compile", "c.c", 5.5, 5.7, run="live", why="the option -save-temps"))
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
    [live] = [event["args"] for event in slices if event["name"] == "c.c"]
    assert (live["extension"], live["run"]) == ("ext", "live")
    assert live["why"] == "the option -save-temps"
    jobs = [(e["ts"], e["args"]["jobs"]) for e in whole["traceEvents"] if e["ph"] == "C"]
    assert jobs == [(0, 1), (1e6, 2), (3e6, 1), (6e6, 0)]
