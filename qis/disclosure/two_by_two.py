"""All 2×2 tables behind a crude estimate: those that give its numbers within their rounding.

An outsider who knows n tries all sizes of an arm and all numbers of events in it, and solves for
the events of the other arm. A number with few decimals is taken for a rounded one, unless some
table gives it to the last digit.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.formulas import estimates, number_of_formulas
from qis.disclosure.printed import half_unit, precision_of, printed, roundings
from qis.outcomes import Effect

Floats = NDArray[np.float64]

LARGEST: Final = 2_000
"""People up to whom all tables are tried; the work grows with the square."""
MEASURES: Final = ("OR", "RR", "RD", "MD", "ROM", "SMD", "COR", "ZCOR")
OF_MEANS: Final = ("MD", "ROM", "SMD", "COR", "ZCOR")
"""Mostly of measured values: rounded ones speak for yes/no only if the arms are not too unequal."""
CORRECTED: Final = ("OR", "RR", "RD")
"""Measures of counts, to which 0.5 is added where one is zero."""
_LEAST_ARM: Final = 20
"""An arm of rounded means is at least one in this many people."""
_EXACT: Final = 1e-9
"""Relative error of numbers that were computed in float64 and not rounded."""
_TO_THE_DIGIT: Final = 1e-11
"""The same of an estimate that alone, whatever its standard error is, tells the table."""
_TELLING: Final = ("OR", "RR", "RD", "MD", "ROM", "COR", "ZCOR")
_WIDTHS: Final = ((0.9, 1.4), (0.99, 1.4))
"""Exact, score and adjusted intervals are so many times as wide as those by the formulas.

An outsider may know nothing of the program, or that its intervals are never narrower.
"""
_FINE: Final = 0.6e-4
"""Half a unit of the last decimal that is fine enough for means: four decimals."""
_WIDEST: Final = 40
"""Most whole numbers that are tried for the events of the other arm."""
_GRID: Final = 6_000_000
"""Most tables that are tried one by one for a standardised mean difference."""
_CHUNK: Final = 1 << 18
"""Candidates in memory at once."""


class Fitting(NamedTuple):
    """Some of the tables that fit an effect.

    Parameters
    ----------
    rows
        Events and others of the treated arm, then of the control arm, shape (m, 4).
    by_reading
        Which reading gives it, bool of shape (readings, m): a reading is a formula of the standard
        error, and a way in which a printed interval or the numbers themselves were rounded.
    is_plain
        False for tables that give the numbers with 0.5 added to each cell. They speak for a small
        cell and never against one.

    """

    rows: Floats
    by_reading: NDArray[np.bool_]
    is_plain: bool


def tables(outcome: Effect) -> Iterator[Fitting]:
    """Yield the tables that fit an effect within its rounding, in parts, balanced arms first.

    Nothing is yielded if n is unknown or over `LARGEST`, or for other measures.
    """
    n = outcome.n
    if n is None or n > LARGEST or outcome.measure not in MEASURES:
        return
    sizes = _sizes(outcome, n)
    for shift in _shifts(outcome):
        for found in _candidates(outcome, sizes, shift):
            kept = found[(found >= 0).all(axis=1)]
            fits = _rounded(outcome, kept, shift)
            some = fits.any(axis=0)
            if some.any():
                yield Fitting(kept[some], fits[:, some], shift == 0.0)


def _sizes(outcome: Effect, n: int) -> NDArray[np.int64]:
    """Sizes of an arm that are tried, balanced ones first."""
    is_rounded = any(half_unit(x) for x in (outcome.estimate, outcome.standard_error))
    least = math.ceil(n / _LEAST_ARM) if is_rounded and outcome.measure in OF_MEANS else 1
    return np.array(sorted(range(least, n - least + 1), key=lambda size: abs(2 * size - n)))


def gives(outcome: Effect, found: Floats) -> NDArray[np.bool_]:
    """True where a table gives estimate and standard error within their rounding.

    Parameters
    ----------
    outcome
        An effect of one of `MEASURES`.
    found
        Tables, shape (m, 4), as they are or with 0.5 added to each cell.

    Returns
    -------
    bool of shape (readings, m).

    """
    ways = [_rounded(outcome, found, shift) for shift in _shifts(outcome)]
    fits: NDArray[np.bool_] = np.logical_or.reduce(ways)
    return fits


def gives_exactly(outcome: Effect, found: Floats) -> NDArray[np.bool_]:
    """The same where a table gives both numbers to nine digits, so that they are not rounded."""
    exact = (_EXACT * max(1.0, abs(outcome.estimate)), _EXACT * outcome.standard_error)
    fits = np.logical_or.reduce(
        [_within(outcome, found, shift, [exact]) for shift in _shifts(outcome)]
    )
    repeated: NDArray[np.bool_] = np.repeat(fits, _number_of_ways(outcome), axis=0)
    of_estimate = np.zeros((len(_WIDTHS) * _tells_alone(outcome), len(found)), dtype=bool)
    return np.concatenate([repeated, of_estimate])


def number_of_readings(outcome: Effect) -> int:
    """How many readings of its two numbers are searched, each by itself."""
    by_formula = number_of_formulas(outcome.measure) * _number_of_ways(outcome)
    return by_formula + len(_WIDTHS) * _tells_alone(outcome)


def _shifts(outcome: Effect) -> tuple[float, ...]:
    """What may have been added to each cell: 0.5 where one is zero, 1 by Agresti and Caffo."""
    if outcome.measure not in CORRECTED:
        return (0.0,)
    return (0.0, 0.5, 1.0) if outcome.measure == "RD" else (0.0, 0.5)


def _tells_alone(outcome: Effect) -> bool:
    """True if the estimate was not rounded, so that it tells the table by itself."""
    if outcome.measure not in _TELLING or printed(outcome):
        return False
    return bool(outcome.estimate) and not half_unit(outcome.estimate)


def _number_of_ways(outcome: Effect) -> int:
    return len(printed(outcome) or roundings(outcome))


def is_coarse(outcome: Effect) -> bool:
    """True for means, or a correlation, of fewer than four decimals.

    Measured values give such numbers too, and by chance most of them fit some table with a small
    cell (30 % of mean differences of three decimals in public data sets, 3 % of four), so that
    alone they are not taken for those of a yes/no variable.
    """
    units = half_unit(outcome.estimate), half_unit(outcome.standard_error)
    return outcome.measure in OF_MEANS and min(units) > _FINE


def _rounded(outcome: Effect, found: Floats, shift: float) -> NDArray[np.bool_]:
    ways = printed(outcome)
    if not ways:
        fits = _within(outcome, found, shift, _precisions(outcome))
        if not _tells_alone(outcome):
            return fits
        return np.concatenate([fits, _by_estimate(outcome, found, shift)])
    estimate, errors = estimates(outcome.measure, found + shift)
    with np.errstate(invalid="ignore"):
        return np.array([way.fits(estimate, error) for error in errors for way in ways])


def _precisions(outcome: Effect) -> tuple[tuple[float, float], ...]:
    """How far tables may be off the numbers, by each reading of how these were rounded.

    The error of a correlation follows from itself and n, so it tells no tables apart, and unless
    the correlation is taken to its last digit tables fit those of measured values by chance.
    """
    ways = roundings(outcome)
    if outcome.measure not in ("COR", "ZCOR") or half_unit(outcome.estimate):
        return ways
    exact = _TO_THE_DIGIT * max(1.0, abs(outcome.estimate))
    return tuple((exact, of_error) for _, of_error in ways)


def _by_estimate(outcome: Effect, found: Floats, shift: float) -> NDArray[np.bool_]:
    """Tables of this very estimate, whichever formula its standard error is by; shape (2, m)."""
    estimate, errors = estimates(outcome.measure, found + shift)
    near = _TO_THE_DIGIT * max(1.0, abs(outcome.estimate))
    with np.errstate(invalid="ignore"):
        is_estimate = np.abs(estimate - outcome.estimate) <= near
        return np.array(
            [  # the usual error, give or take
                is_estimate
                & (errors[0] >= outcome.standard_error / most)
                & (errors[0] <= outcome.standard_error / least)
                for least, most in _WIDTHS
            ]
        )


def _within(
    outcome: Effect, found: Floats, shift: float, precisions: Sequence[tuple[float, float]]
) -> NDArray[np.bool_]:
    estimate, errors = estimates(outcome.measure, found + shift)
    with np.errstate(invalid="ignore"):
        of_estimate = np.abs(estimate - outcome.estimate)
        return np.array(
            [
                (of_estimate <= near[0]) & (np.abs(error - outcome.standard_error) <= near[1])
                for error in errors
                for near in precisions
            ]
        )


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
