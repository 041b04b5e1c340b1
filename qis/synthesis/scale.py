"""How a measure's values are shown: as text, and as ticks on an axis."""

import math
from dataclasses import dataclass
from typing import Final

from qis.outcomes import Measure, measure_named

Interval = tuple[float, float]

_RATIO_STEPS: Final = (1.0, 2.0, 5.0)
_MOST_TICKS: Final = 7
_NOISE: Final = 1e-9
"""An estimate this small beside its interval is rounding, and shown as 0."""
_FARTHEST: Final = 690.0
"""Largest logarithm on an axis; exponentials near e**709 leave float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The scale that people read: ratios for logarithms, per cent for log odds.

    Parameters
    ----------
    measure
        A name from `qis.outcomes.MEASURES`.
    level
        Coverage of the intervals.
    unit
        Unit of measures that have one, for the axis.

    """

    measure: str
    level: float = 0.95
    unit: str = ""

    def __post_init__(self) -> None:
        measure_named(self.measure)

    @property
    def _measure(self) -> Measure:
        return measure_named(self.measure)

    @property
    def is_ratio(self) -> bool:
        """True if the axis shows exponentials of the estimates."""
        return self._measure.is_logarithmic

    @property
    def has_null(self) -> bool:
        """True if 0 means no effect, which plots show as a line."""
        return self._measure.has_null

    @property
    def _is_share(self) -> bool:
        return self._measure.scale == "logit"

    @property
    def heading(self) -> str:
        """The heading of a column of numbers, for example "OR [95 %]"."""
        return f"{self.measure} [{100 * self.level:g} %]"

    @property
    def axis_label(self) -> str:
        """The measure in words, with its unit or its scale."""
        words = self._measure.label + (f" ({self.unit})" if self.unit else "")
        if self._is_share:
            return f"{words} in percent (logit scale)"
        return f"{words} (logarithmic scale)" if self.is_ratio else words

    def numbers(self, estimate: float | None, interval: Interval | None) -> str:
        """Estimate and limits as text."""
        if interval is None:
            return "no information"
        if estimate is not None and abs(estimate) < _NOISE * (interval[1] - interval[0]) < math.inf:
            estimate = 0.0
        middle = "no estimate" if estimate is None else self.number(estimate)
        return f"{middle} {self.limits(interval)}"

    def limits(self, interval: Interval) -> str:
        """Limits as text, in brackets."""
        low, high = (self.number(limit) for limit in interval)
        return f"[{low}, {high}]"

    def number(self, value: float) -> str:
        """One value as text, with three digits or two decimals."""
        if self._is_share:
            return f"{percent(self._measure.back(value))} %"
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

    def value(self, shown: float) -> float:
        """The inverse of what is shown: a ratio's logarithm; NaN where there is none."""
        if self.is_ratio:
            return math.log(shown) if shown > 0.0 else math.nan
        if self._is_share:
            return math.log(shown / (1.0 - shown)) if 0.0 < shown < 1.0 else math.nan
        return shown

    def within(self, low: float, high: float) -> Interval:
        """The ends of an axis, drawn in to where ratios can be computed."""
        if not self.is_ratio:
            return low, high
        return max(low, -_FARTHEST), min(high, _FARTHEST)

    def ticks(self, low: float, high: float) -> tuple[tuple[float, str], ...]:
        """Positions within [low, high], on the scale of the estimates, with their labels."""
        if self._is_share:
            return _share_ticks(low, high)
        positions = _ratio_ticks(low, high) if self.is_ratio else linear_ticks(low, high)
        return tuple((x, _tick_label(x, ratio=self.is_ratio)) for x in positions)


def percent(part: float) -> str:
    """A share in [0, 1] in percent, with as many decimals as keep it from 0 and from 100."""
    rest = 100.0 * min(part, 1.0 - part)
    decimals = 1 if rest == 0.0 or rest >= 0.1 else min(math.ceil(-math.log10(rest)) + 1, 8)
    return f"{100.0 * part:.{decimals}f}"


def share(part: float) -> str:
    """A weight in [0, 1] in percent, with one decimal."""
    return f"{100.0 * part:.1f} %"


def thousands(count: float) -> str:
    """A count with thin spaces between its thousands; of person-time three digits."""
    shown = f"{count:,}" if isinstance(count, int) else f"{count:,.3g}"
    if "e" in shown:
        shown = f"{count:,.0f}"
    return shown.replace(",", "\u202f")


def _share_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Round percentages within the axis, whose ends are log odds; at most seven."""
    small = [step * 10.0**power for power in range(-8, 1) for step in (1.0, 2.0, 5.0)]
    below = [*small, 10.0, 20.0, 30.0, 40.0]
    shares = [*below, 50.0, *(100.0 - share for share in reversed(below))]
    inside = [share for share in shares if low <= math.log(share / (100.0 - share)) <= high]
    chosen = inside[:: math.ceil(len(inside) / _MOST_TICKS) or 1]
    return tuple((math.log(share / (100.0 - share)), f"{share:.8g}") for share in chosen)


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
        for shown in linear_ticks(math.exp(low), math.exp(high))
        if shown > 0.0 and low <= math.log(shown) <= high
    ]


def linear_ticks(low: float, high: float) -> list[float]:
    """Round numbers at equal steps within [low, high], at most eight."""
    rough = (high - low) / (_MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1.0, 2.0, 5.0, 10.0) if power * m >= rough * (1.0 - 1e-9))
    first, last = math.ceil(low / step), math.floor(high / step)
    return [i * step for i in range(first, last + 1)]


def _tick_label(x: float, *, ratio: bool) -> str:
    return f"{math.exp(x) if ratio else x:.8g}".replace("-", "−")
