"""The layout of a forest plot, as journals print it: labels, counts, plot, weights, numbers."""

import math
from collections.abc import Iterator
from textwrap import wrap
from typing import Final, Literal

from qis.picture import Area, Axis, Element, Line, Picture, Words, cut, text_width
from qis.picture.elements import GREY, INK
from qis.synthesis.forest import Forest, ForestRow, ForestSummary
from qis.synthesis.forest_text import forest_text
from qis.synthesis.scale import Interval, share

_MARGIN: Final = 10.0
_ROW: Final = 20.0
_PLOT: Final = 280.0
_GAP: Final = 16.0
_WIDEST_LABEL: Final = 240.0
_WIDEST_COLUMN: Final = 110.0
_INDENT: Final = 10.0
_SITE, _CHOSEN, _OTHER, _FAINT = "#1f4e8c", "#b03030", "#d8a0a0", "#555555"
_SMALL: Final = 11.0


def forest_picture(forest: Forest) -> Picture:
    """Lay the plot out. Text is cut where it is too long, so that no label moves the rest."""
    layout = _Layout(forest)
    elements = tuple(layout.elements())
    return Picture(
        title=f"Forest plot: {forest.title}",
        width=layout.width,
        height=layout.height,
        elements=elements,
        axis=layout.axis,
        text=forest_text(forest),
    )


class _Layout:
    """Where the columns are, and a pen that goes down the page."""

    def __init__(self, forest: Forest) -> None:
        self._forest = forest
        self._indent = _INDENT if any(group.heading for group in forest.groups) else 0.0
        labels = [row.label for row in forest.rows]
        widest = max([text_width(label) + self._indent for label in labels])
        # Subtotals stand as far in as their sites.
        summaries = [text_width(s.label, is_bold=True) + self._indent for s in forest.all_summaries]
        headings = [text_width(g.heading, is_bold=True) for g in forest.groups]
        self._labels = min(max([60.0, widest, *summaries, *headings]), _WIDEST_LABEL)
        x = _MARGIN + self._labels
        self._columns: list[float] = []
        for index, heading in enumerate(forest.columns):
            x += _GAP + self._column_width(index, heading)
            self._columns.append(x)
        left = x + _GAP
        self.axis = Axis(left, left + _PLOT, *forest.axis())
        x = self.axis.right
        if forest.shows_weights:
            x += _GAP + 52.0
        self._weights = x
        numbers = [forest.scale.numbers(row.estimate, row.interval) for row in forest.rows]
        bold = [self._numbers_of(summary) for summary in forest.all_summaries]
        x += _GAP + max(
            text_width(forest.scale.heading, is_bold=True),
            *map(text_width, numbers),
            *(text_width(text, is_bold=True) for text in bold),
        )
        self._numbers = x
        self.width = x + _MARGIN
        self.height = 0.0
        self._y = 0.0

    def _column_width(self, index: int, heading: tuple[str, str]) -> float:
        cells = [row.cells[index] for row in self._forest.rows]
        totals = [s.cells[index] for s in self._forest.all_summaries if s.cells]
        widths = [text_width(cell) for cell in cells]
        widths += [text_width(total, is_bold=True) for total in totals]
        widths += [text_width(line, is_bold=True) for line in heading]
        return min(max(widths), _WIDEST_COLUMN)

    def elements(self) -> Iterator[Element]:
        """All elements, from back to front; afterwards the height is known."""
        forest = self._forest
        self._y = 20.0
        yield self._words(
            _MARGIN, forest.title, self.width - 2.0 * _MARGIN, size=13.0, is_bold=True
        )
        yield from self._header()
        top = self._y
        rows: list[Element] = []
        for group in forest.groups:
            if group.heading:
                rows.append(self._words(_MARGIN, group.heading, self._labels, is_bold=True))
                self._y += _ROW
            for row in group.rows:
                rows += self._row(row)
            if group.subtotal is not None:
                rows += self._summary(group.subtotal, self._indent)
        rule = self._y - 14.0
        rows.append(Line(((_MARGIN, rule), (self.width - _MARGIN, rule)), INK, 0.8))
        self._y += 6.0
        for summary in forest.summaries:
            rows += self._summary(summary, 0.0)
        bottom = self._y - 12.0
        yield from self._verticals(top - 14.0, bottom)
        yield from rows
        yield from self._foot(bottom)

    def _header(self) -> Iterator[Element]:
        forest = self._forest
        two_lines = any(upper for upper, _ in forest.columns)
        self._y += 24.0 if two_lines else 22.0
        if two_lines:
            for x, (upper, _) in zip(self._columns, forest.columns, strict=True):
                yield self._words(x, upper, _WIDEST_COLUMN, "end", is_bold=True)
            self._y += 15.0
        yield self._words(_MARGIN, forest.heading, self._labels, is_bold=True)
        for x, (_, lower) in zip(self._columns, forest.columns, strict=True):
            yield self._words(x, lower, _WIDEST_COLUMN, "end", is_bold=True)
        if forest.shows_weights:
            yield self._words(self._weights, "weight", 60.0, "end", is_bold=True)
        yield self._words(self._numbers, forest.scale.heading, 300.0, "end", is_bold=True)
        y = self._y + 7.0
        yield Line(((_MARGIN, y), (self.width - _MARGIN, y)), INK, 0.8)
        self._y += 24.0

    def _row(self, row: ForestRow) -> Iterator[Element]:
        width = self._labels - self._indent
        yield self._words(_MARGIN + self._indent, row.label, width)
        for x, cell in zip(self._columns, row.cells, strict=True):
            yield self._words(x, cell, _WIDEST_COLUMN, "end")
        if row.interval is not None:
            yield from self._whiskers(row.interval, _SITE)
        if row.estimate is not None and self._is_inside(row.estimate):
            half = 2.0 + 5.0 * math.sqrt(row.weight) if row.weight is not None else 3.0
            x, y = self.axis.x(row.estimate), self._y - 4.0
            corners = ((-half, -half), (half, -half), (half, half), (-half, half))
            yield Area(tuple((x + dx, y + dy) for dx, dy in corners), _SITE)
        if row.weight is not None:
            yield self._words(self._weights, share(row.weight), 60.0, "end")
        numbers = self._forest.scale.numbers(row.estimate, row.interval)
        yield self._words(self._numbers, numbers, 300.0, "end")
        self._y += _ROW

    def _summary(self, summary: ForestSummary, indent: float) -> Iterator[Element]:
        width = self._labels - indent
        bold = summary.is_chosen
        yield self._words(_MARGIN + indent, summary.label, width, is_bold=bold)
        if summary.cells:
            for x, cell in zip(self._columns, summary.cells, strict=True):
                yield self._words(x, cell, _WIDEST_COLUMN, "end", is_bold=bold)
        colour = _CHOSEN if summary.is_chosen else _OTHER
        y = self._y - 4.0
        estimate, (low, high) = summary.estimate, summary.interval
        if estimate is None or not (self._is_inside(low) and self._is_inside(high)):
            yield from self._whiskers(summary.interval, colour)
        if estimate is not None and self._is_inside(estimate):
            ends = self.axis.x(low), self.axis.x(estimate), self.axis.x(high)
            yield Area(((ends[0], y), (ends[1], y - 6.0), (ends[2], y), (ends[1], y + 6.0)), colour)
        if summary.weight is not None:
            yield self._words(self._weights, share(summary.weight), 60.0, "end", is_bold=bold)
        yield self._words(self._numbers, self._numbers_of(summary), 300.0, "end", is_bold=bold)
        self._y += _ROW

    def _numbers_of(self, summary: ForestSummary) -> str:
        if summary.estimate is None and not summary.is_model:
            return self._forest.scale.limits(summary.interval)
        return self._forest.scale.numbers(summary.estimate, summary.interval)

    def _is_inside(self, value: float) -> bool:
        return self.axis.low <= value <= self.axis.high

    def _whiskers(self, interval: Interval, colour: str) -> Iterator[Element]:
        """A line over the interval, with an arrow where it leaves the axis, else a stroke."""
        y = self._y - 4.0
        low, high = (self.axis.x(limit) for limit in interval)
        if interval[1] >= self.axis.low and interval[0] <= self.axis.high:
            yield Line(((low, y), (high, y)), colour, 1.4)
        for limit, x, inwards in ((interval[0], low, 6.0), (interval[1], high, -6.0)):
            if self._is_inside(limit):
                yield Line(((x, y - 3.0), (x, y + 3.0)), colour, 1.2)
            elif (limit < self.axis.low) == (inwards > 0.0):
                yield Area(((x, y), (x + inwards, y - 4.0), (x + inwards, y + 4.0)), colour)

    def _verticals(self, top: float, bottom: float) -> Iterator[Element]:
        if self._forest.scale.has_null and self._is_inside(0.0):
            x = self.axis.x(0.0)
            yield Line(((x, top), (x, bottom)), GREY, 1.0)
        chosen = next((s.estimate for s in self._forest.summaries if s.is_chosen), None)
        if chosen is not None and self._is_inside(chosen):
            x = self.axis.x(chosen)
            yield Line(((x, top), (x, bottom)), _CHOSEN, 0.8, is_dashed=True)

    def _foot(self, y: float) -> Iterator[Element]:
        """The axis, what each side favours, and the notes."""
        forest, axis = self._forest, self.axis
        yield Line(((axis.left, y), (axis.right, y)), INK, 1.0)
        for value, label in forest.ticks():
            x = axis.x(value)
            yield Line(((x, y), (x, y + 4.0)), INK, 1.0)
            yield Words(x, y + 16.0, label, "middle", _SMALL)
        middle = 0.5 * (axis.left + axis.right)
        self._y = y + 32.0
        yield Words(middle, self._y, forest.scale.axis_label, "middle", _SMALL)
        if any(forest.favours):
            self._y += 16.0
            null = min(max(axis.x(0.0), axis.left + 60.0), axis.right - 60.0)
            left, right = forest.favours
            left_width, right_width = null - _MARGIN, self.width - null - _MARGIN
            yield self._words(null - 8.0, f"← {left}", left_width, "end", size=_SMALL)
            yield self._words(null + 8.0, f"{right} →", right_width, size=_SMALL)
        self._y += 8.0
        letters = max(int((self.width - 2.0 * _MARGIN) / 6.2), 30)
        for note in forest.notes:
            for line in wrap(note, letters):
                self._y += 15.0
                yield Words(_MARGIN, self._y, line, "start", _SMALL, colour=_FAINT)
        self.height = self._y + 12.0

    def _words(
        self,
        x: float,
        text: str,
        width: float,
        anchor: Literal["start", "end"] = "start",
        *,
        size: float = 12.0,
        is_bold: bool = False,
    ) -> Words:
        short = cut(text, width + 1.0, size, is_bold=is_bold)
        whole = "" if short == text else text
        return Words(x, self._y, short, anchor, size, is_bold, whole=whole)
