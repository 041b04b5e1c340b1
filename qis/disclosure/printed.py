"""How numbers may have been rounded before they became an estimate and a standard error.

Papers print an estimate and the limits of its interval with a few decimals, and the standard error
is computed from these. It has many decimals then, and so has the logarithm of a ratio, but the
rounding is as wide as it was in print: whoever looks for the table behind them reckons with it.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.outcomes import Effect
from qis.outcomes._printed import _as_printed, _nearest

Floats = NDArray[np.float64]

TOLERANCE: Final = 1e-6
"""Relative agreement from which a table of whole numbers counts as the one behind an estimate."""
_MOST_DECIMALS: Final = 7
"""A number with as many decimals, or more, is not taken for a rounded one."""
_EDGE: Final = 1.0 + 1e-6
"""Half a unit is exceeded by this, for numbers in the middle between two decimals."""
_LEVELS: Final = (0.95, 0.9, 0.99)
_QUANTILES: Final = tuple(NormalDist().inv_cdf(0.5 + level / 2.0) for level in _LEVELS)
_AS_WRITTEN: Final = (*_QUANTILES, 1.96, 1.645, 2.576, 2.58)
"""Quantiles by which people divide the width of a printed interval."""
_RATIOS: Final = ("OR", "RR", "ROM", "HR", "IRR", "IRLN")
_LOG_ODDS: Final = "PLO"
_CONFIRMED: Final = 1e-9
_LARGEST_LOG: Final = 20.0


class Printed(NamedTuple):
    """A ratio and its interval as they were printed.

    Parameters
    ----------
    quantile
        Half the interval's width in standard errors.
    low, ratio, high
        On the log scale, between what the lower limit, the ratio and the upper limit lay before
        they were rounded.

    """

    quantile: float
    low: tuple[float, float]
    ratio: tuple[float, float]
    high: tuple[float, float]

    def fits(self, estimate: Floats, error: Floats) -> NDArray[np.bool_]:
        """True where an estimate and its standard error would be printed so."""
        kept = np.ones(np.shape(estimate), dtype=bool)
        ends = (-1.0, self.low), (0.0, self.ratio), (1.0, self.high)
        for side, (least, most) in ends:
            at = estimate + side * self.quantile * error
            kept &= (at >= least) & (at <= most)
        return kept


def half_unit(number: float) -> float:
    """Half a unit of the last decimal if the number looks rounded, else 0."""
    for decimals in range(_MOST_DECIMALS):
        if abs(number - round(number, decimals)) <= 1e-9 * max(1.0, abs(number)):
            return 0.5 * 10.0 ** -max(decimals, 1)
    return 0.0


def precision_of(outcome: Effect) -> tuple[float, float]:
    """Largest errors of estimate and standard error that rounding can have caused, by any reading.

    Either these were rounded themselves, or a number and the limits of its interval were, and
    estimate and standard error computed from them.
    """
    estimates, errors = zip(*roundings(outcome), strict=True)
    return max(estimates), max(errors)


def roundings(outcome: Effect) -> tuple[tuple[float, float], ...]:
    """Errors of estimate and standard error by each reading of how these were rounded.

    There are two where a standard error of few decimals is also that of an interval of few
    decimals: 0.05375 is 0.2107 / 3.92, and 0.065 is 0.2548 / 3.92.
    """
    estimate, error = outcome.estimate, outcome.standard_error
    units = [half_unit(estimate), half_unit(error)]
    ways = printed(outcome)
    for quantile, (low, low_to), (mid, mid_to), (high, high_to) in ways:
        units[0] = max(units[0], mid_to - estimate, estimate - mid)
        widths = high - low_to, high_to - low
        errors = [abs(width / (2.0 * quantile) - error) for width in widths]
        units[1] = max(units[1], *errors)
    readings = [units]
    if not ways and outcome.measure in (*_RATIOS, _LOG_ODDS):
        readings = [_of_logs(outcome, units)]
    elif not ways and units[0]:
        readings = _of_width(units, error)
    floor = TOLERANCE * max(1.0, abs(estimate)), TOLERANCE * error
    # No wider than rounding is: a table just beyond it would clear an outcome that it cannot be.
    return tuple(
        (max(of_estimate * _EDGE, floor[0]), max(of_error * _EDGE, floor[1]))
        for of_estimate, of_error in readings
    )


def _of_width(units: list[float], error: float) -> list[list[float]]:
    """Differences with an interval: twice the quantile times the error has few decimals too.

    A rounded error times 3.92 has two decimals more. If the product has no more decimals than the
    error or the estimate, error and interval are both taken for rounded, each by itself.
    """
    for quantile in _AS_WRITTEN:
        width = half_unit(2.0 * quantile * error)
        if width >= max(0.5e-5, min(units)):
            half = min(units[0], width)
            of_width = [half, half / quantile]
            return [units, of_width] if units[1] else [of_width]
    return [units]


def _of_logs(outcome: Effect, units: list[float]) -> list[float]:
    """Ratios, rates and proportions that were rounded themselves, with their limits."""
    estimate, error = outcome.estimate, outcome.standard_error
    quantile = _QUANTILES[0]
    if abs(estimate) + quantile * error >= _LARGEST_LOG:
        return units
    is_odds = outcome.measure == _LOG_ODDS
    ends = [estimate + side * quantile * error for side in (-1, 0, 1)]
    shares = [1.0 / (1.0 + math.exp(-end)) if is_odds else math.exp(end) for end in ends]
    unit = half_unit(shares[1])
    slopes = [share * (1.0 - share) if is_odds else share for share in shares]
    if not unit or min(slopes) <= 0.0:
        return units
    of_limits = (unit / slopes[0] + unit / slopes[2]) / (2.0 * quantile)
    return [max(units[0], unit / slopes[1]), max(units[1], of_limits)]


def printed(outcome: Effect) -> tuple[Printed, ...]:
    """What was printed, if `Effect.from_ratio` makes the outcome of a ratio and its interval.

    A float does not tell 0.270 from 0.27, so it may have been rounded in several ways.
    """
    if outcome.measure not in _RATIOS:
        return ()
    return _printed(outcome.estimate, outcome.standard_error)


@lru_cache(maxsize=256)
def _printed(estimate: float, error: float) -> tuple[Printed, ...]:
    """Round ratio and limits in every usual way, and see which of them gives the numbers back."""
    usual = _confirmed(estimate, error, _usual_ways)
    return usual or _confirmed(estimate, error, _all_ways)[:1]


def _confirmed(
    estimate: float, error: float, ways: Callable[[list[float]], Iterable[Sequence[float]]]
) -> tuple[Printed, ...]:
    found: dict[Printed, None] = {}
    for quantile in _QUANTILES:
        if abs(estimate) + quantile * error >= _LARGEST_LOG:
            continue
        exact = [math.exp(estimate + side * quantile * error) for side in (-1, 0, 1)]
        rounded: dict[float, list[tuple[float, float]]] = {}
        for units in ways(exact):
            for unit in units:
                if unit not in rounded:
                    rounded[unit] = [_rounded(number, unit) for number in exact]
            numbers = [rounded[unit][nth] for nth, unit in enumerate(units)]
            if _gives_back(numbers, max(units), (estimate, error * quantile)):
                found[Printed(quantile, *map(_end, [each for each, _ in numbers], units))] = None
    return tuple(found)


def _rounded(number: float, unit: float) -> tuple[float, float]:
    """A number to a unit, and the unit that its digits tell: trailing zeros are not seen."""
    shown = round(number, max(0, -round(math.log10(unit))))
    return _as_printed(shown)


def _gives_back(
    numbers: Sequence[tuple[float, float]], rounding: float, wanted: tuple[float, float]
) -> bool:
    """True if `middle_and_half` makes the wanted numbers of these, with `rounding` or without."""
    values = [value for value, _ in numbers]
    own = [unit for _, unit in numbers]
    if not 0.0 < values[0] <= values[1] <= values[2] or values[0] == values[2]:
        return False
    found = _nearest((values[0], values[1], values[2]), [min(own)] * 3)
    found = found or _nearest((values[0], values[1], values[2]), own)
    with_rounding = _nearest((values[0], values[1], values[2]), [rounding] * 3)
    return any(
        abs(each[0] - wanted[0]) <= _CONFIRMED * max(1.0, abs(wanted[0]))
        and abs(each[1] - wanted[1]) <= _CONFIRMED * max(1.0, wanted[1])
        for each in (found, with_rounding)
        if each is not None
    )


def _end(number: float, unit: float) -> tuple[float, float]:
    room = unit / 2.0 * _EDGE
    return math.log(max(number - room, 1e-300)), math.log(number + room)


def _usual_ways(numbers: list[float]) -> Iterator[Sequence[float]]:
    """Units to which three numbers are rounded: one decimal for all, or as many digits each."""
    yield from ((10.0**-decimals,) * 3 for decimals in (2, 3, 1, 4))
    for digits in (3, 2):
        yield [10.0 ** (math.floor(math.log10(number)) + 1 - digits) for number in numbers]


def _all_ways(_numbers: list[float]) -> Iterator[Sequence[float]]:
    yield from itertools.product([10.0**-decimals for decimals in (4, 3, 2, 1, 0)], repeat=3)
