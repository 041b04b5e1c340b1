"""Choose nine points at which values and slopes describe a whole log-likelihood, and sample it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis._given import as_float, hint, shown
from qis.errors import InputError
from qis.outcomes._curves import POINTS, Curves

Function = Callable[[float], float]
Evaluate = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Log-likelihoods and their derivatives at points of shape (m,)."""

START: Final = math.log(10.0)
"""Both sides reach at least this far from the centre, on the log scale, if that is exact enough."""
CAP: Final = 7.0
"""No side is widened beyond this from the centre: a ratio of about 1,100."""
FURTHEST: Final = 64.0
"""Ends and maximum of a profile lie within this; no table of four billion people passes 45."""
_LEVELS_OFF: Final = 0.01
"""A slope is level below this part of the largest value."""
_DROP: Final = 8.0
"""A side is wide enough when the log-likelihood has fallen by this: exp(-8) is 0.0003."""
_FLAT_SLOPE: Final = 0.02
"""A side on which it rises for ever is wide enough when the slope is below this."""
STRAIGHT: Final = 0.2
"""A side is also wide enough when the slope is this near to its limit."""
_STEP: Final = 0.25
"""Step by which a side is widened, and of the scan for the maximum."""
_FAR: Final = (22.0, 16.0, 12.0, 9.0, CAP)
"""Where the limiting slopes are measured if they are not given: as far out as can be computed."""
_LEVEL: Final = 1e-7
"""A measured slope below this is none."""
_DIP: Final = 1e-6
"""Two maxima are told apart from rounding if the dip between them exceeds this, or 1e-9 of all."""
_STENCIL: Final = 0.01
"""Step of the central differences."""
_CLOSEST: Final = 0.02
"""The maximum keeps this distance from equally spaced points, as a share of their spacing.

Readers accept half of it, so that rounding to float32 cannot make a packet invalid.
"""
_EXACT: Final = 0.004
"""A slope read from the curve may be wrong by this, in units of one over the standard error, so
that a pooled estimate is moved by no more than this part of its own standard error by each site."""
_NARROWER: Final = 0.85
"""Factor by which a range is narrowed until its curve is that exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sampled log-likelihood; fields as in `qis.outcomes.LikelihoodProfile`."""

    lower: float
    upper: float
    maximum: float | None
    slope_below: float
    slope_above: float
    values: tuple[float, ...]
    gradients: tuple[float, ...]


def points(lower: float, upper: float, maximum: float | None) -> NDArray[np.float64]:
    """The nine points: 8 equally spaced and the maximum, or 9 where there is no maximum."""
    count = POINTS if maximum is None else POINTS - 1
    even = lower + (upper - lower) * np.arange(count) / (count - 1)
    even[-1] = upper
    return even if maximum is None else np.sort(np.append(even, maximum))


def points_of_all(ranges: Sequence[tuple[float, float, float | None]]) -> NDArray[np.float64]:
    """As `points` of each, to the bit: one a row, shape (k, 9)."""
    if len(ranges) == 1:
        return points(*ranges[0])[np.newaxis]
    lower, upper = (np.array([each[end] for each in ranges])[:, np.newaxis] for end in (0, 1))
    peaks = np.array([np.nan if peak is None else peak for _, _, peak in ranges])
    found = np.empty((len(ranges), POINTS))
    for rows, count in ((np.isnan(peaks), POINTS), (~np.isnan(peaks), POINTS - 1)):
        even = lower[rows] + (upper[rows] - lower[rows]) * np.arange(count) / (count - 1)
        even[:, -1:] = upper[rows]
        if count < POINTS:
            even = np.sort(np.column_stack((even, peaks[rows])), axis=1)
        found[rows] = even
    return found


def well_apart(lower: float, upper: float, maximum: float) -> bool:
    """True if the maximum lies within the ends and not on an equally spaced point."""
    # The order of operations is that of docs/packet-format.md: another order rounds differently,
    # and a curve on the very edge would be valid for one reader and invalid for another.
    position = (POINTS - 2) * (maximum - lower) / (upper - lower)
    inside = _CLOSEST / 2 < position < POINTS - 2 - _CLOSEST / 2
    return inside and abs(position - round(position)) > _CLOSEST / 2


def sample(evaluate: Evaluate, limiting_slopes: tuple[float, float] | None = None) -> Sample:
    """Sample a log-likelihood of a log ratio.

    Parameters
    ----------
    evaluate
        Finite within ±7.1, and wherever it is asked for beyond, with one maximum or none.
    limiting_slopes
        Its slopes (not outwards) at minus and plus infinity; by default those as far out as they
        can be computed, up to ±22.

    Raises
    ------
    InputError
        If a value is not finite, there are several maxima, or it still rises where it cannot be
        computed any more.

    """
    scan = np.linspace(-CAP, CAP, round(2 * CAP / _STEP) + 1)
    heights, gradients = evaluate(scan)
    _refuse_two_maxima(scan, heights)
    noise = 1e-12 * max(1.0, float(np.abs(heights).max()))
    is_level = bool(np.ptp(heights) <= noise)
    is_measured = limiting_slopes is None
    if limiting_slopes is None:
        limiting_slopes = _measured_slopes(evaluate, 0.0)
        edge = 0 if heights[0] > heights[-1] else -1
        at_end = not is_level and heights[edge] >= heights.max() - noise
        rising = (-1 if edge == 0 else 1) if at_end else 0
        if rising:
            rising = _endless(rising, rising * limiting_slopes[edge])
    else:
        rises = [not any(limiting_slopes[edge:][:1]) for edge in (0, 1)]
        rising = 0 if rises[0] == rises[1] else rises[1] - rises[0]
        is_level = all(rises)
    if is_level and max(map(abs, limiting_slopes)) < _LEVEL:
        zeros = (0.0,) * POINTS
        return Sample(
            lower=_single(-START),
            upper=_single(START),
            maximum=None,
            slope_below=0.0,
            slope_above=0.0,
            values=zeros,
            gradients=zeros,
        )
    low_slope, high_slope = limiting_slopes
    slopes = (0.0 if rising < 0 else low_slope), (0.0 if rising > 0 else high_slope)
    if rising:
        # It bends about where the slope is half of that on the other side, or, where it is level
        # there, too, half of the steepest.
        half = (slopes[0] if rising > 0 else slopes[1]) / 2.0
        steepest = int(np.abs(gradients).argmax())
        if abs(half) < abs(gradients[steepest]) / 4.0:
            ends = sorted((float(scan[steepest]), rising * CAP))
            bend = _falls_through(evaluate, float(gradients[steepest]) / 2.0, *ends)
        else:
            bend = _falls_through(evaluate, half)
        grid = _SamplingGrid(evaluate, rising, bend, slopes)
    else:
        best = int(heights.argmax())
        near = scan[[max(best - 1, 0), min(best + 1, len(scan) - 1)]].tolist()
        mode = _falls_through(evaluate, 0.0, *near)
        if is_measured and CAP < abs(mode) < FURTHEST:
            slopes = _measured_slopes(evaluate, mode)
        grid = _SamplingGrid(evaluate, 0, mode, slopes)
    return grid.sample()


def pointwise(log_likelihood: Function, gradient: Function | None = None) -> Evaluate:
    """Functions of one number, the derivative by default by central differences."""
    log_likelihood = _answering(log_likelihood, "log_likelihood")
    if gradient is not None:
        gradient = _answering(gradient, "gradient")
    slope = _differences(log_likelihood) if gradient is None else gradient

    def evaluate(
        theta: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        where = theta.tolist()
        return (
            np.array([_finite(log_likelihood, x) for x in where]),
            np.array([_finite(slope, x) for x in where]),
        )

    return evaluate


def _answering(function: Function, field: str) -> Function:
    """The function, whose failures and odd answers become errors that name it."""

    def answer(x: float) -> float:
        try:
            found = function(x)
        except Exception as error:  # it is the application's own function
            raise InputError(
                f"{field}({x:.4g}) raised {type(error).__name__}: {error!s:.200}; it takes a log "
                "ratio and gives a number",
                field=field,
                actual=error,
            ) from error
        number = as_float(found)
        if number is None:
            raise InputError(
                f"{field}({x:.4g}) gave {shown(found)}; it must give a number{hint(found)}",
                field=field,
                actual=found,
            )
        return number

    return answer


def no_likelihood(evaluate: Evaluate) -> Evaluate:
    """Refuse a likelihood that is given for its logarithm.

    A likelihood is nowhere negative and levels off to both sides, at 0 or, towards one side, above.
    Its logarithm falls for ever to one side at least.
    """
    scan = np.linspace(-CAP, CAP, round(2 * CAP / _STEP) + 1)
    heights, slopes = evaluate(scan)
    top = float(heights.max())
    is_level = np.abs(slopes[[0, -1]]).max() <= _LEVELS_OFF * top
    if heights.min() >= 0.0 and is_level and np.ptp(heights) > top / 2.0:
        raise InputError(
            f"log_likelihood goes from {heights.min():.3g} to {top:.3g} and is level at both ends, "
            "as a likelihood is: give its logarithm",
            field="log_likelihood",
        )
    return evaluate


class _SamplingGrid:
    """Where the points of one log-likelihood lie.

    Parameters
    ----------
    evaluate
        The log-likelihood and its derivative.
    rising
        The side, -1 or 1, towards which it rises for ever; 0 if it has a maximum.
    centre
        The maximum; where it rises for ever, where it bends most.
    slopes
        Limiting slopes at minus and plus infinity, 0 on a side towards which it rises.

    """

    def __init__(
        self, evaluate: Evaluate, rising: int, centre: float, slopes: tuple[float, float]
    ) -> None:
        self._evaluate = evaluate
        self._rising = rising
        self._slopes = slopes
        self._mode = None if rising else _single(centre)
        if abs(centre) + CAP > FURTHEST:
            raise InputError(
                f"the log-likelihood bends at {centre:.4g}; a packet holds log ratios within "
                f"{FURTHEST - CAP:g}",
                field="log_likelihood",
                actual=centre,
                limit=FURTHEST - CAP,
            )
        # About no effect, where others' estimates are likely, unless its own is far from there.
        self._centre = centre if abs(centre) > START else 0.0
        self._top = 0.0
        if self._mode is not None:
            self._top = float(evaluate(np.array([self._mode]))[0][0])

    def sample(self) -> Sample:
        """Values and slopes on the widest grid whose curve is exact enough."""
        first = self._rising or -1
        ends = {}
        for side in (first, -first):
            ends[side] = self._widened(side)
            if side == self._rising:
                self._top = float(self._evaluate(np.array([ends[side]]))[0][0])
        found = self._filled(*self._fitted(ends[-1], ends[1]))
        needed: dict[int, float] = {}
        while self._error(found) > _EXACT and ends != needed:
            needed = needed or {side: self._needed(side, ends) for side in (-1, 1)}
            anchor = self._anchor(ends)
            for side in (-1, 1):
                nearer = anchor + (ends[side] - anchor) * _NARROWER
                ends[side] = side * max(side * nearer, side * needed[side])
            found = self._filled(*self._fitted(ends[-1], ends[1]))
        return found

    def _anchor(self, ends: dict[int, float]) -> float:
        return ends[self._rising] if self._mode is None else self._mode

    def _is_wide(self, side: int, ends: NDArray[np.float64]) -> NDArray[np.bool_]:
        values, slopes = self._evaluate(ends)
        if side == self._rising:
            return np.abs(slopes) < _FLAT_SLOPE
        # Where the slope is near its limit the tail is exact to second order: widening the grid
        # would gain nothing, and a wider spacing costs accuracy within.
        limit = self._slopes[0 if side < 0 else 1]
        wide: NDArray[np.bool_] = self._top - values >= _DROP
        return wide | (np.abs(slopes - limit) < STRAIGHT)

    def _widened(self, side: int) -> float:
        """Where the grid ends on a side: the first step that is wide enough, or `CAP`."""
        steps = np.arange(math.ceil((CAP - START) / _STEP)) * _STEP
        ends = self._centre + side * np.append(START + steps, CAP)
        if self._mode is not None:
            ends = ends[side * (ends - self._mode) > 0.0]
        return self._first_wide(side, ends)

    def _first_wide(self, side: int, ends: NDArray[np.float64]) -> float:
        """The first of these ends that is wide enough, or the last."""
        for start in range(0, ends.size, _AT_ONCE):
            some = ends[start : start + _AT_ONCE]
            wide = np.flatnonzero(self._is_wide(side, some))
            if wide.size:
                return float(some[wide[0]])
        return float(ends[-1])

    def _needed(self, side: int, ends: dict[int, float]) -> float:
        """How near an end may come if the curve of the wider grid is not exact enough."""
        if side == self._rising:
            return ends[side]
        anchor = self._anchor(ends)
        reach = abs(ends[side] - anchor)
        nearer = [0.1]
        while nearer[-1] < reach:
            nearer.append(1.25 * nearer[-1])
        nearer[-1] = max(reach, 0.1)
        return self._first_wide(side, anchor + side * np.array(nearer))

    def _fitted(self, lower: float, upper: float) -> tuple[float, float]:
        """The ends in float32, and so that the maximum is not on another point."""
        low, high, mode = _single(lower), _single(upper), self._mode
        if mode is not None:
            # A maximum near an end, or on another point, would leave only eight distinct points.
            low, high = min(low, _single(mode - 0.1)), max(high, _single(mode + 0.1))
            while not all(abs(off) > _CLOSEST for off in _offsets(low, high, mode)):
                high = _single(high + (high - low) / 64.0)
        return low, high

    def _error(self, found: Sample) -> float:
        """The largest error of the curve's slope, in units of one over the standard error."""
        where = points(found.lower, found.upper, found.maximum)
        curve = Curves(
            points=where[np.newaxis],
            values=np.array([found.values]),
            gradients=np.array([found.gradients]),
            below=np.zeros(1),
            above=np.zeros(1),
        )
        between = (where[:-1, np.newaxis] + np.diff(where)[:, np.newaxis] * _BETWEEN).ravel()
        _, slopes, bends = curve.evaluate(between)
        _, exact = self._evaluate(between)
        sharpest = max(float(-bends.min()), 0.0)
        return float(np.abs(slopes[0] - exact).max()) / math.sqrt(max(sharpest, 1.0))

    def _filled(self, lower: float, upper: float) -> Sample:
        """Values and slopes on the grid, made a valid profile."""
        mode, rising = self._mode, self._rising
        where = points(lower, upper, mode)
        values, slopes = self._evaluate(where)
        edge = -1 if rising > 0 else 0
        top = float(values.max()) if mode is not None else float(values[edge])
        # Rounding errors must not make a rising end fall, or another value the largest.
        if mode is not None:
            slopes = np.where(where == mode, 0.0, slopes)
            values = np.where(where == mode, top, values)
        else:
            slopes[edge] = rising * max(rising * slopes[edge], 0.0)
        values = np.minimum(values - top, 0.0)
        for side, end in ((-1, 0), (1, -1)):
            if rising != side and side * slopes[end] > 0.0:
                _refuse_rise(float(where[end]), float(slopes[end]))
        return Sample(
            lower=lower,
            upper=upper,
            maximum=mode,
            slope_below=min(-self._slopes[0], 0.0),
            slope_above=min(self._slopes[1], 0.0),
            values=tuple(values.tolist()),
            gradients=tuple(slopes.tolist()),
        )


_ROUNDS: Final = 200
_CLOSE: Final = 1e-13
_AT_ONCE: Final = 4
"""Candidates for an end that are tried together."""
_BETWEEN: Final = np.array([0.2, 0.5, 0.8])
"""Positions between two points where the curve is compared with the function."""


def _falls_through(evaluate: Evaluate, level: float, low: float = -CAP, high: float = CAP) -> float:
    """Where the slope, which falls, passes a level: within two points, or beyond them."""
    while low > -FURTHEST and evaluate(np.array([low]))[1][0] <= level:
        low, high = min(2.0 * low, -CAP), low
    while high < FURTHEST and evaluate(np.array([high]))[1][0] > level:
        low, high = high, max(2.0 * high, CAP)
    above, below = (float(evaluate(np.array([end]))[1][0]) - level for end in (low, high))
    if not above > 0.0 >= below:  # it lies beyond what a packet holds
        return low if above <= 0.0 else high
    found = low
    # The Illinois method (Dowell & Jarratt 1971): straight lines, none of whose ends stays.
    for _ in range(_ROUNDS):
        before, found = found, low + (high - low) * above / (above - below)
        height = float(evaluate(np.array([found]))[1][0]) - level
        if height == 0.0 or abs(found - before) <= _CLOSE * max(abs(found), 1.0):
            break
        if height > 0.0:
            below = below / 2.0 if before == low else below
            low, above = found, height
        else:
            above = above / 2.0 if before == high else above
            high, below = found, height
    return found


def _refuse_two_maxima(scan: NDArray[np.float64], heights: NDArray[np.float64]) -> None:
    best = int(heights.argmax())
    allowed = max(_DIP, 1e-9 * float(np.abs(heights).max()))
    rise = np.maximum.accumulate(heights[: best + 1]) - heights[: best + 1]
    fall = np.maximum.accumulate(heights[best:][::-1])[::-1] - heights[best:]
    for dips, first in ((rise, 0), (fall, best)):
        if dips.max() > allowed:
            dip = float(scan[first + int(dips.argmax())])
            raise InputError(
                f"the log-likelihood has two maxima and a dip of {dips.max():.3g} between them at "
                f"{dip:.2f}: it rises again; a profile must have one maximum or none",
                field="log_likelihood",
                actual=dip,
            )


def _refuse_rise(where: float, slope: float) -> None:
    raise InputError(
        f"the log-likelihood rises again at {where:.2f}; a profile must have one maximum or none",
        field="log_likelihood",
        actual=slope,
    )


def _endless(side: int, rise: float) -> int:
    """The side, if it rises towards it ever less; 0 if it falls again further out."""
    if rise < -_LEVEL:
        return 0
    if rise >= _FLAT_SLOPE:
        raise InputError(
            f"the log-likelihood still rises towards {'larger' if side > 0 else 'smaller'} values, "
            f"by {rise:.3g} a unit, as far out as it can be computed, so nobody can say whether it "
            "has a maximum; let it be finite within ±22, or say its limiting slopes",
            field="log_likelihood",
            actual=rise,
            limit=_FLAT_SLOPE,
        )
    return side


def _measured_slopes(evaluate: Evaluate, centre: float) -> tuple[float, float]:
    """Slopes as far out on both sides of a centre as they can be computed."""
    found = []
    for side in (-1.0, 1.0):
        for reach in _FAR:
            try:
                slope = float(evaluate(np.array([centre + side * reach]))[1][0])
            except (InputError, ArithmeticError, ValueError):
                continue
            # What still falls so slowly out there is level: a limit drawn from its slope would lie
            # at a ratio that means nothing.
            found.append(slope if abs(slope) >= _FLAT_SLOPE else 0.0)
            break
        else:
            found.append(0.0)
    return found[0], found[1]


def _offsets(lower: float, upper: float, maximum: float) -> list[float]:
    """Distances of the maximum from the equally spaced points, in units of their spacing."""
    position = (maximum - lower) * (POINTS - 2) / (upper - lower)
    return [position - k for k in range(POINTS - 1)]


def _differences(value: Function) -> Function:
    """Derivative by central differences of fourth order."""

    def slope(x: float) -> float:
        near = value(x + _STENCIL) - value(x - _STENCIL)
        wide = value(x + 2 * _STENCIL) - value(x - 2 * _STENCIL)
        return (8.0 * near - wide) / (12.0 * _STENCIL)

    return slope


def _finite(function: Function, x: float) -> float:
    result = float(function(x))
    if not math.isfinite(result):
        raise InputError(
            f"the log-likelihood or its gradient at {x:.4g} is {result}; it must be finite",
            field="log_likelihood",
            actual=result,
        )
    return result


def _single(value: float) -> float:
    return float(np.float32(value))
