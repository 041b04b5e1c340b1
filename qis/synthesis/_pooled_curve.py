"""The largest value of a log-likelihood, and where it has dropped.

Far out every curve is a straight line or level, so what happens at infinity is known exactly and
no result depends on where a search stopped.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.outcomes._curves import Curves
from qis.synthesis._roots import passing_zero
from qis.synthesis.currency import Likelihood, has_tails

Floats = NDArray[np.float64]

_MARGIN: Final = 40.0
"""How far beyond the outermost points the scan goes, in the parameter's unit."""
_STEP: Final = 0.05
"""Distance of the scan's points."""
_MANY: Final = 100
"""From more curves than this the scan is in wider steps, and only where they bend."""
_WIDE: Final = 0.2
_FADED: Final = 8.0
"""Beyond the ends by this a curve's bend is over: exp(-8) of it is left."""
_LONGEST: Final = 20_000
"""Most points of the scan; wider spans are scanned in wider steps."""
_RELATIVE: Final = 1e3
"""Points are found to 1e-14 of themselves, or of this times the finest standard deviation."""
_PARTS: Final = 32
_CUTS: Final = 11
"""32**11 is 2**55: more parts than the 53 bits of a float64 tell apart."""


class PooledCurve:
    """Searches one log-likelihood that is not a mere parabola.

    Where every row is concave the sum has one maximum, which Newton's steps find. Sampled curves
    are cubics in between their points, and the likelihoods of means have heavy tails, so that their
    sums may have several: they are scanned first.

    Parameters
    ----------
    likelihood
        With at least one row.

    """

    def __init__(self, likelihood: Likelihood) -> None:
        self._likelihood = likelihood
        # Curves that are straight between their points have no sharpness: then a unit.
        self._finest = min(likelihood.finest, 1.0)
        self._floor = _RELATIVE * self._finest
        low, high = likelihood.span
        self._ends = low - _MARGIN, high + _MARGIN
        self._scan: Floats | None = None
        if likelihood.is_concave:
            return
        count = min(math.ceil((self._ends[1] - self._ends[0]) / _STEP), _LONGEST)
        points = np.linspace(*self._ends, count + 1)
        if likelihood.curves is not None and len(likelihood.curves) > _MANY:
            # So many curves bend together: a maximum of their sum is wider than one curve's.
            count = math.ceil((high - low + 2.0 * _FADED) / _WIDE)
            points = np.linspace(low - _FADED, high + _FADED, count + 1)
            points = np.concatenate((self._ends[:1], points, self._ends[1:]))
        if likelihood.precision > 0.0:
            near = np.linspace(-12.0, 12.0, 481) * likelihood.precision**-0.5
            points = np.sort(np.concatenate((points, likelihood.centre + near)))
        if count == _LONGEST and has_tails(likelihood.exact):
            # Peaks may be narrower than the steps. Only rows of means are this far apart.
            errors = likelihood.exact.sharpest**-0.5
            near = likelihood.exact.centre + np.multiply.outer(np.linspace(-6.0, 6.0, 25), errors)
            points = np.sort(np.concatenate((points, near.ravel())))
        self._scan = points
        self._heights = self._rough_heights(points)

    def _rough_heights(self, points: Floats) -> Floats:
        """Values at the scan's points; of many exact rows their sum is interpolated."""
        whole = self._likelihood
        if whole.exact is None or whole.curves is None:
            return whole.value(points)
        exact = replace(whole, curves=None)
        knots = np.linspace(*self._ends, math.ceil((self._ends[1] - self._ends[0]) * 2.0) + 1)
        peak, _ = PooledCurve(exact).maximum()
        if math.isfinite(peak):
            near = peak + exact.finest * np.sinh(np.linspace(-6.0, 6.0, 61))
            knots = np.unique(np.concatenate((knots, near)))
        values, slopes, _ = exact.evaluate(knots)
        table = Curves(
            points=knots[np.newaxis],
            values=values[np.newaxis],
            gradients=slopes[np.newaxis],
            below=np.minimum(-slopes[:1], 0.0),
            above=np.minimum(slopes[-1:], 0.0),
        )
        curves = replace(whole, exact=None, precision=0.0).value(points)
        heights: Floats = curves + table.value(points)[0]
        return heights

    def maximum(self) -> tuple[float, float]:
        """Argmax and height of the largest value; the argmax may be infinite."""
        low_limit, high_limit = self._likelihood.limits
        if self._scan is None:
            if max(low_limit, high_limit) > -math.inf:  # concave: it rises all the way to there
                return math.copysign(math.inf, high_limit - low_limit), max(low_limit, high_limit)
            return self._peak(*self._ends)
        best = int(self._heights.argmax())
        # A side that is level at infinity wins if nothing inside exceeds its limit: the curves
        # approach it from below, to within rounding.
        noise = 1e-12 * (1.0 + abs(float(self._heights[best])))
        if max(low_limit, high_limit) >= self._heights[best] - noise:
            argmax = math.inf if high_limit >= low_limit else -math.inf
            return argmax, max(low_limit, high_limit)
        return self._peak(
            float(self._scan[max(best - 1, 0)]),
            float(self._scan[min(best + 1, self._scan.size - 1)]),
        )

    def _peak(self, low: float, high: float) -> tuple[float, float]:
        """The maximum between two points, at the lower of which it rises and then falls."""

        def newton(theta: float) -> tuple[float, float]:
            _, slope, bend = self._at(theta)
            return slope, -slope / bend if bend < 0.0 else 0.0

        argmax = passing_zero(newton, (low + high) / 2.0, low, high, floor=self._floor)
        return argmax, self._at(argmax)[0]

    def crossing(self, start: float, level: float, side: int) -> float:
        """The point where the curve first falls below `level`, from `start` to one side.

        `side` is -1 or 1. Infinite if the curve never falls so far.
        """
        limit = self._likelihood.limits[0 if side < 0 else 1]
        if limit >= level:
            return side * math.inf
        inside, outside = self._bracket(start, level, side)

        def newton(distance: float) -> tuple[float, float]:
            height, slope, _ = self._at(inside + side * distance)
            falls = side * slope < 0.0
            return height - level, -side * (height - level) / slope if falls else 0.0

        width = abs(outside - inside)
        distance = passing_zero(newton, width / 2.0, 0.0, width, floor=self._floor)
        return inside + side * distance

    def _bracket(self, start: float, level: float, side: int) -> tuple[float, float]:
        """Two points on a side, between which the curve falls below `level` first."""
        inside, reach = start, self._finest
        if self._scan is not None:
            chosen = side * (self._scan - start) > 0.0
            ahead = self._scan[chosen][::side]
            below = np.flatnonzero(self._heights[chosen][::side] < level)
            if below.size:
                first = int(below[0])
                # The heights may be interpolated, hence the look at the point itself.
                inside = float(ahead[first - 1]) if first else start
                outside = float(ahead[first])
                if self._at(inside)[0] >= level > self._at(outside)[0]:
                    return inside, outside
                inside = start
            elif ahead.size:
                inside = float(ahead[-1])
        while self._at(inside + side * reach)[0] >= level:
            inside += side * reach
            reach *= 2.0
        return inside, inside + side * reach

    def far(self, side: int) -> float:
        """A point beyond which all curves have run straight or level for long."""
        return self._ends[1 if side > 0 else 0]

    def _at(self, theta: float) -> tuple[float, float, float]:
        values, slopes, bends = self._likelihood.evaluate(np.array([theta]))
        return float(values[0]), float(slopes[0]), float(bends[0])


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
