"""A forest plot as a small SVG, for notebooks and reports: no dependencies, no scripts, no ids."""

import math
from html import escape
from typing import Final

from qis.synthesis.forest import Forest, ForestRow, ForestSummary, Interval, thousands

_ROW: Final = 20
_TOP: Final = 44
_LABEL, _N, _PLOT, _NUMBERS, _WEIGHT = 170, 50, 300, 170, 60
_INK, _FAINT, _SITE, _SUMMARY = "#222", "#999", "#1f4e8c", "#b03030"
_PREDICTION: Final = "#d89090"
_MOST_LETTERS: Final = 24


def forest_svg(forest: Forest) -> str:
    """The plot as an ``<svg>`` element that may stand in a page of HTML.

    Text is escaped and cut at 24 letters (the whole of it is in a tooltip), so that a label from
    a stranger can neither add markup nor move the rest.
    """
    return _Drawing(forest).svg()


class _Drawing:
    """Positions of columns and the axis, and the parts drawn there."""

    def __init__(self, forest: Forest) -> None:
        self._forest = forest
        self._low, self._high = forest.axis()
        self._n = _LABEL
        self._left = _LABEL + (_N if forest.shows_n else 0)
        self._right = self._left + _PLOT
        self._text = self._right + 12
        self._weight = self._text + _NUMBERS + _WEIGHT
        self.width = self._weight if forest.shows_weights else self._text + _NUMBERS
        self._lines = len(forest.rows) + len(forest.summaries)
        self._bottom = _TOP + _ROW * self._lines + 8

    def svg(self) -> str:
        forest = self._forest
        parts = [_text(0, 14, forest.title, weight="bold", letters=90), *self._header()]
        parts += self._axis()
        for i, row in enumerate(forest.rows):
            parts += self._row(row, _TOP + _ROW * i + _ROW // 2)
        for i, summary in enumerate(forest.summaries, start=len(forest.rows)):
            parts += self._summary(summary, _TOP + _ROW * i + _ROW // 2 + 4)
        height = self._bottom + 38
        if forest.note:
            height += 18
            parts.append(_text(0, height - 6, forest.note, colour="#555", letters=110))
        label = escape(f"Forest plot: {forest.title}", quote=True)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
            f'viewBox="0 0 {self.width} {height}" width="{self.width}" height="{height}" '
            f'font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'
        )

    def _header(self) -> list[str]:
        parts = [_text(0, 34, "Site", colour="#555")]
        if self._forest.shows_n:
            parts.append(_text(self._n + _N - 12, 34, "n", colour="#555", anchor="end"))
        parts.append(_text(self._text, 34, self._forest.heading, colour="#555"))
        if self._forest.shows_weights:
            parts.append(_text(self._weight, 34, "weight", colour="#555", anchor="end"))
        parts.append(_line(0, _TOP - 4, self.width, _TOP - 4, (_INK, 0.8)))
        return parts

    def _axis(self) -> list[str]:
        y = self._bottom
        parts = [_line(self._left, y, self._right, y, (_INK, 0.8))]
        for tick, label in self._forest.ticks():
            x = self._x(tick)
            parts.append(_line(x, y, x, y + 4, (_INK, 0.8)))
            parts.append(_text(x, y + 16, label, anchor="middle", size=11))
        middle = 0.5 * (self._left + self._right)
        parts.append(
            _text(middle, y + 31, self._forest.axis_label, anchor="middle", size=11, letters=60)
        )
        if self._forest.has_null:
            zero = self._x(0.0)
            parts.append(_line(zero, _TOP - 4, zero, y, (_FAINT, 1.0)))
        return parts

    def _row(self, row: ForestRow, y: float) -> list[str]:
        parts = [_text(0, y + 4, row.label)]
        if row.n is not None:
            parts.append(_text(self._n + _N - 12, y + 4, thousands(row.n), anchor="end"))
        if row.interval is not None:
            parts += self._whiskers(row.interval, y, _SITE)
        if row.estimate is not None:
            half = 2.0 + 4.5 * math.sqrt(row.weight) if row.weight is not None else 3.0
            x = self._x(row.estimate)
            parts.append(
                f'<rect x="{x - half:.1f}" y="{y - half:.1f}" width="{2 * half:.1f}" '
                f'height="{2 * half:.1f}" fill="{_SITE}"/>'
            )
        parts.append(_text(self._text, y + 4, self._forest.numbers(row.estimate, row.interval)))
        if row.weight is not None:
            share = f"{100 * row.weight:.1f} %"
            parts.append(_text(self._weight, y + 4, share, anchor="end"))
        return parts

    def _summary(self, summary: ForestSummary, y: float) -> list[str]:
        parts = [_text(0, y + 4, summary.label, weight="bold")]
        if summary.prediction is not None:
            parts += self._whiskers(summary.prediction, y, _PREDICTION)
        if summary.estimate is None or not all(map(math.isfinite, summary.interval)):
            parts += self._whiskers(summary.interval, y, _SUMMARY)
        else:
            low, high = (self._x(limit) for limit in summary.interval)
            middle = self._x(summary.estimate)
            corners = f"{low:.1f},{y} {middle:.1f},{y - 6} {high:.1f},{y} {middle:.1f},{y + 6}"
            parts.append(f'<polygon points="{corners}" fill="{_SUMMARY}"/>')
        numbers = self._forest.numbers(summary.estimate, summary.interval)
        parts.append(_text(self._text, y + 4, numbers, weight="bold"))
        return parts

    def _whiskers(self, interval: Interval, y: float, colour: str) -> list[str]:
        """A line over the interval, with an arrow where it leaves the axis."""
        low, high = (self._x(limit) for limit in interval)
        parts = [_line(low, y, high, y, (colour, 1.4))]
        if interval[0] < self._low:
            parts.append(_arrow(low, y, 5.0, colour))
        if interval[1] > self._high:
            parts.append(_arrow(high, y, -5.0, colour))
        return parts

    def _x(self, value: float) -> float:
        share = (min(max(value, self._low), self._high) - self._low) / (self._high - self._low)
        return self._left + share * _PLOT


def _line(x1: float, y1: float, x2: float, y2: float, stroke: tuple[str, float]) -> str:
    colour, width = stroke
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}" stroke-width="{width}"/>'
    )


def _arrow(x: float, y: float, back: float, colour: str) -> str:
    corners = f"{x:.1f},{y} {x + back:.1f},{y - 4} {x + back:.1f},{y + 4}"
    return f'<polygon points="{corners}" fill="{colour}"/>'


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    colour: str = _INK,
    weight: str = "normal",
    size: int = 12,
    letters: int = _MOST_LETTERS,
) -> str:
    cut = words if len(words) <= letters else words[: letters - 1] + "…"
    tooltip = f"<title>{escape(words)}</title>" if cut != words else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}" font-size="{size}">{escape(cut)}{tooltip}</text>'
    )
