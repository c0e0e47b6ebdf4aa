"""``parallel-backend build``: the wheels of many projects at once."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parallel_backend.errors import ParallelBackendError
from parallel_backend.jobserver import Pool, open_pool
from parallel_backend.settings import VARIABLES, Settings, read_settings
from parallel_backend.tools.cli.arguments import PROGRAM, Parser, positive, reason_of
from parallel_backend.tools.cli.building import KINDS, Building, Shop
from parallel_backend.tools.cli.endings import Endings
from parallel_backend.tools.cli.environments import find_installer, lend_backend
from parallel_backend.tools.cli.history import History, default_path
from parallel_backend.tools.cli.progress import watching, write
from parallel_backend.tools.cli.reports import as_json, table, totals
from parallel_backend.tools.cli.run_timings import asked_folder, timed
from parallel_backend.tools.cli.schedule import run_all
from parallel_backend.tools.cli.wanted import (
    UseError,
    find_interpreter,
    find_sources,
    make_folder,
    read_config_settings,
)

__all__ = ["main", "parser"]


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status.

    0: all is built; 1: a project failed; 2: a mistake in what was asked for; 128 + N: signal N.
    """
    asked = parser().parse_args(words)
    with Endings() as endings:
        try:
            is_built, told = _build(asked, endings)
        except (ParallelBackendError, OSError) as error:
            print(f"{PROGRAM}: error: {reason_of(error)}", file=sys.stderr)
            return 2
        if told:
            write(sys.stdout, told)
        if endings.number:
            print("parallel-backend: broken off", file=sys.stderr)
            return 128 + endings.number
    return 0 if is_built else 1


def _build(asked: argparse.Namespace, endings: Endings) -> tuple[bool, str]:
    """Whether all is built, and what to print."""
    began = time.monotonic()
    if os.name != "posix":  # pragma: no cover - Linux is POSIX
        raise UseError("build works on POSIX systems")
    sources = find_sources(asked.sources, kind=asked.kind)
    python = find_interpreter(asked.python)
    config_settings = read_config_settings(asked.config_settings)
    timings = asked_folder(asked.timings, config_settings)
    out = make_folder(asked.out)
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        private = Path(enter(_folder(prefix="parallel-backend-")))
        made = Path(enter(_folder(prefix=".parallel-backend-", dir=out)))
        settings = _settings(asked.jobs, config_settings, folder=private)
        pool = enter(
            open_pool(
                makeflags=settings.makeflags,
                jobs=settings.jobs,
                slots=settings.slots,
                private=private,
                report=lambda line: _say(f"parallel-backend: {line}"),
            )
        )
        jobs = pool.limit or settings.slots()
        shop = Shop(
            python=python,
            isolated=asked.isolation,
            installer=find_installer(),
            is_checked=not asked.skip_dependency_check,
            kind=asked.kind,
            config_settings=config_settings or None,
            out=out,
            made=made,
            private=private,
            lent=lend_backend(private),
            variables=pool.environment,
            jobs=max(1, jobs // min(jobs, len(sources))),
            timings=enter(
                timed(
                    timings,
                    list(sources),
                    private=private,
                    jobs=jobs,
                    report=lambda line: None if asked.quiet else _say(line),
                )
            ),
        )
        buildings = [
            Building(source=source, label=label, shop=shop) for label, source in sources.items()
        ]
        _run(buildings, asked, pool=pool, jobs=jobs, endings=endings)
    seconds = time.monotonic() - began
    told = "\n".join([*table(buildings), totals(buildings, seconds=seconds, jobs=jobs)])
    if asked.json:
        told = as_json(buildings, seconds=seconds, jobs=jobs)
    elif asked.quiet:
        told = ""
    return all(each.result.status == "built" for each in buildings), told


def _run(
    buildings: Sequence[Building],
    asked: argparse.Namespace,
    *,
    pool: Pool,
    jobs: int,
    endings: Endings,
) -> None:
    history = History(default_path())
    names = {f"{each.shop.kind} {each.label}": each for each in buildings}
    if len(names) > 1:
        estimates = history.estimates({name: each.source for name, each in names.items()})
        for name, each in names.items():
            each.estimate = estimates[name]
    with watching(buildings, jobs=jobs, quiet=asked.quiet, verbose=asked.verbose) as watch:
        run_all(
            buildings,
            pool=pool,
            keep_going=asked.keep_going,
            watch=watch,
            endings=endings,
            report=watch.print,
        )
    for name, each in names.items():
        if each.result.status == "built":
            history.note(name, each.result.seconds)
    history.save()


def _settings(jobs: int | None, config_settings: Mapping[str, Any], *, folder: Path) -> Settings:
    """Of the user and the machine: no project's. Raises SettingsError for a value of ours, too,
    that every backend would complain of later."""
    ours = {key: value for key, value in config_settings.items() if key in VARIABLES}
    read_settings(config_settings=ours, environ=os.environ, folder=folder)
    told = None if jobs is None else {"jobs": str(jobs)}
    return read_settings(config_settings=told, environ=os.environ, folder=folder)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _folder(*, prefix: str, dir: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=prefix, dir=dir, ignore_cleanup_errors=True)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = Parser(
        prog=f"{PROGRAM} build",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Build the wheel of each SRC, all at once, on one pool of job tokens.\n"
        "A project of setuptools is built by parallel_backend in place of its own backend.",
        epilog="exit status: 0 all is built, 1 a project failed, 2 a mistake in what was asked\n"
        "for, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP\n\n"
        "example: parallel-backend build psutil-7.2.2.tar.gz ./my-project -o wheels",
    )
    add = made.add_argument
    add("sources", nargs="+", metavar="SRC", help="a project's folder, or an sdist")
    add(
        "-o",
        "--outdir",
        dest="out",
        default="dist",
        metavar="DIR",
        help="where wheels and logs go (default: dist)",
    )
    kinds = made.add_mutually_exclusive_group()
    for kind in KINDS:
        what = "editable wheel (PEP 660)" if kind == "editable-wheel" else kind
        extra = " (default)" if kind == "wheel" else ""
        kinds.add_argument(
            f"--{kind}",
            dest="kind",
            action="store_const",
            const=kind,
            help=f"build each {what}{extra}",
        )
    made.set_defaults(kind="wheel")
    add("-j", "--jobs", type=positive, metavar="N", help="job slots for all together")
    add("-k", "--keep-going", action="store_true", help="begin others after one failed, too")
    add(
        "-C",
        "--config-setting",
        dest="config_settings",
        action="append",
        default=[],
        metavar="KEY[=VALUE]",
        help="for every backend; may be repeated",
    )
    add("--python", metavar="EXE", help="the interpreter to build with, 3.11 or newer")
    add(
        "-n",
        "--no-isolation",
        dest="isolation",
        action="store_false",
        help="build with what is installed already",
    )
    add(
        "-x",
        "--skip-dependency-check",
        action="store_true",
        help="with -n: do not look whether what a project requires is installed",
    )
    loud = made.add_mutually_exclusive_group()
    loud.add_argument("-q", "--quiet", action="store_true", help="print failures only")
    loud.add_argument("-v", "--verbose", action="store_true", help="print every log")
    add("--timings", metavar="DIR", help="write a picture of what ran when to DIR/timings.html")
    add("--json", action="store_true", help="print all that is known on stdout, for machines")
    return made
