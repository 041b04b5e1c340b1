"""Absolute effects: what a pooled ratio means for people with a stated baseline risk.

A ratio alone does not say how many people are helped. The baseline risk is the reader's: that of
the people in front of them without the treatment. It is taken as known; the interval is that of the
ratio. Formulas as in the Cochrane Handbook, section 15.4; of a hazard ratio under proportional
hazards (Altman & Andersen 1999). Intervals of the number needed to treat: Altman 1998.
"""

import math
from dataclasses import dataclass

from qis._gate import checked
from qis.errors import InputError, NoEstimateError
from qis.picture.html import HasTable
from qis.synthesis._sites import check_scale
from qis.synthesis.answers import Interval
from qis.synthesis.profiles import PooledProfiles
from qis.synthesis.result import Synthesis


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsoluteEffect(HasTable):
    """A pooled ratio at a stated baseline risk.

    Parameters
    ----------
    baseline_risk
        Risk without the treatment, in (0, 1).
    risk, risk_interval
        Risk with the treatment, and its limits.
    risk_difference, interval
        `risk` less `baseline_risk`, and its limits; negative where the treatment prevents events.
    level
        Coverage of the intervals.

    Examples
    --------
    >>> import qis
    >>> from qis.synthesis import absolute_effect
    >>> counts = qis.Counts(
    ...     question="q", events=30, total=400, control_events=60, control_total=410
    ... )
    >>> effect = absolute_effect(qis.pool_profiles([counts]), baseline_risk=0.15)
    >>> round(effect.risk_difference, 2)
    -0.07

    """

    baseline_risk: float
    risk: float
    risk_interval: Interval
    risk_difference: float
    interval: Interval
    level: float

    @property
    def number_needed(self) -> float:
        """People to treat for one event fewer (or one more, if the difference is positive)."""
        return math.inf if self.risk_difference == 0.0 else 1.0 / abs(self.risk_difference)

    @property
    def number_needed_words(self) -> str:
        """The number needed to treat in words, with limits that go through infinity if need be."""
        low, high = self.interval
        limits = f"{_named(low)} to {'infinity to ' if low < 0.0 < high else ''}{_named(high)}"
        return f"{_named(self.risk_difference)} ({self.level:.0%} interval: {limits})"


@checked
def absolute_effect(pooled: Synthesis | PooledProfiles, *, baseline_risk: float) -> AbsoluteEffect:
    """Risk difference and number needed to treat from a pooled OR, RR or HR.

    Parameters
    ----------
    pooled
        A synthesis (its chosen model), or a pooled result.
    baseline_risk
        Risk without the treatment, in (0, 1): over the same time as the studies, for HR.

    Raises
    ------
    InputError
        If the measure is none of OR, RR and HR, or the baseline risk is out of range, or so large
        that the risk ratio gives risks above 1.
    NoEstimateError
        If there is no estimate.

    Examples
    --------
    >>> import qis
    >>> from qis.synthesis import absolute_effect
    >>> counts = qis.Counts(
    ...     question="q", events=30, total=400, control_events=60, control_total=410
    ... )
    >>> effect = absolute_effect(qis.pool_profiles([counts]), baseline_risk=0.15)
    >>> round(effect.risk_difference, 2)
    -0.07

    """
    result = pooled.chosen if isinstance(pooled, Synthesis) else pooled
    if result is None or result.estimate is None:
        raise NoEstimateError("there is no estimate to apply to a baseline risk", field="pooled")
    if result.measure not in ("OR", "RR", "HR"):
        raise InputError(
            f"a {result.measure} has no risk at a baseline risk; OR, RR and HR have",
            field="measure",
            actual=result.measure,
            limit=("OR", "RR", "HR"),
        )
    base = check_scale(baseline_risk, "baseline_risk")
    if not base < 1.0:
        raise InputError(
            f"baseline_risk is {baseline_risk!r:.60}; it is a number in (0, 1)",
            field="baseline_risk",
            actual=baseline_risk,
            limit=(0.0, 1.0),
        )
    risk, low, high = (
        _risk(result.measure, base, theta) for theta in (result.estimate, *result.interval)
    )
    if result.measure == "RR" and high > 1.0:
        raise InputError(
            f"at a baseline risk of {base:g} this risk ratio gives risks above 1; pool the odds "
            "ratio instead",
            field="baseline_risk",
            actual=base,
        )
    return AbsoluteEffect(
        baseline_risk=base,
        risk=risk,
        risk_interval=(low, high),
        risk_difference=risk - base,
        interval=(low - base, high - base),
        level=result.level,
    )


def _risk(measure: str, base: float, theta: float) -> float:
    """The risk at a log ratio, which may be infinite."""
    if theta == math.inf:
        return math.inf if measure == "RR" else 1.0
    ratio = math.exp(min(theta, 700.0))
    if measure == "RR":
        return base * ratio
    if measure == "OR":
        odds = base / (1.0 - base) * ratio
        return odds / (1.0 + odds)
    return -math.expm1(ratio * math.log1p(-base))


def _named(difference: float) -> str:
    if difference == 0.0:
        return "infinity"
    return f"{'NNTB' if difference < 0.0 else 'NNTH'} {1.0 / abs(difference):.3g}"
