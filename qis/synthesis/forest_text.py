"""A forest plot in letters, for terminals and for pages that show no pictures."""

import math
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

from qis.synthesis.forest import Forest, ForestRow, ForestSummary
from qis.synthesis.scale import Interval, share

_PLOT: Final = 35
_WIDEST_LABEL: Final = 40
_WIDEST_NOTE: Final = 100


def forest_text(forest: Forest) -> str:
    """The plot as lines of text; each column is as wide as its widest cell."""
    plot = _Plot(forest)
    lines = [_cells_of(forest, plot, line) for line in _lines(forest)]
    lines.insert(0, _headings(forest))
    widths = [max(len(line[i]) for line in lines if len(line) > 1) for i in range(len(lines[0]))]
    shown = [
        line[0] if len(line) == 1 else _aligned(line, widths, len(forest.columns)) for line in lines
    ]
    before = widths[0] + sum(width + 2 for width in widths[1 : 1 + len(forest.columns)]) + 2
    foot = [" " * before + row for row in plot.foot()]
    notes = [line for note in forest.notes for line in wrap(note, _WIDEST_NOTE)]
    text = [forest.title, *shown, *foot, *notes]
    return "\n".join(line.rstrip() for line in text)


def _lines(forest: Forest) -> Iterator[str | ForestRow | ForestSummary]:
    for group in forest.groups:
        if group.heading:
            yield group.heading
        yield from group.rows
        if group.subtotal is not None:
            yield group.subtotal
    yield from forest.summaries


def _headings(forest: Forest) -> list[str]:
    columns = [" ".join(filter(None, heading)) for heading in forest.columns]
    weights = ["weight"] if forest.shows_weights else []
    return [forest.heading, *columns, " " * _PLOT, *weights, forest.scale.heading]


def _cells_of(forest: Forest, plot: "_Plot", line: str | ForestRow | ForestSummary) -> list[str]:
    if isinstance(line, str):
        return [line]
    label = (
        line.label if len(line.label) <= _WIDEST_LABEL else f"{line.label[: _WIDEST_LABEL - 1]}…"
    )
    cells = list(line.cells) or [""] * len(forest.columns)
    weights = ["" if line.weight is None else share(line.weight)]
    interval = line.interval
    numbers = forest.scale.numbers(line.estimate, interval)
    if isinstance(line, ForestSummary) and not line.is_model:
        numbers = forest.scale.limits(line.interval)
    mark = "■" if isinstance(line, ForestRow) else "◆"
    drawn = plot.row(line.estimate, interval, mark)
    return [label, *cells, drawn, *(weights if forest.shows_weights else []), numbers]


def _aligned(cells: Sequence[str], widths: Sequence[int], columns: int) -> str:
    """The label and the plot on the left of their columns, all else on the right."""
    lefts = (0, columns + 1)
    padded = [
        cell.ljust(width) if i in lefts else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded)


class _Plot:
    """The axis, a letter for each of its steps."""

    def __init__(self, forest: Forest) -> None:
        self._low, self._high = forest.axis()
        self._ticks = forest.ticks()
        self._has_null = forest.scale.has_null and self._low <= 0.0 <= self._high

    def row(self, estimate: float | None, interval: Interval | None, mark: str) -> str:
        letters = [" "] * _PLOT
        if interval is not None and interval[1] >= self._low and interval[0] <= self._high:
            first, last = self._at(interval[0]), self._at(interval[1])
            letters[first : last + 1] = "─" * (last + 1 - first)
            if interval[0] < self._low:
                letters[first] = "←"
            if interval[1] > self._high:
                letters[last] = "→"
        if self._has_null:
            null = self._at(0.0)
            letters[null] = "│" if letters[null] == " " else "┼"
        if estimate is not None and self._low <= estimate <= self._high:
            letters[self._at(estimate)] = mark
        return "".join(letters)

    def foot(self) -> tuple[str, str]:
        """The axis with its ticks, and their labels."""
        line, labels = ["─"] * _PLOT, [" "] * (_PLOT + 8)
        end = -1
        for value, label in self._ticks:
            at = self._at(value)
            line[at] = "┬"
            start = max(at - len(label) // 2, 0)
            if start > end:  # else it would run into the one before
                labels[start : start + len(label)] = label
                end = start + len(label)
        return "".join(line), "".join(labels)

    def _at(self, value: float) -> int:
        part = (min(max(value, self._low), self._high) - self._low) / (self._high - self._low)
        return math.floor(part * (_PLOT - 1) + 0.5)
