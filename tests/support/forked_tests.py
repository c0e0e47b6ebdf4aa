"""Run one test in a fork, where the forking thread is the only one.

A worker of pytest-xdist has a second thread, which reads what the controller sends. The backend
does not fork a process that has several threads, so a test of its forks needs another process.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import NoReturn

import pytest
from _pytest.runner import runtestprotocol

__all__ = ["run_forked"]


def run_forked(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    """Set up, call and tear down `item` in a fork; returns the reports.

    The fork tears down all that it finds set up, so `item` cannot share a fixture that needs to be
    torn down with other tests. Here, what `nextitem` has no use for is torn down, as after any
    other test: the directory of `item` may have been set up for the one before.
    """
    with tempfile.TemporaryDirectory(prefix="forked-test-") as private:
        file = Path(private, "reports.json")
        with warnings.catch_warnings():
            # The child does nothing that could wait for the thread that it lacks.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if process == 0:
            _report_to(file, item)
        _, status = os.waitpid(process, 0)
        item.session._setupstate.teardown_exact(nextitem)
        if not file.exists():
            return [_died(item, os.waitstatus_to_exitcode(status))]
        reports = json.loads(file.read_text(encoding="utf-8"))
    load = item.config.hook.pytest_report_from_serializable
    return [load(config=item.config, data=report) for report in reports]


def _report_to(file: Path, item: pytest.Item) -> NoReturn:
    try:
        dump = item.config.hook.pytest_report_to_serializable
        reports = [
            dump(config=item.config, report=report)
            for report in runtestprotocol(item, log=False, nextitem=None)
        ]
        part = file.with_suffix(".part")
        part.write_text(json.dumps(reports), encoding="utf-8")
        part.rename(file)
    finally:
        os._exit(0)


def _died(item: pytest.Item, code: int) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome="failed",
        longrepr=f"the test's process ended without a report, with status {code}",
        when="call",
    )
