"""Few people behind numbers whose formula or coding nobody knows: what follows all the same.

Programs differ in their standard errors: exact, score and adjusted intervals divided by 3.92,
Greenwood's of a survival curve, Peto's odds ratio. A table is then not found by the formulas that
are searched one by one. But every one of them says about as many events as there are, and what the
estimate says, or its ratio to the standard error, needs no formula or no coding.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.attacks import SLOPE_TOLERANCE
from qis.disclosure.consistent import System, as_findings
from qis.disclosure.finding import Finding
from qis.disclosure.formulas import hedges
from qis.disclosure.ledger import Subjects
from qis.disclosure.printed import half_unit
from qis.outcomes import Effect, LikelihoodProfile, Moments, Outcome

Floats = NDArray[np.float64]
_Variances = Callable[[Floats, Floats], Iterator[tuple[Floats, Floats]]]

_ADDED: Final = 2.0
"""Most that intervals add to the events of a proportion: Agresti and Coull's, and Wilson's."""
_EXACT: Final = 1e-11
"""Relative error of a number that was computed in float64 by another order of steps."""
_NEAR: Final = 1e-6
_CHUNK: Final = 1 << 18
_QUADRATIC: Final = 1e-5
"""Relative error of values in float32 that belong to a parabola."""


def few_of_share(outcome: Effect, share: float, n: int) -> System:
    """Events, or people without, are about n times a proportion, or one or two fewer.

    With people lost from sight fewer events make the same proportion, never more.
    """
    few = n * min(share, 1.0 - share)
    if few <= 0.0:
        return []
    people = max(1, math.floor(few - _ADDED))
    attack = f"from {outcome.measure} and n, whichever its formula"
    return [(Finding(attack, "events or people without event, about", people),)]


def few_of_rate(outcome: Effect) -> System:
    """By any formula there are about 1/SE² events, and with two arms 2/SE² or fewer in one."""
    arms = 1.0 if outcome.measure == "IRLN" else 2.0
    few = max(1, math.floor(arms / outcome.standard_error**2 + _NEAR))
    attack = f"from the standard error of {outcome.measure}, whichever its formula"
    return [(Finding(attack, "events in an arm, about or fewer", few),)]


def few_of_standardised(outcome: Effect, n: int) -> System:
    """SE² is about 1/n₁ + 1/n₂ + g²/2n by each formula of a standardised mean difference."""
    inverse = outcome.standard_error**2 - outcome.estimate**2 / (2.0 * n)
    if inverse <= 4.0 / n:  # the arms are about equal, or the estimate is adjusted
        return []
    few = n / 2.0 - math.sqrt(n * n / 4.0 - n / inverse)
    attack = "from SMD, SE and n, whichever its formula"
    return [(Finding(attack, "people in one arm, about", max(1, round(few))),)]


def peto(outcome: Effect, n: int) -> System:
    """Tables of Peto's odds ratio: (a − E)/V, where 1/SE² = V is made of the four totals."""
    if half_unit(outcome.estimate) or half_unit(outcome.standard_error):
        return []
    variance = outcome.standard_error**-2
    system: System = []
    events = np.arange(1.0, n)
    step = max(1, _CHUNK // n)
    for start in range(1, n, step):
        arm = np.arange(float(start), float(min(start + step, n)))[:, np.newaxis]
        gives = arm * (n - arm) * events * (n - events) / (n * n * (n - 1.0))
        for row, column in np.argwhere(np.abs(gives - variance) <= _EXACT * 1e2 * variance):
            size, total = float(arm[row, 0]), float(events[column])
            a = outcome.estimate * variance + size * total / n
            table = round(a), size - round(a), total - round(a), n - size - total + round(a)
            if abs(a - round(a)) <= _NEAR and min(table) >= 0:
                system.append(as_findings("from Peto's odds ratio, SE and n", table))
    return system


def of_any_step(outcome: Effect, n: int) -> System:
    """Tables of a yes/no variable of any two codes: estimate over SE does not depend on them."""
    if half_unit(outcome.standard_error):
        return []
    ratio = outcome.estimate / outcome.standard_error
    attack = "from MD over SE and n, whatever yes and no are"
    return _of_ratio(attack, outcome, n, [ratio], _variances_of_difference)


def of_other_standardised(outcome: Effect, n: int) -> System:
    """Tables of a standardised mean difference with any correction of Hedges', or none."""
    given = outcome.estimate
    corrections = 1.0, 1.0 - 3.0 / (4.0 * n - 9.0), hedges(n - 2.0)
    ratios = [given / correction for correction in corrections] if n > 4 else [given]
    attack = "from SMD and n, whichever its error and correction"
    return _of_ratio(attack, outcome, n, ratios, _variances_of_values)


def _of_ratio(
    attack: str, outcome: Effect, n: int, ratios: list[float], variances: _Variances
) -> System:
    """Tables in which p − q over the root of V + κ q(1 − q) is one of the ratios."""
    if half_unit(outcome.estimate) or not outcome.estimate:
        return []
    tables: dict[tuple[float, ...], None] = {}
    for part in np.array_split(np.arange(1, n), math.ceil(n * n / 2 / _CHUNK)):
        arm = np.repeat(part, part + 1).astype(float)
        a = np.concatenate([np.arange(size + 1.0) for size in part])
        for ratio in ratios:
            for rows in _solved(arm, a, n - arm, ratio, variances):
                tables |= dict.fromkeys(map(tuple, rows.tolist()))
    return [as_findings(attack, each) for each in tables]


def _variances_of_difference(arm: Floats, other: Floats) -> Iterator[tuple[Floats, Floats]]:
    """What p(1 − p) and q(1 − q) are multiplied by in SE²: with n − 1, with n, pooled."""
    pooled = (1.0 / arm + 1.0 / other) / (arm + other - 2.0)
    yield 1.0 / (arm - 1.0), 1.0 / (other - 1.0)
    yield 1.0 / arm, 1.0 / other
    yield pooled * arm, pooled * other


def _variances_of_values(arm: Floats, other: Floats) -> Iterator[tuple[Floats, Floats]]:
    """The same in the variance of the values within the arms."""
    for freedom in (2.0, 0.0):
        yield arm / (arm + other - freedom), other / (arm + other - freedom)


def _solved(
    arm: Floats, a: Floats, other: Floats, ratio: float, variances: _Variances
) -> Iterator[Floats]:
    """Solve (p − q)² = t² (V + κ q(1 − q)) for q of the second arm, for each first arm."""
    p = a / arm
    square = ratio * ratio
    with np.errstate(all="ignore"):
        for own, others in variances(arm, other):
            lead, middle = 1.0 + square * others, 2.0 * p + square * others
            root = np.sqrt(middle**2 - 4.0 * lead * (p * p - square * own * p * (1.0 - p)))
            for side in (-1.0, 1.0):
                c = np.rint((middle + side * root) / (2.0 * lead) * other)
                q = c / other
                gives = (p - q) / np.sqrt(own * p * (1.0 - p) + others * q * (1.0 - q))
                fits = (np.abs(gives - ratio) <= _EXACT * abs(ratio)) & (c >= 0) & (c <= other)
                yield np.column_stack([a, arm - a, c, other - c])[fits]


def of_two_values(outcome: Moments) -> System:
    """Tables of two arms whose values are any two, the same ones in both.

    Each number of people with the larger value in the first arm gives both values, and these give
    the number in the second.
    """
    if outcome.control_total is None or outcome.control_ss is None or outcome.ss <= 0.0:
        return []
    n, m, mean = outcome.total, outcome.control_total, outcome.control_mean or 0.0
    k = np.arange(1.0, n)
    step = np.sqrt(outcome.ss * n / (k * (n - k)))
    second = (mean - (outcome.mean - step * k / n)) / step * m
    whole = np.rint(second)
    squares = step**2 * whole * (m - whole) / m
    scale = max(outcome.ss, outcome.control_ss, 1e-300)
    fits = (np.abs(second - whole) <= _NEAR) & (whole >= 0) & (whole <= m)
    fits &= np.abs(squares - outcome.control_ss) <= _NEAR * scale
    attack = "from both arms' means and sums of squares, if there are two values"
    return [
        as_findings(attack, (one, n - one, other, m - other))
        for one, other in zip(k[fits].tolist(), whole[fits].tolist(), strict=True)
    ]


def as_effect(outcome: LikelihoodProfile) -> Effect | None:
    """The estimate and standard error that a curve is, if it is a parabola; else `None`."""
    if outcome.maximum is None or outcome.protection:
        return None
    points = np.asarray(outcome.points, dtype=float) - outcome.maximum
    values = np.asarray(outcome.values, dtype=float)
    away = values < 0.0
    if not away.any():
        return None
    inverse = -2.0 * values[away] / points[away] ** 2
    if np.ptp(inverse) > _QUADRATIC * inverse.max():
        return None
    return Effect(
        question="-",
        measure=outcome.measure,
        estimate=outcome.maximum,
        standard_error=float(inverse[np.abs(points[away]).argmax()]) ** -0.5,
        n=outcome.n,
    )


def with_people(outcome: Outcome, subjects: Subjects | None) -> Outcome:
    """The outcome as one sees it who knows how many people it is made from.

    Leaving n away hides nothing from those who know it, and a curve's slopes are its events.
    """
    if not isinstance(outcome, Effect | LikelihoodProfile) or subjects is None:
        return outcome
    known: dict[str, Any] = {}
    if outcome.n is None:
        known["n"] = len(subjects)
    if isinstance(outcome, LikelihoodProfile) and outcome.events is None:
        slopes = [-outcome.slope_below, -outcome.slope_above]
        if all(abs(slope - round(slope)) <= SLOPE_TOLERANCE for slope in slopes):
            known["events"] = sum(map(round, slopes))
    return replace(outcome, study=None, **known) if known else outcome
