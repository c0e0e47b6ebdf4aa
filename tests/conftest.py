"""Hermetic tests: what the shell exports must not reach a build."""

from __future__ import annotations

import os
import signal

import pytest

from harness import clean_environment

# Whole projects of their own, which the tests copy and build.
collect_ignore = ["projects"]


def pytest_configure(config: pytest.Config) -> None:
    """Clean the environment before anything is collected, for hooks in this process too."""
    clean = clean_environment(os.environ)
    for name in set(os.environ) - set(clean):
        del os.environ[name]
    os.environ.update(clean)
    # As under nohup, which every child would inherit.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
