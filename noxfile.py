"""Sessions for nox: tests on each pair of Python and setuptools, and the long checks."""

from __future__ import annotations

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
OLDEST, NEWEST = "==77.0.1", ""

nox.options.sessions = ["lint", "tests"]
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
@nox.parametrize("setuptools", [OLDEST, NEWEST], ids=["oldest", "newest"])
def tests(session: nox.Session, setuptools: str) -> None:
    """All tests; arguments after `--` go to pytest."""
    session.install("-e", ".[test]")
    session.install("--upgrade", f"setuptools{setuptools}")
    session.run("python", "-m", "pytest", "-n", "auto", "--all", *session.posargs)


@nox.session(python=PYTHONS[-1])
def lint(session: nox.Session) -> None:
    """Style, size and types."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")


@nox.session(python=PYTHONS[-1])
def docs(session: nox.Session) -> None:
    """The book, in build/docs; what is made from the code must be as it is committed."""
    session.install("-e", ".[docs]")
    session.run("python", "docs/generate.py")
    made = ["docs/settings.md", "docs/commands.md"]
    session.run("git", "diff", "--exit-code", "--", *made, external=True)
    session.run("python", "-m", "sphinx", *"-W -n --keep-going -b html docs build/docs".split())


@nox.session(python=PYTHONS[1])
def fidelity(session: nox.Session) -> None:
    """Real packages, byte for byte against a serial build; arguments go to bench.fidelity.

    The script makes its own environments, one for each pair of Python and setuptools.
    """
    session.run("python", "-m", "bench.fidelity", *session.posargs)


@nox.session(python=PYTHONS[1])
def bench(session: nox.Session) -> None:
    """Real packages by every peer, in turns; arguments go to the suite (docs/benchmarks.md).

    It makes its own environments.
    """
    session.run("python", "-m", "bench", *session.posargs)


@nox.session(python=PYTHONS[1])
def race(session: nox.Session) -> None:
    """The shared-source sample, many times under load; arguments go to tests/long/long_race.py."""
    session.install("-e", ".[test]")
    session.run("python", "tests/long/long_race.py", *session.posargs)


@nox.session(python=PYTHONS[1])
def shuffled(session: nox.Session) -> None:
    """Real packages' hooks in shuffled orders in one process; arguments: bench.shuffled."""
    session.install("-e", ".")
    session.run("python", "-m", "bench.shuffled", *session.posargs)


@nox.session(python=PYTHONS[1])
def rebuilds(session: nox.Session) -> None:
    """Random edits, kills and rebuilds, each beside a build from nothing; long_rebuilds.py."""
    session.install("-e", ".[test]")
    session.run("python", "tests/long/long_rebuilds.py", *session.posargs)


@nox.session(python=PYTHONS[1])
def bytecode(session: nox.Session) -> None:
    """A large tree, byte-compiled as compileall does it; see tests/long/long_bytecode.py."""
    session.install("-e", ".[test]")
    session.run("python", "tests/long/long_bytecode.py", *session.posargs)


@nox.session(python=PYTHONS[1])
def many(session: nox.Session) -> None:
    """Ten sdists by one `build`, beside loops of other frontends; arguments: bench.many."""
    session.install("build", "uv")
    session.run("python", "-m", "bench.many", *session.posargs)


@nox.session(python=PYTHONS[1])
def sdists(session: nox.Session) -> None:
    """Real sdists of all kinds of backends, broken ones among them; long_sdists.py."""
    session.install("-e", ".[build,test]")
    session.run("python", "tests/long/long_sdists.py", *session.posargs)


@nox.session(python=PYTHONS[1])
def timings(session: nox.Session) -> None:
    """Pages of timings of real builds, in a real browser; see tests/long/long_timings.py."""
    session.install("-e", ".[build,test]")
    session.run("python", "tests/long/long_timings.py", *session.posargs)


@nox.session(python=PYTHONS[0])
def newcomer(session: nox.Session) -> None:
    """The README, followed word for word; arguments go to tests/long/long_newcomer.py."""
    session.run("python", "tests/long/long_newcomer.py", *session.posargs)
