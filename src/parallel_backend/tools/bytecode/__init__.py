"""Byte-compiles trees with a pool of workers: what ``compileall -j1`` writes, on all cores.

See docs/bytecode.md.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from parallel_backend.tools.bytecode.helper import can_help
from parallel_backend.tools.bytecode.interpreter import Interpreter, own_interpreter
from parallel_backend.tools.bytecode.options import Options
from parallel_backend.tools.bytecode.report import Failure, Report
from parallel_backend.tools.bytecode.tree import Tree

if TYPE_CHECKING:
    from parallel_backend.tools.bytecode.pool import Pool

__all__ = ["Failure", "Options", "Report", "compile_tree"]

# Who sets one of these may allow a single job.
_JOBS_VARIABLES = {"MAKEFLAGS", "PARALLEL_BACKEND_JOBS"}


def compile_tree(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    options: Options | None = None,
    *,
    jobs: int | None = None,
    progress: Callable[[int, int, bool], None] | None = None,
) -> Report:
    """Compile every ``.py`` file that is one of `paths` or below one, and is not up to date.

    :param paths: files and folders; one may be given as it is.
    :param jobs: the most workers at once; None: what the setting ``jobs`` says, else the machine.
        Under a GNU make jobserver all but one need a token besides.
    :param progress: is told how many files are done and how many there are to do, so far, and
        whether the second number is final.
    :returns: what was done, files that failed included.
    :raises ParallelBackendError: an option or a setting is wrong, or there is no such interpreter.
    """
    began = time.monotonic()
    options = (options or Options()).settled()
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    failures: list[Failure] = []
    with contextlib.ExitStack() as stack:
        pool: Pool | None = None
        interpreter = own_interpreter() if options.python is None else None
        if interpreter is None:
            pool = _open_pool(stack, options, jobs, failures)
            interpreter = pool.interpreter()
        tree = Tree(
            [os.fsdecode(path) for path in given],
            options=options,
            interpreter=interpreter,
            report=lambda path, reason: failures.append(Failure(path, None, reason)),
            share=jobs != 1 and not os.environ.keys() & _JOBS_VARIABLES and can_help(),
        )
        parts = tree.stale()
        stack.callback(parts.close)
        first = next((part for part in parts if part), None)
        if first is not None:
            pool = pool or _open_pool(stack, options, jobs, failures)
            pool.run(
                itertools.chain([first], parts),
                progress=lambda done, is_final: (
                    progress(done, tree.files - tree.up_to_date, is_final) if progress else None
                ),
            )
    records = _updated_records(tree, options, interpreter, failures)
    return Report(
        files=tree.files,
        compiled=pool.compiled if pool else 0,
        up_to_date=tree.up_to_date,
        failures=tuple(sorted(failures, key=lambda each: (each.path, each.line or 0))),
        records=records,
        jobs=pool.most if pool else 0,
        seconds=time.monotonic() - began,
    )


def _updated_records(
    tree: Tree, options: Options, interpreter: Interpreter, failures: list[Failure]
) -> tuple[str, ...]:
    if not options.update_record:
        return ()
    from parallel_backend.tools.bytecode.record import update_record

    changed = []
    for folder in sorted(tree.distributions):
        path = os.path.join(folder, "RECORD")
        try:
            if update_record(folder, options=options, interpreter=interpreter):
                changed.append(path)
        except (OSError, ValueError) as error:
            failures.append(Failure(path, None, f"cannot be updated: {error}"))
    return tuple(changed)


def _open_pool(
    stack: contextlib.ExitStack, options: Options, jobs: int | None, failures: list[Failure]
) -> Pool:
    from pathlib import Path

    from parallel_backend.jobserver.makeflags import find_auth
    from parallel_backend.settings import read_settings
    from parallel_backend.tools.bytecode.pool import Pool

    told = None if jobs is None else {"jobs": str(jobs)}
    settings = read_settings(config_settings=told, environ=os.environ, folder=Path())
    tokens = None
    if find_auth(settings.makeflags) is None:
        limit: int | None = settings.slots()
    else:
        from tempfile import TemporaryDirectory

        from parallel_backend.jobserver import open_pool

        tokens = stack.enter_context(
            open_pool(
                makeflags=settings.makeflags,
                jobs=settings.jobs,
                slots=settings.slots,
                private=Path(stack.enter_context(TemporaryDirectory(prefix="parallel-backend-"))),
                report=lambda line: print(f"parallel-backend: {line}", file=sys.stderr),
            )
        )
        limit = tokens.limit
    pool = Pool(
        python=options.python or sys.executable,
        options=options,
        limit=limit,
        tokens=tokens,
        report=failures.append,
    )
    stack.callback(pool.close)
    return pool
