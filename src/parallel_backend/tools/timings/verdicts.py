"""What limited a build, in words, and what to do about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from parallel_backend.tools.timings.intervals import both, length, union
from parallel_backend.tools.timings.losses import Losses, blamed
from parallel_backend.tools.timings.path import Step, serial_work
from parallel_backend.tools.timings.timeline import WORK, Timeline, Unit
from parallel_backend.tools.timings.words import count, percent, seconds

__all__ = ["Verdict", "broken_off", "failed_units", "verdicts"]

# Of what all slots could have done: less than that is not worth a word.
_LITTLE = 0.05
# One source is to blame for empty slots if it ran in so much of them.
_MOST = 0.5
# What compiles computes for at least so much of its time, if it has a core.
_BUSY = 0.7
# Slots are called full from here on.
_FULL = 0.85


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One limit.

    :param kind: its name for machines.
    :param share: of what all slots together could have done, 0 to 1: what was lost by it.
    """

    kind: str
    title: str
    text: str
    advice: str
    share: float = 0.0


def verdicts(timeline: Timeline, path: Sequence[Step]) -> list[Verdict]:
    """All limits that mattered, what failed first, then the costliest first."""
    lost = Losses(timeline)
    found = [
        *(
            make(timeline, lost)
            for make in (_tokens, _sources, _serial, _translation, _recorder, _again, _cores)
        ),
        _slots(timeline, lost, path),
    ]
    told = sorted((each for each in found if each is not None), key=lambda each: -each.share)
    return [*_failure(timeline), *_nothing(timeline), *told]


def broken_off(timeline: Timeline) -> set[int]:
    """The projects that were, or whose only hook was."""
    whole = list(timeline.of_kind("project")) or list(timeline.of_kind("hook"))
    return {unit.project for unit in whole if unit.event.result == "cancelled"}


def failed_units(timeline: Timeline) -> list[Unit]:
    """What failed, the innermost first: a source before its hook.

    Where a whole project or its hook was broken off, what a signal ended there did not fail; and
    where these went well, it was a try that may fail, such as one for a function of a library. What
    fails ahead of its turn fails once more in its turn, if it comes to that.
    """
    whole = timeline.of_kind("project", "hook")
    fails = {unit.project for unit in whole if unit.event.result == "failed"} - broken_off(timeline)
    order = (*WORK, "translation", "program", "step", "project", "hook")
    failed = [
        unit
        for unit in timeline.of_kind(*order)
        if unit.event.result == "failed"
        and unit.project in fails
        and unit.event.details.get("run") != "ahead"
    ]
    return sorted(failed, key=lambda unit: (order.index(unit.event.kind), unit.event.begin))


# --- the limits


def _tokens(timeline: Timeline, lost: Losses) -> Verdict | None:
    share = lost.share(lost.waits)
    if share < _LITTLE:
        return None
    return Verdict(
        kind="tokens",
        title="Waiting for job tokens",
        text=f"For {seconds(length(lost.waits))} there was more to run than there were tokens for, "
        f"while slots were empty here: others held their tokens. {_was_lost(timeline, share)}",
        advice="Give the make, or whatever serves the tokens, more jobs (make -jN), or let fewer "
        "builds run at once.",
        share=share,
    )


def _sources(timeline: Timeline, lost: Losses) -> Verdict | None:
    """Slots that were empty while something was built: it was too little, or too long."""
    share = lost.share(lost.work)
    if share < _LITTLE:
        return None
    blame = blamed(timeline, lost.work)
    most = max(blame, key=lambda unit: blame[unit], default=None)
    if most is not None and blame[most] >= _MOST * sum(blame.values()):
        return _one_long(timeline, most, share)
    if _recorder(timeline, lost) is not None:
        return None
    if len(timeline.projects) == 1 and _one_after_another(timeline):
        return Verdict(
            kind="one-at-a-time",
            title="Extensions were built one after another",
            text="No two extensions were built at the same time: there was no recorder that would "
            f"have found out beforehand what will run. {_was_lost(timeline, share)}",
            advice="Have nothing in setup.py that keeps its process from being forked: threads "
            "that run on, or memory that it shares with others.",
            share=share,
        )
    return Verdict(
        kind="few",
        title="Too little to do at once",
        text=f"While extensions were built, {percent(share)} of what "
        f"{count(timeline.slots, 'slot')} can do was lost because nothing else could begin.",
        advice="More sources for each extension, of about equal length, would fill the slots; "
        "fewer slots would do as well.",
        share=share,
    )


def _one_after_another(timeline: Timeline) -> bool:
    """Whether there are several extensions, no two of which were built at once, for want of a
    recorder."""
    moments: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for unit in timeline.of_kind(*WORK):
        moments[unit.extension].append((unit.event.begin, unit.event.end))
    whole = sorted((min(each)[0], max(end for _, end in each)) for each in moments.values())
    apart = all(one[1] <= other[0] for one, other in pairwise(whole))
    return len(whole) > 1 and apart and not any(timeline.of_kind("recorder"))


def _one_long(timeline: Timeline, unit: Unit, share: float) -> Verdict:
    event = unit.event
    what = _WORDS[event.kind]
    if event.kind == "compile":
        advice = "Split it into several files, or compile it with less optimization."
        title = "One long source"
    elif event.kind == "link":
        advice = "A linker that uses several threads (mold, lld) or less debug information helps."
        title = "One long link"
    else:
        advice = "What it makes can be a file in the project, or be made of less."
        title = "One long command"
    late = event.begin - timeline.begin
    if late > event.length / 2 and event.kind == "compile":
        advice += (
            f" It began after {seconds(late)}: had it begun first, more would have run beside it."
        )
    return Verdict(
        kind={"compile": "long-source", "link": "long-link"}.get(event.kind, "long-command"),
        title=title,
        text=f"{what} {event.name} took {seconds(event.length)} of {seconds(timeline.length)}. "
        f"While it ran, slots stood empty: {_was_lost(timeline, share)}",
        advice=advice,
        share=share,
    )


def _serial(timeline: Timeline, lost: Losses) -> Verdict | None:
    share = lost.share(lost.serial)
    took = length(lost.serial)
    if share < _LITTLE and took <= _LITTLE * timeline.length:
        return None
    parts = {
        name: length(both(where, lost.serial)) for name, where in serial_work(timeline).items()
    }
    largest = sorted(parts, key=lambda name: -parts[name])[:3]
    named = ", ".join(f"{name} {seconds(parts[name])}" for name in largest if parts[name])
    many = len(timeline.projects) > 1
    advice = (
        "Build more projects at once, and let environments share downloads (uv, a warm cache)."
        if many
        else "Look at what setup.py does before it calls setup(), at the programs it runs, and at "
        "the commands named here; what can be a file in the project need not be made in each build."
    )
    return Verdict(
        kind="serial",
        title="Serial work in setup.py" if not many else "Serial work of each project",
        text=f"For {seconds(took)} of {seconds(timeline.length)} nothing was translated, compiled "
        f"or linked. The most of it: {named or 'setup.py'}.",
        advice=advice,
        share=share,
    )


def _translation(timeline: Timeline, lost: Losses) -> Verdict | None:
    share = lost.share(lost.translation)
    units = list(timeline.of_kind("translation"))
    took = sum(unit.event.length for unit in units)
    if not units or (share < _LITTLE and took < 0.25 * lost.used):
        return None
    longest = max(units, key=lambda unit: unit.event.length)
    done = max(unit.event.end for unit in units)
    is_first = all(unit.event.begin >= done for unit in timeline.of_kind("compile"))
    first = "; nothing was compiled before all were done" if is_first else ""
    return Verdict(
        kind="translation",
        title="Translation",
        text=f"Translating {count(len(units), 'file')} (Cython) took {seconds(took)}, "
        f"{longest.event.name} alone {seconds(longest.event.length)}{first}. "
        f"{_was_lost(timeline, share)}".rstrip(),
        advice="Keep the translated C files between builds: Cython translates only what changed. "
        "Split the longest file, or ship the C files in the sdist.",
        share=share,
    )


def _recorder(timeline: Timeline, lost: Losses) -> Verdict | None:
    """What did not run ahead, though there were slots, and why."""
    stopped = {
        unit.project: unit.event
        for unit in timeline.of_kind("recorder")
        if unit.event.details.get("why")
    }
    late = []
    reasons: dict[str, int] = defaultdict(int)
    for unit in timeline.of_kind("compile"):
        event, stop = unit.event, stopped.get(unit.project)
        is_first = not event.details.get("again") and event.result != "reused"
        if event.details.get("run") != "live" or not is_first:
            continue
        why = event.details.get("why", "")
        if not why and stop is not None and stop.end <= event.begin:
            why = f"the recorder had stopped ({stop.details['why']})"
        if why:
            late.append((event.begin, event.end))
            reasons[why] += 1
    share = lost.share(both(lost.work, union(late)))
    if share < _LITTLE:
        return None
    first = max(reasons, key=lambda why: reasons[why])
    more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return Verdict(
        kind="recorder",
        title="Not all could run ahead",
        text=f"{count(len(late), 'source')} ran only when the serial build came to it: {first}"
        f"{more}. {_was_lost(timeline, share)}".rstrip(),
        advice="What build_ext writes or runs while it builds an extension can be done before, in "
        "setup.py or in an earlier command; an option that keeps a command in its place can go.",
        share=share,
    )


def _again(timeline: Timeline, lost: Losses) -> Verdict | None:
    """What ran ahead in vain."""
    units = [unit for unit in timeline.of_kind(*WORK) if unit.event.result == "again"]
    took = sum(unit.event.length for unit in units)
    share = took / lost.capacity
    if share < _LITTLE:
        return None
    return Verdict(
        kind="again",
        title="Run ahead, and again",
        text=f"{count(len(units), 'command')} had run before the serial build came to it, and ran "
        "again then: what it reads had changed, or it had failed. That cost "
        f"{seconds(took)} of a slot.",
        advice="Make headers and sources before the first extension is built, in setup.py or in an "
        "earlier command, and not while another one is built.",
        share=share,
    )


def _cores(timeline: Timeline, lost: Losses) -> Verdict | None:
    """What is compiled uses a core for as long as it takes, if there is one for it."""
    units = [
        u for u in timeline.of_kind("compile") if u.cpu is not None and u.event.result == "done"
    ]
    took = sum(unit.event.length for unit in units)
    cpu = sum(unit.cpu or 0 for unit in units)
    share = (took - cpu) / lost.capacity
    if took < 1e9 or cpu > _BUSY * took or share < _LITTLE:
        return None
    return Verdict(
        kind="cores",
        title="Waiting for a core or the disk",
        text=f"Compilers ran for {seconds(took)} all together, and computed for {seconds(cpu)}.",
        advice="Look at what else runs on the machine, and if there are more job slots than cores; "
        "where compilers run elsewhere (distcc, icecc) or come from a cache it is as it should be.",
        share=share,
    )


def _slots(timeline: Timeline, lost: Losses, path: Sequence[Step]) -> Verdict | None:
    """Nothing but the number of slots."""
    used = lost.used / lost.capacity
    at_least = sum(step.nanoseconds for step in path)
    if used < _FULL:
        return None
    slots = count(timeline.slots, "job slot")
    return Verdict(
        kind="slots",
        title=f"The number of job slots: {timeline.slots}",
        text=f"The {slots} were at work for {percent(used)} of the time. What must follow each "
        f"other, the critical path, takes {seconds(at_least)} of the {seconds(timeline.length)}.",
        advice="More slots make it faster if there are more cores: jobs, a larger machine, a farm "
        "(distcc, icecc)."
        if at_least < 0.9 * timeline.length
        else "More slots would hardly help: shorten the critical path.",
        share=used,
    )


def _failure(timeline: Timeline) -> list[Verdict]:
    """A verdict for each project that failed."""
    first = {unit.project: unit for unit in reversed(failed_units(timeline))}
    return [_failure_of(timeline, first[project]) for project in sorted(first)]


def _failure_of(timeline: Timeline, unit: Unit) -> Verdict:
    first = unit.event
    of = f" of extension {unit.extension}" if unit.extension else ""
    where = f" in {timeline.projects[unit.project]}" if len(timeline.projects) > 1 else ""
    text, status = first.details.get("error", ""), first.details.get("status", 0)
    if status:
        text = f"It ended with exit status {status}."
        if status < 0:
            text = f"It was ended by signal {-status}."
    return Verdict(
        kind="failed",
        title="The build failed",
        text=f"{_WORDS[first.kind]} {first.name}{of} failed{where}, "
        f"{seconds(first.end - timeline.begin)} after the beginning. {text}".rstrip(),
        advice="The log has the command and what it printed. What is shown here is what had "
        "run until then.",
    )


def _nothing(timeline: Timeline) -> list[Verdict]:
    """Where nothing was compiled, that is what there is to say."""
    results = {unit.event.result for unit in timeline.of_kind("compile")}
    if results == {"reused"}:
        number = sum(1 for _ in timeline.of_kind("compile"))
        return [
            Verdict(
                kind="reused",
                title="Nothing had to be compiled",
                text=f"{count(number, 'object')} were there from an earlier build, and nothing "
                "that they were made from has changed.",
                advice="",
            )
        ]
    return []


_WORDS = {
    "compile": "The source", "link": "The link of", "translation": "The translation of",
    "archive": "The archive", "swig": "The run of SWIG for", "program": "The program",
    "hook": "The hook", "project": "The project", "step": "The step",
}  # fmt: skip


def _was_lost(timeline: Timeline, share: float) -> str:
    if share < 0.005:
        return ""
    return f"{percent(share)} of what {count(timeline.slots, 'slot')} can do was lost."
