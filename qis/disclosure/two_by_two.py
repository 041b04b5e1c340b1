"""All 2×2 tables behind a crude estimate: those that give its numbers within their rounding.

An outsider who knows n tries all sizes of an arm and all numbers of events in it, and solves for
the events of the other arm. A number with few decimals is taken for a rounded one, unless some
table gives it to the last digit.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.attacks import half_unit, precision_of
from qis.outcomes import Effect

Floats = NDArray[np.float64]

LARGEST: Final = 2_000
"""People up to whom all tables are tried; the work grows with the square."""
MEASURES: Final = ("OR", "RR", "RD", "MD", "ROM", "SMD", "COR", "ZCOR")
OF_MEANS: Final = ("MD", "ROM", "SMD", "COR", "ZCOR")
"""Mostly of measured values: rounded ones speak for yes/no only if the arms are not too unequal."""
_LEAST_ARM: Final = 20
"""An arm of rounded means is at least one in this many people."""
_EXACT: Final = 1e-9
"""Relative error of numbers that were computed in float64 and not rounded."""
_FINE: Final = 0.6e-4
"""Half a unit of the last decimal that is fine enough for means: four decimals."""
_WIDEST: Final = 40
"""Most whole numbers that are tried for the events of the other arm."""
_GRID: Final = 6_000_000
"""Most tables that are tried one by one for a standardised mean difference."""
_CHUNK: Final = 1 << 18
"""Candidates in memory at once."""


def tables(outcome: Effect) -> Iterator[tuple[Floats, bool]]:
    """Yield the tables that fit an effect within its rounding, in parts of shape (m, 4).

    Columns are events and others of the treated arm, then of the control arm. Balanced arms come
    first. Nothing is yielded if n is unknown or over `LARGEST`, or for other measures. With each
    part it is told whether the tables are plain: those that give the numbers only with 0.5 added
    to each cell speak for a small cell and never against one.
    """
    n = outcome.n
    if n is None or n > LARGEST or outcome.measure not in MEASURES:
        return
    sizes = _sizes(outcome, n)
    for shift in (0.0, 0.5) if outcome.measure in ("OR", "RR", "RD") else (0.0,):
        for found in _candidates(outcome, sizes, shift):
            kept = found[(found >= 0).all(axis=1)]
            kept = kept[gives(outcome, kept, shift)]
            if len(kept):
                yield kept, shift == 0.0


def _sizes(outcome: Effect, n: int) -> NDArray[np.int64]:
    """Sizes of an arm that are tried, balanced ones first."""
    is_rounded = any(half_unit(x) for x in (outcome.estimate, outcome.standard_error))
    least = math.ceil(n / _LEAST_ARM) if is_rounded and outcome.measure in OF_MEANS else 1
    return np.array(sorted(range(least, n - least + 1), key=lambda size: abs(2 * size - n)))


def gives(outcome: Effect, found: Floats, shift: float | None = None) -> NDArray[np.bool_]:
    """True where a table gives estimate and standard error within their rounding.

    Parameters
    ----------
    outcome
        An effect of one of `MEASURES`.
    found
        Tables, shape (m, 4).
    shift
        What was added to each cell; `None`: nothing or 0.5, as is done where one is zero.

    """
    if shift is None:
        corrected = outcome.measure in ("OR", "RR", "RD")
        return gives(outcome, found, 0.0) | (corrected & gives(outcome, found, 0.5))
    return _within(outcome, found, shift, precision_of(outcome))


def gives_exactly(outcome: Effect, found: Floats) -> NDArray[np.bool_]:
    """True where a table gives both numbers to nine digits, so that they are not rounded."""
    exact = (_EXACT * max(1.0, abs(outcome.estimate)), _EXACT * outcome.standard_error)
    corrected = outcome.measure in ("OR", "RR", "RD")
    return _within(outcome, found, 0.0, exact) | (corrected & _within(outcome, found, 0.5, exact))


def is_coarse(outcome: Effect) -> bool:
    """True for means, or a correlation, of fewer than four decimals.

    Measured values give such numbers too, and by chance most of them fit some table with a small
    cell (30 % of mean differences of three decimals in public data sets, 3 % of four), so that
    alone they are not taken for those of a yes/no variable.
    """
    units = half_unit(outcome.estimate), half_unit(outcome.standard_error)
    return outcome.measure in OF_MEANS and min(units) > _FINE


def _within(
    outcome: Effect, found: Floats, shift: float, precision: tuple[float, float]
) -> NDArray[np.bool_]:
    estimate, error = estimates(outcome.measure, found + shift)
    with np.errstate(invalid="ignore"):
        fits: NDArray[np.bool_] = (np.abs(estimate - outcome.estimate) <= precision[0]) & (
            np.abs(error - outcome.standard_error) <= precision[1]
        )
    return fits


def _candidates(outcome: Effect, sizes: NDArray[np.int64], shift: float) -> Iterator[Floats]:
    if outcome.measure in ("COR", "ZCOR"):
        yield from _by_totals(outcome, sizes)
    elif outcome.measure == "SMD":
        yield from _by_grid(outcome, sizes)
    else:
        yield from _by_risks(outcome, sizes, shift)


def _by_risks(outcome: Effect, sizes: NDArray[np.int64], shift: float) -> Iterator[Floats]:
    """For each size and number of events of one arm, solve for the events of the other."""
    n = outcome.n or 0
    half, _ = precision_of(outcome)
    step = max(1, _CHUNK // (n + 1))
    for start in range(0, len(sizes), step):
        part = sizes[start : start + step]
        arm = np.repeat(part, part + 1).astype(float)
        events = np.concatenate([np.arange(size + 1.0) for size in part])
        other = n - arm
        ends = [
            _risk_of_other(outcome.measure, (events + shift) / (arm + 2 * shift), at)
            * (other + 2 * shift)
            - shift
            for at in (outcome.estimate - half, outcome.estimate + half)
        ]
        yield from _between(ends, arm, events, other)


def _between(ends: list[Floats], arm: Floats, events: Floats, other: Floats) -> Iterator[Floats]:
    """All whole numbers of events of the other arm between two solutions."""
    bounds = [np.clip(np.nan_to_num(end, nan=-1.0), -1.0, other + 1.0) for end in ends]
    low = np.maximum(np.ceil(np.minimum(*bounds) - 1e-6), 0.0)
    high = np.minimum(np.floor(np.maximum(*bounds) + 1e-6), other)
    for step in range(_WIDEST):
        chosen = low + step <= high
        if not chosen.any():
            return
        inside = (low + step)[chosen]
        rest = other[chosen] - inside
        yield np.column_stack([events[chosen], (arm - events)[chosen], inside, rest])


def _risk_of_other(measure: str, risk: Floats, estimate: float) -> Floats:
    with np.errstate(all="ignore"):
        if measure == "OR":
            odds = risk / (1.0 - risk) * math.exp(-estimate)
            solved: Floats = np.where(np.isinf(odds), 1.0, odds / (1.0 + odds))
        elif measure in ("RR", "ROM"):
            solved = risk * math.exp(-estimate)
        else:
            solved = risk - estimate
    return solved


def _by_totals(outcome: Effect, sizes: NDArray[np.int64]) -> Iterator[Floats]:
    """For each size of an arm and number of all events, solve the correlation for one cell."""
    n = outcome.n or 0
    half, _ = precision_of(outcome)
    step = max(1, _CHUNK // n)
    for start in range(0, len(sizes), step):
        arm, events = (
            grid.ravel().astype(float)
            for grid in np.meshgrid(sizes[start : start + step], np.arange(1, n), indexing="ij")
        )
        spread = np.sqrt(arm * (n - arm) * events * (n - events))
        ends = []
        for at in (outcome.estimate - half, outcome.estimate + half):
            phi = at if outcome.measure == "COR" else math.tanh(at)
            ends.append((phi * spread + arm * events) / n)
        # The cell is the events of the arm; the others follow from the totals.
        for part in _between(ends, events, np.zeros_like(arm), arm):
            own = part[:, 2]
            size = own + part[:, 3]
            total = part[:, 0] + part[:, 1]
            yield np.column_stack([own, size - own, total - own, n - size - total + own])


def _by_grid(outcome: Effect, sizes: NDArray[np.int64]) -> Iterator[Floats]:
    """All events of both arms are tried, for each size of the arms that the error allows."""
    n, work = outcome.n or 0, 0
    for size in _sizes_of_grid(outcome, sizes):
        work += _cost(size, n)
        if work > _GRID:  # told by `is_grid_cut`
            return
        grids = np.meshgrid(np.arange(size + 1.0), np.arange(n - size + 1.0), indexing="ij")
        a, c = (grid.ravel() for grid in grids)
        yield np.column_stack([a, size - a, c, n - size - c])


def is_grid_cut(outcome: Effect) -> bool:
    """True for a standardised mean difference so rounded that not all its tables are tried."""
    n = outcome.n or 0
    if outcome.measure != "SMD" or not 1 < n <= LARGEST:
        return False
    return sum(_cost(size, n) for size in _sizes_of_grid(outcome, _sizes(outcome, n))) > _GRID


def _cost(size: int, n: int) -> int:
    return (size + 1) * (n - size + 1)


def _sizes_of_grid(outcome: Effect, sizes: NDArray[np.int64]) -> list[int]:
    """SE² = 1/n₁ + 1/n₂ + g²/2n gives the sizes of the arms."""
    n = outcome.n or 0
    of_estimate, of_error = precision_of(outcome)
    low, high = (
        (outcome.standard_error + side * of_error) ** 2
        - (abs(outcome.estimate) - side * of_estimate) ** 2 / (2.0 * n)
        for side in (-1, 1)
    )
    inverse = 1.0 / sizes + 1.0 / np.maximum(n - sizes, 1e-9)
    return [int(size) for size in sizes[(inverse >= low) & (inverse <= high)]]


def estimates(measure: str, cells: Floats) -> tuple[Floats, Floats]:
    """Estimate and standard error of tables of shape (m, 4), by the large-sample formulas."""
    with np.errstate(all="ignore"):
        return _FORMULAS[measure](*cells.T)


def _odds_ratio(a: Floats, b: Floats, c: Floats, d: Floats) -> tuple[Floats, Floats]:
    return np.log(a * d / (b * c)), np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)


def _ratio(a: Floats, b: Floats, c: Floats, d: Floats, *, of_means: bool) -> tuple[Floats, Floats]:
    first, second = a + b, c + d
    ratio = np.log(a / first) - np.log(c / second)
    if of_means:  # a mean's variance is divided by n - 1
        return ratio, np.sqrt(b / (a * (first - 1)) + d / (c * (second - 1)))
    return ratio, np.sqrt(1 / a - 1 / first + 1 / c - 1 / second)


def _difference(a: Floats, b: Floats, c: Floats, d: Floats, *, less: int) -> tuple[Floats, Floats]:
    first, second = a + b, c + d
    variance = a * b / (first**2 * (first - less)) + c * d / (second**2 * (second - less))
    return a / first - c / second, np.sqrt(variance)


def _standardised(a: Floats, b: Floats, c: Floats, d: Floats) -> tuple[Floats, Floats]:
    first, second = a + b, c + d
    freedom = first + second - 2
    spread = np.sqrt((a * b / first + c * d / second) / freedom)
    g = _hedges(float(freedom[0]) if len(freedom) else 2.0) * (a / first - c / second) / spread
    return g, np.sqrt(1 / first + 1 / second + g**2 / (2 * (first + second)))


def _correlation(
    a: Floats, b: Floats, c: Floats, d: Floats, *, is_z: bool
) -> tuple[Floats, Floats]:
    first, second = a + b, c + d
    phi = (a * d - b * c) / np.sqrt(first * second * (a + c) * (b + d))
    n = first + second
    return (np.arctanh(phi), 1 / np.sqrt(n - 3)) if is_z else (phi, (1 - phi**2) / np.sqrt(n - 1))


_FORMULAS: Final[dict[str, Callable[..., tuple[Floats, Floats]]]] = {
    "OR": _odds_ratio,
    "RR": partial(_ratio, of_means=False),
    "ROM": partial(_ratio, of_means=True),
    "RD": partial(_difference, less=0),
    "MD": partial(_difference, less=1),
    "SMD": _standardised,
    "COR": partial(_correlation, is_z=False),
    "ZCOR": partial(_correlation, is_z=True),
}


def _hedges(freedom: float) -> float:
    """Hedges' exact correction of a standardised mean difference."""
    return math.exp(
        math.lgamma(freedom / 2) - 0.5 * math.log(freedom / 2) - math.lgamma((freedom - 1) / 2)
    )
