"""Choose nine points at which values and slopes describe a whole log-likelihood, and sample it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.errors import InputError
from qis.outcomes._curves import POINTS

Function = Callable[[float], float]

START: Final = math.log(10.0)
"""Both sides reach at least this far from no effect, on the log scale."""
CAP: Final = 7.0
"""No side is widened beyond this: a ratio of about 1,100."""
_DROP: Final = 8.0
"""A side is wide enough when the log-likelihood has fallen by this: exp(-8) is 0.0003."""
_FLAT_SLOPE: Final = 0.02
"""A side on which it rises for ever is wide enough when the slope is below this."""
_STRAIGHT: Final = 0.2
"""A side is also wide enough when the slope is this near to its limit."""
_STEP: Final = 0.25
"""Step by which a side is widened, and of the scan for the maximum."""
_FAR: Final = 15.0
"""How far beyond `CAP` the limiting slopes are measured if they are not given."""
_STENCIL: Final = 0.01
"""Step of the central differences."""
_CLOSEST: Final = 0.02
"""The maximum keeps this distance from equally spaced points, as a share of their spacing.

Readers accept half of it, so that rounding to float32 cannot make a packet invalid.
"""


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


def well_apart(lower: float, upper: float, maximum: float) -> bool:
    """True if the maximum lies within the ends and not on an equally spaced point."""
    # The order of operations is that of docs/packet-format.md: another order rounds differently,
    # and a curve on the very edge would be valid for one reader and invalid for another.
    position = (POINTS - 2) * (maximum - lower) / (upper - lower)
    inside = _CLOSEST / 2 < position < POINTS - 2 - _CLOSEST / 2
    return inside and abs(position - round(position)) > _CLOSEST / 2


def sample(
    log_likelihood: Function,
    gradient: Function | None = None,
    limiting_slopes: tuple[float, float] | None = None,
) -> Sample:
    """Sample a log-likelihood of a log ratio.

    Parameters
    ----------
    log_likelihood
        Finite within ±7.1, with one maximum or none.
    gradient
        Its derivative; by default central differences of fourth order.
    limiting_slopes
        Its slopes (not outwards) at minus and plus infinity; by default the slopes at ±22,
        or at ±7 where those cannot be computed.

    Raises
    ------
    InputError
        If a value is not finite, or the function rises again towards an end.

    """
    value = _finite(log_likelihood)
    slope = _finite(gradient) if gradient is not None else _differences(value)
    rising, mode = _find_maximum(value, slope, limiting_slopes)
    if limiting_slopes is None:
        low, high = (_far_slope(slope, side) for side in (-1, 1))
        limiting_slopes = low, high
    top = value(mode) if mode is not None else value(CAP if rising > 0 else -CAP)
    ends = {
        side: _widen(
            value,
            slope,
            side,
            top=top,
            mode=mode,
            rises=mode is None and rising in (0, side),
            limiting_slopes=limiting_slopes,
        )
        for side in (-1, 1)
    }
    lower, upper = (_single(ends[side]) for side in (-1, 1))
    if mode is not None:
        mode = _single(mode)
        # A maximum near an end, or on another point, would leave only eight distinct points.
        lower, upper = min(lower, _single(mode - 0.1)), max(upper, _single(mode + 0.1))
        while not all(abs(off) > _CLOSEST for off in _offsets(lower, upper, mode)):
            upper = _single(upper + (upper - lower) / 64.0)
    return _filled(value, slope, (lower, upper, mode), rising, limiting_slopes)


def _filled(
    value: Function,
    slope: Function,
    grid: tuple[float, float, float | None],
    rising: int,
    limiting_slopes: tuple[float, float],
) -> Sample:
    """Values and slopes on the grid (lower end, upper end, maximum), made a valid profile."""
    lower, upper, mode = grid
    flat = mode is None and rising == 0
    where = points(lower, upper, mode)
    values = np.array([value(float(x)) for x in where])
    slopes = np.zeros(POINTS) if flat else np.array([slope(float(x)) for x in where])
    if mode is not None:
        top = float(values.max())
        slopes[where == mode] = 0.0
    else:
        top = float(values[-1 if rising > 0 else 0])
    # Rounding errors must not make a rising end fall, or another value the largest.
    if rising:
        edge = -1 if rising > 0 else 0
        slopes[edge] = rising * max(rising * slopes[edge], 0.0)
    values = np.zeros(POINTS) if flat else np.minimum(values - top, 0.0)
    for side, edge in ((-1, 0), (1, -1)):
        if rising != side and not flat and side * slopes[edge] > 0.0:
            raise InputError(
                f"the log-likelihood rises again at {where[edge]:.2f}; "
                "a profile must have one maximum or none",
                field="log_likelihood",
                actual=float(slopes[edge]),
            )
    return Sample(
        lower=lower,
        upper=upper,
        maximum=mode,
        slope_below=0.0 if flat or rising == -1 else min(-limiting_slopes[0], 0.0),
        slope_above=0.0 if flat or rising == 1 else min(limiting_slopes[1], 0.0),
        values=tuple(values.tolist()),
        gradients=tuple(slopes.tolist()),
    )


def _find_maximum(
    value: Function, slope: Function, limiting_slopes: tuple[float, float] | None
) -> tuple[int, float | None]:
    """The side towards which it rises for ever (-1 or 1, else 0), and its maximum, if finite.

    Without a finite maximum and without such a side it is the same everywhere.
    """
    scan = np.linspace(-CAP, CAP, round(2 * CAP / _STEP) + 1)
    heights = np.array([value(float(x)) for x in scan])
    noise = 1e-12 * max(1.0, float(np.abs(heights).max()))
    if np.ptp(heights) <= noise:
        return 0, None
    for side, edge in ((-1, 0), (1, -1)):
        endless = limiting_slopes is not None and limiting_slopes[edge] == 0.0
        at_end = heights[edge] >= heights.max() - noise and side * slope(side * CAP) > -1e-7
        if endless or at_end:
            return side, None
    best = int(heights.argmax())
    low, high = float(scan[max(best - 1, 0)]), float(scan[min(best + 1, scan.size - 1)])
    for _ in range(60):
        middle = (low + high) / 2.0
        if slope(middle) > 0.0:
            low = middle
        else:
            high = middle
    return 0, (low + high) / 2.0


def _widen(
    value: Function,
    slope: Function,
    side: int,
    *,
    top: float,
    mode: float | None,
    rises: bool,
    limiting_slopes: tuple[float, float],
) -> float:
    """Where the grid ends on a side: the first step that is wide enough, or `CAP`."""
    for step in range(math.ceil((CAP - START) / _STEP)):
        end = side * (START + step * _STEP)
        if mode is not None and side * (end - mode) <= 0.0:
            continue
        if rises:
            if abs(slope(end)) < _FLAT_SLOPE:
                return end
        # Where the slope is near its limit the tail is exact to second order: widening the grid
        # would gain nothing, and a wider spacing costs accuracy within.
        elif (
            top - value(end) >= _DROP
            or abs(slope(end) - limiting_slopes[0 if side < 0 else 1]) < _STRAIGHT
        ):
            return end
    return side * CAP


def _far_slope(slope: Function, side: int) -> float:
    """Slope far out on a side; nearer where it cannot be computed so far out."""
    for reach in (CAP + _FAR, CAP):
        try:
            far = slope(side * reach)
        except (InputError, ArithmeticError, ValueError):
            continue
        # A tail must not rise, whatever the function does far out.
        return far if side * far < 0.0 else 0.0
    return 0.0


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


def _finite(function: Function) -> Function:
    def checked(x: float) -> float:
        result = float(function(x))
        if not math.isfinite(result):
            raise InputError(
                f"the log-likelihood or its gradient at {x:.4g} is {result}; it must be finite",
                field="log_likelihood",
                actual=result,
            )
        return result

    return checked


def _single(value: float) -> float:
    return float(np.float32(value))
