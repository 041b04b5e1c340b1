"""What a forest plot shows, apart from how it is drawn: groups of rows, summaries, and an axis.

`qis.synthesis.forest_picture` lays it out, `qis.synthesis.forest_text` writes it in letters.
"""

import math
from dataclasses import dataclass
from typing import Final

from qis.errors import InputError
from qis.synthesis.scale import Interval, Scale

_SHOWN_HALF_WIDTHS: Final = 4.0
"""The axis shows this many typical half-widths around the summaries; the rest gets arrows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """A row of a forest plot: one site.

    Parameters
    ----------
    label
        Shown as text, whatever it contains.
    estimate
        On the scale of the synthesis (logarithm for ratios); `None` if the site has none.
    interval
        Limits on the same scale, which may be infinite; `None` if the site says nothing.
    weight
        Share of the synthesis, 0-1, if it has one.
    cells
        One text for each of the forest's columns, such as "3/40".

    """

    label: str
    estimate: float | None
    interval: Interval | None
    weight: float | None = None
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestSummary:
    """A summary below the rows of a forest plot, drawn as a diamond.

    Parameters
    ----------
    label
        For example "Fixed effect".
    estimate, interval
        On the scale of the synthesis (logarithm for ratios); limits may be infinite. Without an
        estimate the interval is drawn as a line, as prediction intervals are.
    weight
        Share of the rows above it.
    cells
        As of a row, the totals.
    is_chosen
        True if it is of the model that was asked for; the other's is paler.
    is_model
        False for a range that is no model's answer, such as a prediction interval.

    """

    label: str
    estimate: float | None
    interval: Interval
    weight: float | None = None
    cells: tuple[str, ...] = ()
    is_chosen: bool = True
    is_model: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestGroup:
    """Rows under a heading of their own, with what they say together.

    Parameters
    ----------
    rows
        From top to bottom.
    heading
        Empty if there is but one group.
    subtotal
        Summary of these rows, if there is one.

    """

    rows: tuple[ForestRow, ...]
    heading: str = ""
    subtotal: ForestSummary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """All that a forest plot shows.

    Parameters
    ----------
    title
        The question.
    scale
        How numbers are shown.
    groups
        Rows by group, one row or more.
    summaries
        From top to bottom.
    columns
        Headings of the columns of counts, each of two lines: ``("drug", "events/n")``.
    heading
        Heading of the column of labels.
    weights_of
        Name of the model that the weights are of.
    favours
        What lies to the left and to the right of no effect.
    notes
        Lines under the summaries, such as on heterogeneity.
    limits
        Ends of the axis if it is not to choose them itself, on the scale of the estimates.

    """

    title: str
    scale: Scale
    groups: tuple[ForestGroup, ...]
    summaries: tuple[ForestSummary, ...]
    columns: tuple[tuple[str, str], ...] = ()
    heading: str = "Site"
    weights_of: str = ""
    favours: tuple[str, str] = ("", "")
    notes: tuple[str, ...] = ()
    limits: Interval | None = None

    def __post_init__(self) -> None:
        if not self.rows:
            raise InputError("a forest plot needs one row or more", field="rows", actual=0, limit=1)

    @property
    def rows(self) -> tuple[ForestRow, ...]:
        """The rows of all groups."""
        return tuple(row for group in self.groups for row in group.rows)

    @property
    def all_summaries(self) -> tuple[ForestSummary, ...]:
        """Subtotals of the groups, and the summaries below them."""
        subtotals = (group.subtotal for group in self.groups if group.subtotal is not None)
        return (*subtotals, *self.summaries)

    @property
    def shows_weights(self) -> bool:
        """True if any row has a weight."""
        return any(row.weight is not None for row in self.rows)

    def axis(self) -> Interval:
        """The ends of the axis: no effect, all summaries, and what is near enough of the rows."""
        if self.limits is not None:
            return self.limits
        shown = [0.0] if self.scale.has_null else []
        for summary in self.all_summaries:
            shown += [x for x in summary.interval if math.isfinite(x)]
            if summary.estimate is not None:
                shown.append(summary.estimate)
        shown += [row.estimate for row in self.rows if row.estimate is not None]
        limits_of_rows = [x for row in self.rows for x in row.interval or () if math.isfinite(x)]
        widths = sorted(
            0.5 * (row.interval[1] - row.interval[0])
            for row in self.rows
            if row.interval is not None and all(map(math.isfinite, row.interval))
        )
        reach = _SHOWN_HALF_WIDTHS * widths[len(widths) // 2] if widths else 1.0
        low, high = (min(shown), max(shown)) if shown else (0.0, 0.0)
        inside = [x for x in limits_of_rows if low - reach <= x <= high + reach]
        low, high = min([low, *inside]), max([high, *inside])
        if not high > low:
            low, high = low - 1.0, high + 1.0
        margin = 0.04 * (high - low)
        return self.scale.within(low - margin, high + margin)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Positions on the axis (on the scale of the estimates) with their labels."""
        return self.scale.ticks(*self.axis())
