"""The sum of log-likelihood curves under one common effect: its maximum and where it has dropped.

Far out every curve is a straight line or level, so what happens at infinity is known exactly and
no result depends on where a search stopped.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.outcomes._curves import Curves

Floats = NDArray[np.float64]

_MARGIN: Final = 40.0
_STEP: Final = 0.05
_BLOCK: Final = 256


class PooledCurve:
    """Sum of curves, one a row, with the rows in an order that fixes every bit.

    Parameters
    ----------
    curves
        At least one curve, rows in the order of summation.

    """

    def __init__(self, curves: Curves) -> None:
        self._curves = curves
        low = float(curves.points.min()) - _MARGIN
        count = math.ceil((float(curves.points.max()) + _MARGIN - low) / _STEP)
        self._scan: Floats = low + _STEP * np.arange(count + 1, dtype=np.float64)
        self._heights = self.value(self._scan)

    def value(self, theta: Floats) -> Floats:
        """Summed log-likelihood at `theta`, shape (m,)."""
        return self._summed(self._curves.value, theta)

    def gradient(self, theta: Floats) -> Floats:
        """Derivative of `value` at `theta`, shape (m,)."""
        return self._summed(self._curves.gradient, theta)

    def maximum(self) -> tuple[float, float]:
        """Place and height of the largest value; the place may be infinite."""
        best = int(self._heights.argmax())
        low_limit, high_limit = (float(limits.sum()) for limits in self._curves.limits)
        # A side that is level at infinity wins if nothing inside exceeds its limit: the curves
        # approach it from below, to within rounding.
        noise = 1e-12 * (1.0 + abs(float(self._heights[best])))
        if max(low_limit, high_limit) >= self._heights[best] - noise:
            place = math.inf if high_limit >= low_limit else -math.inf
            return place, max(low_limit, high_limit)
        low = float(self._scan[max(best - 1, 0)])
        high = float(self._scan[min(best + 1, self._scan.size - 1)])
        place = _bisect(lambda x: float(self.gradient(np.array([x]))[0]) > 0.0, low, high)
        return place, max(float(self.value(np.array([place]))[0]), float(self._heights[best]))

    def crossing(self, start: float, level: float, side: int) -> float:
        """Where the sum first falls below `level` on the way from `start` to one side.

        Infinite if it never does.
        """
        limit = float(self._curves.limits[0 if side < 0 else 1].sum())
        if limit >= level:
            return side * math.inf
        inside = start
        ahead = self._scan[side * (self._scan - start) > 0.0][::side]
        below = np.flatnonzero(self.value(ahead) < level) if ahead.size else np.array([], int)
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
        return _bisect(lambda x: self._at(x) >= level, inside, outside)

    def far(self, side: int) -> float:
        """A place beyond which all curves have run straight or level for long."""
        return float(self._scan[-1 if side > 0 else 0])

    def _at(self, theta: float) -> float:
        return float(self.value(np.array([theta]))[0])

    def _summed(self, function: Callable[[Floats], Floats], theta: Floats) -> Floats:
        # Blocks of columns bound the memory; each column is summed alike whatever its block.
        blocks = [
            np.add.accumulate(function(theta[k : k + _BLOCK]), axis=0)[-1]
            for k in range(0, theta.size, _BLOCK)
        ]
        return np.concatenate(blocks)


def _bisect(inside: Callable[[float], bool], low: float, high: float) -> float:
    """The border between `low`, where `inside` holds, and `high`, where it does not."""
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if inside(middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
