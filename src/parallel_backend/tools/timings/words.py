"""Numbers for humans."""

from __future__ import annotations

__all__ = ["count", "percent", "seconds"]


def seconds(nanoseconds: float) -> str:
    """A length of time for humans."""
    value = nanoseconds / 1e9
    return f"{value:.2f}\N{NO-BREAK SPACE}s" if value < 1 else f"{value:.1f}\N{NO-BREAK SPACE}s"


def percent(share: float) -> str:
    return f"{share:.0%}"


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
