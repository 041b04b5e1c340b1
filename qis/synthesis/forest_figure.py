"""A forest plot with matplotlib, as journals print it. Needs the extra [plot]."""

import math
from typing import Any, Final

from qis.errors import MissingExtraError
from qis.synthesis.forest import Forest, ForestRow, ForestSummary, Interval, thousands

_ROW_INCHES: Final = 0.24
_INK, _FAINT, _SITE, _SUMMARY = "#222222", "#999999", "#1f4e8c", "#b03030"
_PREDICTION: Final = "#d89090"
_MOST_LETTERS: Final = 26


def forest_figure(forest: Forest) -> Any:
    """Draw the plot.

    Returns
    -------
    matplotlib.figure.Figure
        Not registered with pyplot, so nothing has to be closed; ``.savefig(path)`` writes it as
        PNG, PDF or SVG. Labels are drawn as they are: a dollar sign starts no formula.

    Raises
    ------
    MissingExtraError
        Without matplotlib.

    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  (an extra, and slow to import)
    except ImportError as error:
        raise MissingExtraError(
            'forest plots need matplotlib: pip install "qis-protocol[plot]"', field="plot"
        ) from error
    lines = len(forest.rows) + len(forest.summaries)
    figure = Figure(figsize=(9.0, 1.55 + _ROW_INCHES * lines))
    bottom, top = 0.85 / figure.get_figheight(), 1.0 - 0.6 / figure.get_figheight()
    axes = figure.add_axes((0.30, bottom, 0.36, top - bottom))
    axes.set_ylim(lines + 0.1, -0.5)
    _frame(axes, forest, lines)
    columns = _Columns(axes, forest)
    columns.header()
    for y, row in enumerate(forest.rows):
        _draw_row(axes, forest, row, y)
        columns.row(row, y)
    for y, summary in enumerate(forest.summaries, start=len(forest.rows)):
        _draw_summary(axes, forest, summary, y + 0.2)
        columns.summary(summary, y + 0.2)
    height = figure.get_figheight()
    figure.text(0.02, 1.0 - 0.12 / height, _cut(forest.title, 90), va="top", ha="left",
                fontsize=11, fontweight="bold", color=_INK, parse_math=False)  # fmt: skip
    if forest.note:
        figure.text(0.02, 0.1 / height, forest.note, va="bottom", ha="left", fontsize=8.5,
                    color="#555555", parse_math=False)  # fmt: skip
    return figure


class _Columns:
    """The text left and right of the plot, in fractions of the axes' width."""

    def __init__(self, axes: Any, forest: Forest) -> None:
        self._axes = axes
        self._forest = forest

    def header(self) -> None:
        self._text(-0.78, -1.0, "Site", "left", weight="bold")
        if self._forest.shows_n:
            self._text(-0.06, -1.0, "n", "right", weight="bold")
        self._text(1.05, -1.0, self._forest.heading, "left", weight="bold")
        if self._forest.shows_weights:
            self._text(1.9, -1.0, "weight", "right", weight="bold")
        self._axes.plot(
            [-0.78, 1.9], [-0.55, -0.55], color=_INK, linewidth=0.8, clip_on=False,
            transform=self._axes.get_yaxis_transform(),
        )  # fmt: skip

    def row(self, row: ForestRow, y: float) -> None:
        self._text(-0.78, y, row.label, "left")
        if row.n is not None:
            self._text(-0.06, y, thousands(row.n), "right")
        self._text(1.05, y, self._forest.numbers(row.estimate, row.interval), "left")
        if row.weight is not None:
            self._text(1.9, y, f"{100 * row.weight:.1f} %", "right")

    def summary(self, summary: ForestSummary, y: float) -> None:
        self._text(-0.78, y, summary.label, "left", weight="bold")
        numbers = self._forest.numbers(summary.estimate, summary.interval)
        self._text(1.05, y, numbers, "left", weight="bold")

    def _text(self, x: float, y: float, words: str, side: str, *, weight: str = "normal") -> None:
        self._axes.text(
            x, y, _cut(words, _MOST_LETTERS), ha=side, va="center", fontsize=9, fontweight=weight,
            color=_INK, transform=self._axes.get_yaxis_transform(), clip_on=False,
            parse_math=False,
        )  # fmt: skip


def _frame(axes: Any, forest: Forest, lines: int) -> None:
    axes.set_xlim(*forest.axis())
    ticks = forest.ticks()
    axes.set_xticks([x for x, _ in ticks], [label for _, label in ticks], fontsize=8.5)
    axes.set_xlabel(forest.axis_label, fontsize=9, color=_INK)
    axes.set_yticks([])
    axes.spines[["left", "right", "top"]].set_visible(False)
    if forest.has_null:
        axes.plot([0.0, 0.0], [-0.55, lines + 0.1], color=_FAINT, linewidth=1.0, zorder=0)
    with_estimate = [s for s in forest.summaries if s.estimate is not None]
    if with_estimate:
        axes.plot(
            [with_estimate[0].estimate] * 2, [-0.55, lines - 0.1], color=_SUMMARY, linewidth=0.8,
            linestyle=(0, (3, 3)), zorder=0,
        )  # fmt: skip


def _draw_row(axes: Any, forest: Forest, row: ForestRow, y: float) -> None:
    if row.interval is not None:
        _whiskers(axes, forest, row.interval, y, _SITE)
    if row.estimate is not None:
        side = 3.0 + 7.0 * math.sqrt(row.weight) if row.weight is not None else 4.5
        axes.plot([row.estimate], [y], marker="s", markersize=side, color=_SITE, linestyle="none")


def _draw_summary(axes: Any, forest: Forest, summary: ForestSummary, y: float) -> None:
    if summary.prediction is not None:
        _whiskers(axes, forest, summary.prediction, y, _PREDICTION)
    if summary.estimate is None or not all(map(math.isfinite, summary.interval)):
        _whiskers(axes, forest, summary.interval, y, _SUMMARY)
        return
    low, high = summary.interval
    axes.fill(
        [low, summary.estimate, high, summary.estimate], [y, y - 0.3, y, y + 0.3],
        color=_SUMMARY, linewidth=0.5,
    )  # fmt: skip


def _whiskers(axes: Any, forest: Forest, interval: Interval, y: float, colour: str) -> None:
    """A line over the interval, with an arrow where it leaves the axis."""
    left, right = forest.axis()
    low, high = max(interval[0], left), min(interval[1], right)
    axes.plot([low, high], [y, y], color=colour, linewidth=1.2, solid_capstyle="butt")
    for outside, end, marker in (
        (interval[0] < left, left, "<"),
        (interval[1] > right, right, ">"),
    ):
        if outside:
            axes.plot([end], [y], marker=marker, markersize=5, color=colour, clip_on=False)


def _cut(words: str, letters: int) -> str:
    return words if len(words) <= letters else words[: letters - 1] + "…"
