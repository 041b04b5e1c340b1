"""What a forest plot shows, apart from how it is drawn: rows, summaries, an axis and its ticks.

`qis.synthesis.forest_svg` draws it as a small inline SVG, `qis.synthesis.forest_figure` with
matplotlib; both from the same `Forest`, so that they cannot differ.
"""

import math
from dataclasses import dataclass
from typing import Final

from qis.errors import InputError
from qis.outcomes import measure_named

Interval = tuple[float, float]

_RATIO_STEPS: Final = (1.0, 2.0, 5.0)
_MOST_TICKS: Final = 7
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
        On the scale of the synthesis (logarithm for ratios); None if the site has none.
    interval
        Limits on the same scale, which may be infinite; None if the site says nothing.
    weight
        Share of the synthesis, 0-1, if it has one.
    n
        People, if known.

    """

    label: str
    estimate: float | None
    interval: Interval | None
    weight: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestSummary:
    """A summary below the rows of a forest plot, drawn as a diamond.

    Parameters
    ----------
    label
        For example "Fixed effect".
    estimate, interval
        On the scale of the synthesis (logarithm for ratios); limits may be infinite. Without an
        estimate the interval is drawn as a line.
    prediction
        Prediction interval, drawn as a thin line through the diamond, if there is one.

    """

    label: str
    estimate: float | None
    interval: Interval
    prediction: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """All that a forest plot shows.

    Parameters
    ----------
    title
        The question.
    measure
        A name from `qis.outcomes.MEASURES`; ratios get a logarithmic axis.
    rows, summaries
        Sites and diamonds, from top to bottom; one row or more.
    note
        A line under the plot, such as tau and I².
    level
        Coverage of the intervals.

    """

    title: str
    measure: str
    rows: tuple[ForestRow, ...]
    summaries: tuple[ForestSummary, ...]
    note: str = ""
    level: float = 0.95

    def __post_init__(self) -> None:
        measure_named(self.measure)
        if not self.rows:
            raise InputError("a forest plot needs one row or more", field="rows", actual=0, limit=1)

    @property
    def is_ratio(self) -> bool:
        """True if the axis shows exponentials of the estimates."""
        return measure_named(self.measure).is_logarithmic

    @property
    def has_null(self) -> bool:
        """True if 0 means no effect, which the plot then shows as a line."""
        return measure_named(self.measure).has_null

    @property
    def _is_share(self) -> bool:
        return measure_named(self.measure).scale == "logit"

    @property
    def heading(self) -> str:
        """The heading of the column of numbers, for example "OR [95 %]"."""
        return f"{self.measure} [{100 * self.level:g} %]"

    @property
    def axis_label(self) -> str:
        """The measure in words, with its scale."""
        words = measure_named(self.measure).label
        if self._is_share:
            return f"{words} in percent (logit scale)"
        return f"{words} (logarithmic scale)" if self.is_ratio else words

    @property
    def shows_n(self) -> bool:
        """True if any row knows its number of people."""
        return any(row.n is not None for row in self.rows)

    @property
    def shows_weights(self) -> bool:
        """True if any row has a weight."""
        return any(row.weight is not None for row in self.rows)

    def numbers(self, estimate: float | None, interval: Interval | None) -> str:
        """Estimate and limits as text on the shown scale."""
        if interval is None:
            return "no information"
        low, high = (self.number(limit) for limit in interval)
        middle = "no estimate" if estimate is None else self.number(estimate)
        return f"{middle} [{low}, {high}]"

    def number(self, value: float) -> str:
        """One value as text on the shown scale, with three digits or two decimals."""
        if self._is_share:
            return f"{percent(measure_named(self.measure).back(value))} %"
        # exp(700) is near the largest float64; a greater ratio is shown as that.
        shown = math.exp(min(value, 700.0)) if self.is_ratio else value
        if math.isinf(value):
            return ("0" if self.is_ratio else "−∞") if value < 0 else "∞"
        size = abs(shown)
        if size and not 0.01 <= size < 1e5:
            text = f"{shown:.2g}"
        elif size < 10.0:
            text = f"{shown:.2f}"
        else:
            text = f"{shown:.1f}" if size < 100.0 else f"{shown:.0f}"
        return text.replace("-", "−")

    def axis(self) -> Interval:
        """The ends of the axis: no effect, all summaries, and what is near enough of the rows."""
        shown = [0.0] if self.has_null else []
        for summary in self.summaries:
            limits = (*summary.interval, *(summary.prediction or ()))
            shown += [x for x in limits if math.isfinite(x)]
            if summary.estimate is not None:
                shown.append(summary.estimate)
        estimates = [row.estimate for row in self.rows if row.estimate is not None]
        shown += estimates
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
        return low - margin, high + margin

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Positions on the axis (on the scale of the estimates) with their labels."""
        low, high = self.axis()
        if self._is_share:
            return _share_ticks(low, high)
        positions = _ratio_ticks(low, high) if self.is_ratio else _linear_ticks(low, high)
        return tuple((x, _tick_label(x, ratio=self.is_ratio)) for x in positions)


def percent(share: float) -> str:
    """A share in [0, 1] in percent, with as many decimals as keep it from 0 and from 100."""
    rest = 100.0 * min(share, 1.0 - share)
    decimals = 1 if rest == 0.0 or rest >= 0.1 else min(math.ceil(-math.log10(rest)) + 1, 8)
    return f"{100.0 * share:.{decimals}f}"


def _share_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Round percentages within the axis, whose ends are log odds; at most seven."""
    small = [step * 10.0**power for power in range(-8, 1) for step in (1.0, 2.0, 5.0)]
    below = [*small, 10.0, 20.0, 30.0, 40.0]
    shares = [*below, 50.0, *(100.0 - share for share in reversed(below))]
    inside = [share for share in shares if low <= math.log(share / (100.0 - share)) <= high]
    chosen = inside[:: math.ceil(len(inside) / _MOST_TICKS) or 1]
    return tuple((math.log(share / (100.0 - share)), f"{share:.8g}") for share in chosen)


def thousands(count: int) -> str:
    """A count with thin spaces between its thousands."""
    return f"{count:,}".replace(",", "\u202f")


def _ratio_ticks(low: float, high: float) -> list[float]:
    ln10 = math.log(10.0)
    decades = range(math.floor(low / ln10), math.ceil(high / ln10) + 1)
    inside: list[float] = []
    # As many ticks in each decade as fit: 1-2-5, else 1-3, else 1.
    for steps in (_RATIO_STEPS, (1.0, 3.0), (1.0,)):
        positions = [math.log(step) + ln10 * decade for decade in decades for step in steps]
        inside = [x for x in positions if low <= x <= high]
        if len(inside) <= _MOST_TICKS:
            break
    if len(inside) > _MOST_TICKS:
        # Some of them at equal steps, counted so that the tick of no effect stays.
        stride = math.ceil(len(inside) / _MOST_TICKS)
        zero = min(range(len(inside)), key=lambda i: abs(inside[i]))
        inside = inside[zero % stride :: stride]
    if len(inside) >= 3:
        return inside
    # Within a decade or so: equal steps of the ratio itself.
    return [
        math.log(shown)
        for shown in _linear_ticks(math.exp(low), math.exp(high))
        if shown > 0.0 and low <= math.log(shown) <= high
    ]


def _linear_ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / (_MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1.0, 2.0, 5.0, 10.0) if power * m >= rough * (1.0 - 1e-9))
    first, last = math.ceil(low / step), math.floor(high / step)
    return [i * step for i in range(first, last + 1)]


def _tick_label(x: float, *, ratio: bool) -> str:
    return f"{math.exp(x) if ratio else x:.8g}".replace("-", "−")
