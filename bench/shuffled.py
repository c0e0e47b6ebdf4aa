"""Prove promise P5 on real packages: many hooks in one process give what fresh processes give.

    CFLAGS=-O0 python -m bench.shuffled
    CFLAGS=-O0 python -m bench.shuffled --packages psutil,librt --rounds 3 --seed 7 --ways fork

All hooks of all packages are called in an order of chance, in one environment that holds what they
need to build: by plain ``setuptools.build_meta``, each in a fresh process, then by this project in
the same order, all in one process or through one hook server. A round begins with fresh source
trees; within it a hook finds what the former ones have left in the tree. The wheels must be
identical, and so must the metadata; requirements must be equal, and the contents of sdists. Exit
status 0: all are. 1: something differs, or nothing was compared.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.builds import BuildError, Peer, parallel, say, serial
from bench.environments import Environment, find_interpreter, make_environment
from bench.fidelity import PACKAGES, aligned, find_sources, words
from bench.sessions import Outcome, differences, opened, outcome
from bench.sources import Source, requirement_name

__all__ = ["HOOKS", "WAYS", "Call", "Verdict", "compare", "groups", "main", "shuffled", "table"]

HOOKS = {
    "get_requires_for_build_wheel": "",
    "get_requires_for_build_sdist": "",
    "get_requires_for_build_editable": "",
    "prepare_metadata_for_build_wheel": "metadata_directory",
    "prepare_metadata_for_build_editable": "metadata_directory",
    "build_wheel": "wheel_directory",
    "build_sdist": "sdist_directory",
    "build_editable": "wheel_directory",
}
"""Each hook, and the argument that says where it writes to (PEP 517, PEP 660)."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How hooks are called: a way of caller.py, environment variables, and which backend's."""

    kind: str
    variables: Mapping[str, str] = field(default_factory=dict)
    plain: bool = False


WAYS = {
    "fork": Way(kind="direct"),
    "server": Way(kind="server"),
    "server-plain": Way(kind="server", plain=True),
}
"""In a process of its own for each hook, and through its hook server, which runs plain
setuptools as well."""

_PREPARES = {
    "build_wheel": "prepare_metadata_for_build_wheel",
    "build_editable": "prepare_metadata_for_build_editable",
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a hook of one package; `number`: which of its round it is, from 1."""

    round: int
    number: int
    source: Source
    hook: str

    def __str__(self) -> str:
        return f"{self.round}-{self.number:03}-{self.label}-{self.hook}"

    @property
    def label(self) -> str:
        """The package, fit for a file's name."""
        return self.source.name.replace("==", "-")


@dataclass(kw_only=True)
class Verdict:
    """What came of one package, called in one way."""

    package: str
    way: str
    calls: int = 0
    same: int = 0
    faults: list[str] = field(default_factory=list)


def shuffled(sources: Sequence[Source], *, rounds: int, seed: int) -> list[list[Call]]:
    """All hooks of all packages, once a round, each round in an order of its own."""
    chance = random.Random(seed)
    plan = []
    for number in range(1, rounds + 1):
        pairs = [(source, hook) for source in sources for hook in HOOKS]
        chance.shuffle(pairs)
        plan.append(
            [
                Call(round=number, number=place, source=source, hook=hook)
                for place, (source, hook) in enumerate(pairs, 1)
            ]
        )
    return plan


def groups(sources: Sequence[Source]) -> list[list[Source]]:
    """The packages that can share an environment: what several of them need, they need alike."""
    found: list[list[Source]] = []
    for source in sources:
        fits = (group for group in found if all(_agree(source, other) for other in group))
        group = next(fits, None)
        if group is None:
            found.append([source])
        else:
            group.append(source)
    return found


def _agree(one: Source, other: Source) -> bool:
    texts = [_by_name(source.requires) for source in (one, other)]
    return all(texts[0][name] == texts[1][name] for name in texts[0].keys() & texts[1].keys())


def _by_name(requires: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for text in requires:
        found.setdefault(requirement_name(text), set()).add("".join(text.split()))
    return found


def compare(
    sources: Sequence[Source],
    *,
    environment: Environment,
    ways: Sequence[str],
    rounds: int,
    seed: int,
    jobs: int,
    work: Path,
) -> list[Verdict]:
    """Call all hooks by plain setuptools in fresh processes, then in each way, and compare."""
    plan = shuffled(sources, rounds=rounds, seed=seed)
    stage = _Stage(work=work, python=environment.python)
    expected = dict(stage.play("plain", plan))
    verdicts = []
    for way in ways:
        peer = serial() if WAYS[way].plain else parallel(jobs)
        found = dict(stage.play(way, plan, peer=peer))
        for source in sources:
            verdict = Verdict(package=source.name, way=way)
            for calls in plan:
                own = [call for call in calls if call.source is source]
                _judge(verdict, own, expected=expected, found=found, stage=stage)
            verdicts.append(verdict)
    return verdicts


def _judge(
    verdict: Verdict,
    calls: Sequence[Call],
    *,
    expected: Mapping[Call, Outcome],
    found: Mapping[Call, Outcome],
    stage: _Stage,
) -> None:
    """Add one package's calls of one round to its verdict."""
    again: dict[Call, Outcome] = {}
    for call in calls:
        faults = differences(expected[call], found[call])
        if faults:
            again = again or dict(stage.play("again", [calls]))
            if set(faults) & set(differences(expected[call], again[call])):
                # A time that SOURCE_DATE_EPOCH does not reach is not ours, either.
                faults = differences(expected[call], found[call], times=False)
                if set(faults) & set(differences(expected[call], again[call], times=False)):
                    faults.append("plain setuptools differs from itself there")
        if call.hook == "build_wheel" and "error" in expected[call].answer:
            faults.append("plain setuptools fails")
        verdict.calls += 1
        verdict.same += not faults
        if faults:
            verdict.faults.append(f"{call}: {'; '.join(faults)}")
            say(f"{verdict.way} {verdict.faults[-1]}")


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """Where hooks are called. Trees and what they write to are at paths that are the same for all
    ways, since files name them; what was made is then kept in a folder of the way."""

    work: Path
    python: Path

    def play(
        self, way: str, plan: Sequence[Sequence[Call]], *, peer: Peer | None = None
    ) -> Iterator[tuple[Call, Outcome]]:
        """Call hook after hook: plain setuptools, each in a new process, or all in one process."""
        out = self.work / way
        for folder in (out, self.work / "made"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        log = out / "output.txt"
        if peer is None:
            yield from self._calls(plan, out=out, peer=serial(), call=self._fresh(log))
            return
        kind, variables = WAYS[way].kind, WAYS[way].variables
        with opened(kind, python=self.python, log=log, variables=variables) as call:
            yield from self._calls(plan, out=out, peer=peer, call=call)

    def _fresh(self, log: Path) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
        def call(request: Mapping[str, Any]) -> Mapping[str, Any]:
            with opened("direct", python=self.python, log=log) as one:
                return one(request)

        return call

    def _calls(
        self,
        plan: Sequence[Sequence[Call]],
        *,
        out: Path,
        peer: Peer,
        call: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> Iterator[tuple[Call, Outcome]]:
        for calls in plan:
            for tree, source in {self._tree(one): one.source for one in calls}.items():
                shutil.rmtree(tree, ignore_errors=True)
                shutil.copytree(source.tree, tree, symlinks=True)
            prepared: dict[tuple[str, str], Path] = {}
            for one in calls:
                say(f"{out.name} {one}")
                tree, made = self._tree(one), self.work / "made" / str(one)
                made.mkdir()
                answer = call(_request(one, tree=tree, made=made, peer=peer, prepared=prepared))
                if isinstance(answer.get("result"), str):
                    prepared[one.source.name, one.hook] = made / answer["result"]
                shutil.copytree(made, out / str(one))
                yield one, outcome(answer, made=out / str(one), tree=tree)

    def _tree(self, call: Call) -> Path:
        return self.work / "trees" / call.label


def _request(
    call: Call, *, tree: Path, made: Path, peer: Peer, prepared: Mapping[tuple[str, str], Path]
) -> dict[str, Any]:
    """What caller.py must be told; a build gets the metadata that was prepared for it before."""
    arguments: dict[str, Any] = {"config_settings": dict(peer.config_settings) or None}
    if HOOKS[call.hook]:
        arguments[HOOKS[call.hook]] = str(made)
    metadata = prepared.get((call.source.name, _PREPARES.get(call.hook, "")))
    if metadata is not None:
        arguments["metadata_directory"] = str(metadata)
    return {
        "hook": call.hook,
        "backend": peer.legacy if call.source.legacy else peer.backend,
        "backend_path": [str(tree / folder) for folder in call.source.backend_path],
        "folder": str(tree),
        "arguments": arguments,
    }


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as aligned text, the faults below."""
    cells = [("package", "way", "hooks")]
    for verdict in verdicts:
        answer = "DIFFERS" if verdict.faults else "same"
        count = f"{answer} ({verdict.same} of {verdict.calls})"
        cells.append((verdict.package, verdict.way, count))
    faults = [f"{verdict.way} {fault}" for verdict in verdicts for fault in verdict.faults]
    return "\n".join([*aligned(cells), *faults])


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", type=words, default=list(PACKAGES), help="names or pins")
    parser.add_argument("--ways", type=words, default=list(WAYS), help=", ".join(WAYS))
    parser.add_argument("--rounds", type=int, default=1, help="(default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the orders (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="job slots (default: 2)")
    parser.add_argument("--python", default="3.12", help="version or path (default: 3.12)")
    parser.add_argument("--setuptools", default="newest")
    parser.add_argument("--cache", type=Path, default=Path("build/fidelity"))
    options = parser.parse_args(arguments)
    options.cache = options.cache.resolve()
    for way in options.ways:
        if way not in WAYS:
            parser.error(f"{way}: not one of {', '.join(WAYS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare what the command line names, print the table; the exit status."""
    options = _arguments(arguments)
    python = find_interpreter(options.python)
    if python is None:
        print(f"Python {options.python} is not on this machine: nothing is compared")
        return 1
    verdicts: list[Verdict] = []
    for group in groups(find_sources(options.packages, cache=options.cache, python=python)):
        environment = make_environment(
            options.cache,
            python=python,
            setuptools=options.setuptools,
            requires=sorted({each for source in group for each in source.requires}),
        )
        say(f"together: {', '.join(source.name for source in group)}")
        verdicts += compare(
            group,
            environment=environment,
            ways=options.ways,
            rounds=options.rounds,
            seed=options.seed,
            jobs=options.jobs,
            work=options.cache / "shuffled",
        )
    print(table(verdicts))
    return 0 if verdicts and not any(verdict.faults for verdict in verdicts) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BuildError as error:
        sys.exit(f"shuffled.py: {error}")
