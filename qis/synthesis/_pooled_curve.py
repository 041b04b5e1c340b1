"""The largest value of a log-likelihood, and where it has dropped.

Far out every curve is a straight line or level, so what happens at infinity is known exactly and
no result depends on where a search stopped.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.synthesis.currency import Likelihood

Floats = NDArray[np.float64]

_MARGIN: Final = 40.0
"""How far beyond the outermost points the scan goes, in the parameter's unit."""
_STEP: Final = 0.05
"""Distance of the scan's points."""
_LONGEST: Final = 20_000
"""Most points of the scan; wider spans are scanned in wider steps."""
_PARTS: Final = 32
_CUTS: Final = 11
"""32**11 is 2**55: more parts than the 53 bits of a float64 tell apart."""


class PooledCurve:
    """Searches one log-likelihood that is not a mere parabola.

    Parameters
    ----------
    likelihood
        With at least one curve.

    """

    def __init__(self, likelihood: Likelihood) -> None:
        self._likelihood = likelihood
        low, high = likelihood.span
        count = min(math.ceil((high - low + 2.0 * _MARGIN) / _STEP), _LONGEST)
        points = np.linspace(low - _MARGIN, high + _MARGIN, count + 1)
        if likelihood.precision > 0.0:
            near = np.linspace(-12.0, 12.0, 481) * likelihood.precision**-0.5
            points = np.sort(np.concatenate((points, likelihood.centre + near)))
        self._scan: Floats = points
        self._heights = likelihood.value(points)

    def maximum(self) -> tuple[float, float]:
        """Argmax and height of the largest value; the argmax may be infinite."""
        best = int(self._heights.argmax())
        low_limit, high_limit = self._likelihood.limits
        # A side that is level at infinity wins if nothing inside exceeds its limit: the curves
        # approach it from below, to within rounding.
        noise = 1e-12 * (1.0 + abs(float(self._heights[best])))
        if max(low_limit, high_limit) >= self._heights[best] - noise:
            argmax = math.inf if high_limit >= low_limit else -math.inf
            return argmax, max(low_limit, high_limit)
        low = float(self._scan[max(best - 1, 0)])
        high = float(self._scan[min(best + 1, self._scan.size - 1)])
        argmax = border(lambda x: self._likelihood.gradient(x) > 0.0, low, high)
        return argmax, max(self._at(argmax), float(self._heights[best]))

    def crossing(self, start: float, level: float, side: int) -> float:
        """The point where the curve first falls below `level`, from `start` to one side.

        `side` is -1 or 1. Infinite if the curve never falls so far.
        """
        limit = self._likelihood.limits[0 if side < 0 else 1]
        if limit >= level:
            return side * math.inf
        chosen = side * (self._scan - start) > 0.0
        ahead = self._scan[chosen][::side]
        below = np.flatnonzero(self._heights[chosen][::side] < level)
        if below.size:
            first = int(below[0])
            inside = float(ahead[first - 1]) if first else start
            outside = float(ahead[first])
        else:
            inside = float(ahead[-1]) if ahead.size else start
            reach = _MARGIN
            while self._at(inside + side * reach) >= level:
                reach *= 2.0
            outside = inside + side * reach
        return border(lambda x: self._likelihood.value(x) >= level, inside, outside)

    def far(self, side: int) -> float:
        """A point beyond which all curves have run straight or level for long."""
        return float(self._scan[-1 if side > 0 else 0])

    def _at(self, theta: float) -> float:
        return float(self._likelihood.value(np.array([theta]))[0])


def maximum_of(likelihood: Likelihood) -> tuple[float, float]:
    """Argmax and height of the largest value of any likelihood; the argmax may be infinite."""
    if likelihood.is_parabola:
        return likelihood.centre, 0.0
    return PooledCurve(likelihood).maximum()


def border(holds: Callable[[Floats], NDArray[np.bool_]], inside: float, outside: float) -> float:
    """Where a condition that holds at `inside` first ceases to on the way to `outside`.

    To the last bit or so; `holds` takes an array, so that each call rules out all but one part
    in 32.
    """
    for _ in range(_CUTS):
        points = np.linspace(inside, outside, _PARTS + 1)
        fails = np.flatnonzero(~holds(points[1:-1]))
        first = int(fails[0]) if fails.size else _PARTS - 1
        inside, outside = float(points[first]), float(points[first + 1])
    return (inside + outside) / 2.0
