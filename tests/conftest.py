"""What holds for every test: a clean environment, and which tests run where."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from forked_tests import run_forked
from harness import COVERAGE_VARIABLES, clean_environment

# Whole projects of their own, which the tests copy and build.
collect_ignore = ["projects"]

_LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the tests marked 'slow', too")


def pytest_configure(config: pytest.Config) -> None:
    """Clean the environment before anything is collected, for hooks in this process too."""
    config.stash[_LEFT_OUT] = 0
    clean = clean_environment(os.environ)
    for name in set(os.environ) - set(clean):
        del os.environ[name]
    os.environ.update(clean)
    # As under nohup, which every child would inherit.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests, unless they are asked for."""
    if config.option.all or getattr(config, "workerinput", {}).get("all"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        config.stash[_LEFT_OUT] = len(slow)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker of pytest-xdist: tell the controller, which collects nothing itself."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash[_LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker of pytest-xdist begins, which does not see ``PYTEST_ADDOPTS``."""
    node.workerinput["all"] = node.config.option.all


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has ended; each has collected the same tests."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was left out."""
    if left_out := config.stash[_LEFT_OUT]:
        terminalreporter.write_line(f"left out: {left_out} slow tests; --all runs them, too")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Give a test of forks a process that has one thread."""
    in_worker = hasattr(item.config, "workerinput")
    if not in_worker or not item.get_closest_marker("single_threaded"):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in run_forked(item, nextitem):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture(autouse=True)
def unmeasured_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start processes without coverage where it would change what a test looks at.

    Nor are those of slow tests measured: they show more of what others show, and coverage doubles
    what a process of Python costs.
    """
    if any(map(request.node.get_closest_marker, ("unmeasured", "slow"))):
        for name in COVERAGE_VARIABLES:
            monkeypatch.delenv(name, raising=False)
