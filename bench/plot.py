"""Curves as SVG, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

Line = Mapping[int, float]

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 56, 40
_FONT = 'font-family="sans-serif" font-size="12"'
_COLOURS = "#0b6e99", "#b3541e", "#4a7c3a"
_UNITS = (1_000_000, "MB"), (1000, "KB")


def curves(title: str, lines: Mapping[str, Line]) -> str:
    """A drawing of the lines, by name, each from a size in bytes to a figure."""
    axes = _Axes(
        [x for line in lines.values() for x in line],
        [y for line in lines.values() for y in line.values()],
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 20, title, "start"),
        *axes.grid(),
    ]
    for number, (name, line) in enumerate(lines.items()):
        parts += axes.line(line, _COLOURS[number])
        parts.append(_text(_LEFT + 220 * number, 40, f"● {name}", "start", _COLOURS[number]))
    return "\n".join([*parts, "</svg>", ""])


class _Axes:
    """From figures to places."""

    def __init__(self, xs: Sequence[int], ys: Sequence[float]) -> None:
        self._xs = sorted(set(xs))
        self._decades = range(math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys))) + 1)

    def x(self, value: float) -> float:
        """From the left."""
        first, last = math.log(self._xs[0]), math.log(self._xs[-1])
        share = (math.log(value) - first) / ((last - first) or 1)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """From the top."""
        share = (math.log10(value) - self._decades[0]) / ((len(self._decades) - 1) or 1)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def grid(self) -> Iterator[str]:
        """A line for each decade, and the sizes below."""
        for power in self._decades:
            y = self.y(10.0**power)
            yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
            yield _text(_LEFT - 6, y + 4, f"{10.0**power:g}", "end")
        for size in self._xs:
            yield _text(self.x(size), _HEIGHT - _BOTTOM + 20, _size(size), "middle")

    def line(self, line: Line, colour: str) -> Iterator[str]:
        """One curve and its points."""
        points = [(self.x(size), self.y(figure)) for size, figure in sorted(line.items())]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for x, y in points:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {where}>{escape(text)}</text>"


def _size(size: int) -> str:
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} B"
