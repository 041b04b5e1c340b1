"""Tables behind numbers that were not rounded, whatever number of people is written beside them.

The n of a packet need not be that of the table: some people lack a value, or n itself was rounded.
Nobody needs it: estimate and standard error are two equations, so one arm gives the other, and
where both are whole to nine digits they are no coincidence. Other codings of a yes/no variable
(percent; 1 and 2) are found in the same way.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.consistent import EXACT, System, as_findings
from qis.disclosure.finding import Finding
from qis.disclosure.formulas import estimates
from qis.disclosure.printed import half_unit
from qis.outcomes import Effect

Floats = NDArray[np.float64]

_LARGEST_CELL: Final = 20_000
"""Most people in the larger cell of an arm with a small one."""
_ATTACK: Final = "from {measure} and SE to the last digit, whatever n is"
_PERCENT: Final = 100.0
_MOST_PEOPLE: Final = 1.1
"""A table has at most so many times the people that are written beside it."""
_OTHER_N: Final = 10
"""Nobody writes a tenth of the people; far larger tables fit any numbers by chance."""
_LARGEST_ARM: Final = 1_000
_SIZES: Final = 256
"""Sizes of an arm that are tried at once."""
_NEAR: Final = 1e-4


def exact_tables(outcome: Effect, n: int, limit: int) -> Iterator[System]:
    """Yield tables with a cell of 1 to `limit` − 1 that give both numbers to nine digits."""
    attack = _ATTACK.format(measure=outcome.measure)
    estimate, error = outcome.estimate, outcome.standard_error
    if half_unit(estimate) and half_unit(error):
        return  # rounded numbers are whole multiples of something by chance
    if outcome.measure in _OF_ONE_ARM:
        found = one_arm(outcome)
        yield [cells for cells in found if any(0 < cell.people < limit for cell in cells)]
        return
    # Without a difference the arms' shares are equal, and whole numbers agree by chance.
    for measure, scale in _CODINGS.get(outcome.measure, ()) if estimate else ():
        numbers = measure, estimate / scale, error / scale
        rows = np.unique(_small(*numbers, n, limit), axis=0)
        rows = rows[rows.sum(axis=1) <= _OTHER_N * n + _LARGEST_ARM]
        if len(rows):  # simple fractions agree by chance: a table without a small cell clears them
            rows = np.concatenate([rows, _harmless(*numbers, n, limit)])
        yield [as_findings(attack, row) for row in rows]


def one_arm(outcome: Effect) -> System:
    """Events and others that a proportion or mean of one arm gives to nine digits."""
    solve = _OF_ONE_ARM.get(outcome.measure)
    if solve is None:
        return []
    attack = _ATTACK.format(measure=outcome.measure)
    return [
        (Finding(attack, "events", k), Finding(attack, "people without event", others))
        for k, others in dict.fromkeys(solve(outcome.estimate, outcome.standard_error))
    ]


_CODINGS: Final[dict[str, tuple[tuple[str, float], ...]]] = {
    "OR": (("OR", 1.0),),
    "RR": (("RR", 1.0),),
    "RD": (("RD", 1.0),),
    "ROM": (("ROM", 1.0), ("ROM of 1 and 2", 1.0)),
    "MD": (("MD", 1.0), ("MD", _PERCENT), ("MD", 10.0)),
}
"""By measure, how a yes/no variable may be coded, and the step from no to yes."""


def _small(measure: str, estimate: float, error: float, n: int, limit: int) -> Floats:
    """All tables of shape (m, 4) with a small cell in either arm."""
    largest = min(max(2 * n, 100), _LARGEST_CELL)
    small, large = (
        grid.ravel().astype(float)
        for grid in np.meshgrid(np.arange(1, limit), np.arange(0, largest + 1), indexing="ij")
    )
    kept = [np.empty((0, 4))]
    for a, b in ((small, large), (large, small)):
        kept.append(_whole_tables(measure, a, b, estimate, error))
        turned = _whole_tables(measure, a, b, -estimate, error)
        kept.append(turned[:, [2, 3, 0, 1]])
    return np.concatenate(kept)


def _harmless(measure: str, estimate: float, error: float, n: int, limit: int) -> Floats:
    """One table without a small cell, of about n people, if there is one; shape (0 or 1, 4)."""
    most = min(round(_MOST_PEOPLE * n) + 5, 2 * _LARGEST_CELL)
    for start in range(1, most, _SIZES):
        sizes = np.arange(start, min(start + _SIZES, most))
        arm = np.repeat(sizes, sizes + 1).astype(float)
        events = np.concatenate([np.arange(size + 1.0) for size in sizes])
        rows = _whole_tables(measure, events, arm - events, estimate, error)
        people = rows.sum(axis=1)
        is_harmless = ((rows == 0) | (rows >= limit)).all(axis=1)
        found: Floats = rows[is_harmless & (people >= n / 2.0) & (people <= most)]
        if len(found):
            return found[:1]
    return np.empty((0, 4))


def _whole_tables(measure: str, a: Floats, b: Floats, estimate: float, error: float) -> Floats:
    kept = [np.empty((0, 4))]
    for c, d in _other_arm(measure, a, b, estimate, error):
        rows = np.stack([a, b, c, d], axis=1)
        rows = rows[np.isfinite(rows).all(axis=1)]
        whole = np.rint(rows)
        near = (np.abs(rows - whole) <= _NEAR * np.maximum(1.0, whole)).all(axis=1)
        kept.append(_exact(measure, whole[near & (whole >= 0).all(axis=1)], estimate, error))
    return np.concatenate(kept)


def _exact(measure: str, rows: Floats, estimate: float, error: float) -> Floats:
    if measure == "ROM of 1 and 2":
        gives, errors = _of_one_and_two(rows)
    else:
        gives, errors = estimates(measure, rows)
    with np.errstate(invalid="ignore"):
        near = np.abs(gives - estimate) <= EXACT * max(1.0, abs(estimate))
        fits = [near & (np.abs(each - error) <= EXACT * error) for each in errors]
    return rows[np.any(fits, axis=0)]


def _of_one_and_two(rows: Floats) -> tuple[Floats, tuple[Floats, ...]]:
    a, b, c, d = rows.T
    with np.errstate(all="ignore"):
        first, second = a + b, c + d
        p, q = a / first, c / second
        parts = p * (1 - p) / (1 + p) ** 2, q * (1 - q) / (1 + q) ** 2
        errors = tuple(
            np.sqrt(parts[0] / (first - less) + parts[1] / (second - less)) for less in (1, 0)
        )
        return np.log((1 + p) / (1 + q)), errors


def _other_arm(
    measure: str, a: Floats, b: Floats, estimate: float, error: float
) -> Iterator[tuple[Floats, Floats]]:
    """Events and others of the second arm, by each formula, from those of the first."""
    with np.errstate(all="ignore"):
        n = a + b
        p = a / n
        if measure == "OR":
            odds = a / b * math.exp(-estimate)
            others = (1 + 1 / odds) / (error**2 - 1 / a - 1 / b)
            yield odds * others, others
            return
        if measure in ("RR", "ROM", "ROM of 1 and 2"):
            zero = 1.0 if measure == "ROM of 1 and 2" else 0.0
            q = (zero + p) * math.exp(-estimate) - zero
            own, other = p * (1 - p) / (zero + p) ** 2, q * (1 - q) / (zero + q) ** 2
        else:
            q = p - estimate
            own, other = p * (1 - p), q * (1 - q)
        for less in (0, 1):
            size = other / (error**2 - own / (n - less)) + less
            yield q * size, (1 - q) * size
        if measure in ("RD", "MD"):
            for size in _pooled(own, other, n, error):
                yield q * size, (1 - q) * size


def _pooled(own: Floats, other: Floats, n: Floats, error: float) -> Iterator[Floats]:
    """(n own + m other) / (n + m − 2) · (1/n + 1/m) = SE², solved for m."""
    square = other - error**2 * n
    linear = n * own + n * other - error**2 * n * (n - 2)
    root = np.sqrt(np.maximum(linear**2 - 4 * square * n * n * own, 0.0))
    for side in (-1.0, 1.0):
        yield (-linear + side * root) / (2 * square)


def _whole(events: float, people: float) -> Iterator[tuple[int, int]]:
    if not 0.5 < people < 1e9:
        return
    k, n = round(events), round(people)
    near = 1e-7 * max(1.0, people)
    if abs(events - k) <= near and abs(people - n) <= near and 0 <= k <= n:
        yield k, n - k


def _of_share(share: float, error: float) -> Iterator[tuple[int, int]]:
    """People from p(1 − p)/n or p(1 − p)/(n − 1)."""
    for scale in (1.0, _PERCENT):
        p, e = share / scale, error / scale
        if 0.0 < p < 1.0:
            for less in (0, 1):
                people = p * (1.0 - p) / e**2 + less
                yield from _whole(p * people, people)


def _of_log_odds(estimate: float, error: float) -> Iterator[tuple[int, int]]:
    """Events and others from 1/k + 1/m = SE² and log(k/m)."""
    odds = math.exp(estimate)
    others = (1.0 + 1.0 / odds) / error**2
    yield from _whole(odds * others, (1.0 + odds) * others)


_OF_ONE_ARM: Final[dict[str, Callable[[float, float], Iterator[tuple[int, int]]]]] = {
    "PR": _of_share,
    "MN": _of_share,
    "PLO": _of_log_odds,
}
