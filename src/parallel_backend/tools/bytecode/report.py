"""What came of compiling."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Failure", "Report"]


class Failure(NamedTuple):
    """A file that gave no ``.pyc``, or a folder or RECORD that could not be read or written.

    :param line: the line of a mistake in the source.
    :param output: what the worker had printed before it was lost.
    """

    path: str
    line: int | None
    message: str
    output: str = ""

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        printed = "".join(f"\n  {line}" for line in self.output.splitlines())
        return f"{place}: {self.message}{printed}"


class Report(NamedTuple):
    """What was found and done.

    :param files: sources found.
    :param compiled: those that were compiled.
    :param up_to_date: those that needed not.
    :param failures: in the order of their paths.
    :param records: ``RECORD`` files that were changed.
    :param jobs: the most workers that ran at once.
    :param seconds: how long all took.
    """

    files: int
    compiled: int
    up_to_date: int
    failures: tuple[Failure, ...]
    records: tuple[str, ...]
    jobs: int
    seconds: float

    def closing_line(self) -> str:
        """All in one line."""
        counts = [f"{self.compiled} compiled", f"{self.up_to_date} up to date"]
        if self.failures:
            counts.append(f"{len(self.failures)} failed")
        if self.records:
            counts.append(f"{len(self.records)} RECORD changed")
        jobs = f" on {self.jobs} job{'s' * (self.jobs != 1)}" if self.jobs else ""
        return f"parallel-backend: {', '.join(counts)} in {self.seconds:.1f} s{jobs}"

    def as_json(self) -> dict[str, Any]:
        """A value for the ``json`` module, its keys as the fields here."""
        return {
            **self._asdict(),
            "failures": [failure._asdict() for failure in self.failures],
        }
