"""Plots as SVG, legible on light and on dark pages: nothing behind them, colours of the middle."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

__all__ = ["COLOURS", "INK", "Bar", "bars", "lines"]

INK = "#7d8590"
COLOURS = {
    "serial": "#8a8a1f",
    "extra-config": "#0a84d8",
    "parallel-compile": "#2c9a4b",
    "ninja": "#a566d6",
    "parallel": "#d0631a",
}
"""Those of the peers. Their contrast, and that of the ink, is 3 and more on white and on black."""

_WIDTH, _LEFT, _RIGHT, _TOP = 760, 150, 20, 60
_PLOT = _WIDTH - _LEFT - _RIGHT

Bar = tuple[float, float, float]
"""A value, and the least and the most of its turns."""


def bars(title: str, groups: Mapping[str, Mapping[str, Bar]], *, unit: str) -> str:
    """Groups of horizontal bars, a bar a peer, with a whisker from the least to the most."""
    peers = list(dict.fromkeys(peer for group in groups.values() for peer in group))
    most = max((bar[2] for group in groups.values() for bar in group.values()), default=1.0)
    height = _TOP + sum(14 * len(group) + 12 for group in groups.values())

    def at(value: float) -> float:
        return _LEFT + _PLOT * value / most

    body = list(_legend(peers))
    for tick in _ticks(most):
        body.append(_line(at(tick), _TOP - 8, at(tick), height, faint=True))
        body.append(_text(at(tick), height + 16, f"{tick:g}", "middle"))
    body.append(_text(_LEFT + _PLOT / 2, height + 34, unit, "middle"))
    y = _TOP
    for name, group in groups.items():
        body.append(_text(_LEFT - 8, y + 7 * len(group) + 4, name, "end"))
        for peer, (value, low, high) in group.items():
            colour = COLOURS.get(peer, INK)
            told = (
                f"<title>{escape(f'{name}, {peer}: {value:.3f} ({low:.3f} to {high:.3f})')}</title>"
            )
            width = at(value) - _LEFT
            body.append(
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="11" fill="{colour}">'
                f"{told}</rect>"
            )
            body.append(_line(at(low), y + 5.5, at(high), y + 5.5))
            y += 14
        y += 12
    return _svg(title, height + 44, body)


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str,
    y: str,
    base: int = 2,
    log_y: bool = False,
) -> str:
    """A line a peer, over numbers above 0 that grow as the powers of `base` do.

    The vertical axis begins at 0, or grows by powers of ten with `log_y`.
    """
    height = 360
    points = [point for line in series.values() for point in line] or [(1.0, 1.0)]
    across = _scale([px for px, _ in points], _LEFT, _PLOT, lambda value: math.log(value, base))
    most = max(py for _, py in points)
    if log_y:
        ticks = _log_ticks(min(py for _, py in points), most)
        up = _scale(ticks, height, _TOP - height, math.log10)
    else:
        up = _scale([0, most * 1.05], height, _TOP - height, float)
        ticks = [*_ticks(most)]
    body = list(_legend(list(series)))
    for tick in ticks:
        body.append(_line(_LEFT, up(tick), _LEFT + _PLOT, up(tick), faint=True))
        body.append(_text(_LEFT - 8, up(tick) + 4, f"{tick:g}", "end"))
    values = sorted({px for px, _ in points})
    body += [_text(across(value), height + 18, f"{value:g}", "middle") for value in values]
    body.append(_text(_LEFT + _PLOT / 2, height + 38, x, "middle"))
    body.append(_text(12, (height + _TOP) / 2, y, "start"))
    for peer, line in series.items():
        colour = COLOURS.get(peer, INK)
        places = [(across(px), up(py)) for px, py in line]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>' for px, py in places
        ]
    return _svg(title, height + 48, body)


def _scale(
    values: Sequence[float], start: float, length: float, of: Callable[[float], float]
) -> Callable[[float], float]:
    low, high = of(min(values)), of(max(values))
    return lambda value: start + length * (of(value) - low) / ((high - low) or 1)


def _ticks(most: float) -> Iterator[float]:
    """Round numbers from 0 up to `most`, four to nine of them."""
    power = 10 ** math.floor(math.log10(most)) if most > 0 else 1
    step = next(part * power for part in (0.2, 0.5, 1) if most / (part * power) <= 8)
    yield from (number * step for number in range(int(most / step + 1e-9) + 1))


def _log_ticks(least: float, most: float) -> list[float]:
    """Numbers that begin with 1, 2 or 5, from the last one below to the first one above."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    round_ones = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    low = max(number for number in round_ones if number <= least)
    high = min(number for number in round_ones if number >= most)
    return [number for number in round_ones if low <= number <= high]


def _legend(names: Sequence[str]) -> Iterator[str]:
    x = float(_LEFT)
    for name in names:
        colour = COLOURS.get(name, INK)
        yield f'<rect x="{x:.1f}" y="32" width="10" height="10" fill="{colour}"/>'
        yield _text(x + 14, 41, name, "start")
        x += 26 + 6.6 * len(name)


def _line(x1: float, y1: float, x2: float, y2: float, *, faint: bool = False) -> str:
    style = ' stroke-opacity="0.35"' if faint else ' stroke-width="1.5"'
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{INK}"{style}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, height: float, body: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}"',
            f' role="img" font-family="sans-serif" font-size="12" fill="{INK}">',
            f"<title>{escape(title)}</title>",
            f'<text x="{_LEFT}" y="18" font-size="14">{escape(title)}</text>',
            *body,
            "</svg>",
            "",
        ]
    )
