"""Peto and Mantel-Haenszel: two classical ways to pool 2×2 tables, as cross-checks.

Neither corrects zero cells. Peto is biased for strong effects and unbalanced arms; its weights,
and those of Mantel-Haenszel, assume one common effect. The conditional likelihood has neither
fault and is what `synthesise` uses; where the three differ much, find out why.

Sources: Mantel & Haenszel 1959; Yusuf, Peto et al. 1985; Robins, Breslow & Greenland 1986 (OR);
Greenland & Robins 1985 (RR); Sato, Greenland & Robins 1989 (RD).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from qis._columns import vector
from qis._gate import checked
from qis.errors import InputError, NoEstimateError
from qis.picture.html import HasTable
from qis.synthesis._quantiles import normal_quantile
from qis.synthesis._sites import Floats, check_choice, check_level, total

_LARGEST_COUNT: Final = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledCounts(HasTable):
    """A pooled measure of 2×2 tables.

    Parameters
    ----------
    measure
        "OR" or "RR" (then all on the log scale), or "RD".
    estimate, standard_error, interval
        The common effect, its standard error, and its normal interval at `level`.
    informative
        Which tables contributed, in the order given.
    q
        Peto's heterogeneity statistic, with ``sum(informative) - 1`` degrees of freedom; None
        for Mantel-Haenszel.
    level
        Coverage aimed at.

    Examples
    --------
    >>> from qis.synthesis import mantel_haenszel
    >>> pooled = mantel_haenszel([3, 4], [40, 50], [9, 8], [41, 52])
    >>> pooled.interval[0] < pooled.estimate < pooled.interval[1]
    True

    """

    measure: str
    estimate: float
    standard_error: float
    interval: tuple[float, float]
    informative: tuple[bool, ...]
    q: float | None
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """Events a, c and totals n1, n2 of the two arms as floats; shape (k,)."""

    a: Floats
    n1: Floats
    c: Floats
    n2: Floats

    @property
    def n(self) -> Floats:
        return self.n1 + self.n2

    @property
    def events(self) -> Floats:
        return self.a + self.c


@checked
def peto(
    events: ArrayLike,
    totals: ArrayLike,
    control_events: ArrayLike,
    control_totals: ArrayLike,
    *,
    level: float = 0.95,
) -> PooledCounts:
    """Peto's one-step log odds ratio.

    Parameters
    ----------
    events, totals, control_events, control_totals
        Whole numbers, shape (k,): treated arm, then control arm.
    level
        Coverage of the interval.

    Raises
    ------
    InputError
        If a count is no whole number, negative, or above its total, or a total is zero.
    NoEstimateError
        If no table is informative (none has both events and non-events).

    Examples
    --------
    >>> from qis.synthesis import peto
    >>> pooled = peto([3, 4], [40, 50], [9, 8], [41, 52])
    >>> pooled.estimate < 0.0
    True

    """
    level = check_level(level)
    tables = _check_tables(events, totals, control_events, control_totals)
    n, m = tables.n, tables.events
    # Events of the treated arm less those expected, and their hypergeometric variance.
    excess = (tables.a * tables.n2 - tables.c * tables.n1) / n
    variance = tables.n1 * tables.n2 * m * (n - m) / (n * n * np.maximum(n - 1.0, 1.0))
    informative = variance > 0.0
    if not informative.any():
        raise NoEstimateError("no table has both events and non-events", field="events")
    excess, used = excess[informative], variance[informative]
    information = total(used)
    estimate = total(excess) / information
    q = total((excess - estimate * used) ** 2 / used)
    return _result("OR", estimate, 1.0 / math.sqrt(information), informative, level, q=q)


@checked
def mantel_haenszel(
    events: ArrayLike,
    totals: ArrayLike,
    control_events: ArrayLike,
    control_totals: ArrayLike,
    *,
    measure: str = "OR",
    level: float = 0.95,
) -> PooledCounts:
    """The Mantel-Haenszel estimate of a common odds ratio, risk ratio or risk difference.

    Parameters
    ----------
    events, totals, control_events, control_totals
        Whole numbers, shape (k,): treated arm, then control arm.
    measure
        "OR", "RR" (log scale) or "RD".
    level
        Coverage of the interval.

    Raises
    ------
    InputError
        If a count is no whole number, negative, or above its total, a total is zero, or the
        measure is unknown.
    NoEstimateError
        If the estimate or its standard error would be zero over zero, or infinite.

    Examples
    --------
    >>> from qis.synthesis import mantel_haenszel
    >>> pooled = mantel_haenszel([3, 4], [40, 50], [9, 8], [41, 52])
    >>> pooled.estimate < 0.0
    True

    """
    check_choice(measure, "measure", tuple(_MEASURES))
    level = check_level(level)
    tables = _check_tables(events, totals, control_events, control_totals)
    estimate, variance, informative = _MEASURES[measure](tables)
    if not variance > 0.0:
        raise NoEstimateError(
            "the tables hold no information on the size of the effect", field="events"
        )
    return _result(measure, estimate, math.sqrt(variance), informative, level)


_Estimate = tuple[float, float, "np.ndarray[tuple[int], np.dtype[np.bool_]]"]


def _odds_ratio(t: _Tables) -> _Estimate:
    # Variance by Robins, Breslow & Greenland 1986, with their letters P, Q, R and S.
    b, d = t.n1 - t.a, t.n2 - t.c
    for_, against = t.a * d / t.n, b * t.c / t.n
    r, s = _positive(for_, against)
    p, q = (t.a + d) / t.n, (b + t.c) / t.n
    variance = 0.5 * (
        total(p * for_) / r**2 + total(p * against + q * for_) / (r * s) + total(q * against) / s**2
    )
    return math.log(r / s), variance, (for_ + against) > 0.0


def _risk_ratio(t: _Tables) -> _Estimate:
    # Variance by Greenland & Robins 1985.
    treated, control = t.a * t.n2 / t.n, t.c * t.n1 / t.n
    r, s = _positive(treated, control)
    spread = t.events * t.n1 * t.n2 / t.n**2 - t.a * t.c / t.n
    return math.log(r / s), total(spread) / (r * s), t.events > 0.0


def _risk_difference(t: _Tables) -> _Estimate:
    # Variance by Sato, Greenland & Robins 1989, with their letters P and Q.
    share1, share2 = t.n1 / t.n, t.n2 / t.n
    weight = total(t.n1 * share2)
    estimate = total(t.a * share2 - t.c * share1) / weight
    p = t.c * share1**2 - t.a * share2**2 + share1 * share2 * (t.n2 - t.n1) / 2.0
    q = (t.a * (t.n2 - t.c) + t.c * (t.n1 - t.a)) / t.n
    variance = (estimate * total(p) + total(q) / 2.0) / weight**2
    return estimate, variance, np.ones(len(t.n), dtype=np.bool_)


_MEASURES: Final[dict[str, Callable[[_Tables], _Estimate]]] = {
    "OR": _odds_ratio,
    "RR": _risk_ratio,
    "RD": _risk_difference,
}


def _positive(above: Floats, below: Floats) -> tuple[float, float]:
    r, s = total(above), total(below)
    if r == 0.0 or s == 0.0:
        raise NoEstimateError(
            "the pooled ratio is zero, infinite or undefined: events are in one arm only, or in "
            "none; use likelihood profiles, which give a one-sided interval",
            field="events",
        )
    return r, s


def _result(
    measure: str,
    estimate: float,
    error: float,
    informative: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    level: float,
    *,
    q: float | None = None,
) -> PooledCounts:
    half = normal_quantile(0.5 + level / 2.0) * error
    return PooledCounts(
        measure=measure,
        estimate=estimate,
        standard_error=error,
        interval=(estimate - half, estimate + half),
        informative=tuple(informative.tolist()),
        q=q,
        level=float(level),
    )


def _check_tables(
    events: ArrayLike, totals: ArrayLike, control_events: ArrayLike, control_totals: ArrayLike
) -> _Tables:
    columns = {
        "events": events,
        "totals": totals,
        "control_events": control_events,
        "control_totals": control_totals,
    }
    a, n1, c, n2 = (_check_counts(values, field) for field, values in columns.items())
    if not len(a) == len(n1) == len(c) == len(n2) or not len(a):
        raise InputError(
            f"{', '.join(columns)} have {len(a)}, {len(n1)}, {len(c)} and {len(n2)} counts; "
            "give the same number of each, one or more",
            field="events",
        )
    totals_of = {"events": "totals", "control_events": "control_totals"}
    for field, some, all_ in (("events", a, n1), ("control_events", c, n2)):
        if (some > all_).any() or (all_ < 1.0).any():
            where = int(np.flatnonzero((some > all_) | (all_ < 1.0))[0])
            raise InputError(
                f"{field}[{where}] is {some[where]:g} of {all_[where]:g}; {totals_of[field]} must "
                "be positive and not less than the events",
                field=field,
                actual=some[where],
                limit=all_[where],
            )
    return _Tables(a=a, n1=n1, c=c, n2=n2)


def _check_counts(values: ArrayLike, field: str) -> Floats:
    counts = vector(values, field)
    whole = (counts >= 0.0) & (counts <= _LARGEST_COUNT) & (counts == np.floor(counts))
    if not whole.all():
        raise InputError(
            f"{field} must be a list of whole numbers from 0 to {_LARGEST_COUNT}", field=field
        )
    return counts
