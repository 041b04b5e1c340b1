"""What one sampled curve says by itself: computed number by number, since sites are many.

The same curve as `qis.outcomes._curves.Curves`, at one value at a time and a hundred times faster.
"""

import math
from bisect import bisect_right

from qis.outcomes import LikelihoodProfile
from qis.outcomes._curves import POINTS
from qis.outcomes.profile import curves_of
from qis.synthesis._roots import passing_zero


class OneCurve:
    """The log-likelihood of one informative profile."""

    def __init__(self, profile: LikelihoodProfile) -> None:
        curves = curves_of([profile])
        self._points: list[float] = profile.points.tolist()
        self._values, self._gradients = profile.values, profile.gradients
        self._ends = (float(curves.below[0]), float(curves.above[0]))
        low, high = curves.limits
        self.limits = (float(low[0]), float(high[0]))
        """Values at minus and plus infinity."""

    def at(self, theta: float) -> tuple[float, float]:
        """Log-likelihood and its derivative."""
        points = self._points
        for edge, sign in ((0, -1.0), (-1, 1.0)):
            distance = sign * (theta - points[edge])
            if distance > 0.0:
                limit, outward = self._ends[edge], sign * self._gradients[edge]
                fading = math.exp(-min(distance, 700.0))
                value = self._values[edge] + limit * distance + (outward - limit) * (1.0 - fading)
                return value, sign * (limit + (outward - limit) * fading)
        k = min(bisect_right(points, theta, 1, POINTS - 1) - 1, POINTS - 2)
        width = points[k + 1] - points[k]
        x = (theta - points[k]) / width
        y = 1.0 - x
        rise = self._values[k + 1] - self._values[k]
        start, end = self._gradients[k], self._gradients[k + 1]
        value = self._values[k] + rise * (3.0 - 2.0 * x) * x * x
        value += width * x * y * (start * y - end * x)
        slope = 6.0 * x * y * rise / width + start * y * (1.0 - 3.0 * x) + end * x * (3.0 * x - 2.0)
        return value, slope

    def crossing(self, level: float, start: float, side: int) -> float:
        """Where it first falls below a level, from `start`, where it is above, to one side.

        Infinite if it never falls so far.
        """
        inside, outside = start, math.nan
        for k in range(POINTS) if side > 0 else range(POINTS - 1, -1, -1):
            point = self._points[k]
            if side * (point - start) > 0.0:
                if self._values[k] < level:
                    outside = point
                    break
                inside = point
        if math.isnan(outside):
            if self.limits[side > 0] >= level:
                return side * math.inf
            reach = 1.0
            while self.at(inside + side * reach)[0] >= level:
                inside += side * reach
                reach *= 2.0
            outside = inside + side * reach

        def newton(distance: float) -> tuple[float, float]:
            height, slope = self.at(inside + side * distance)
            falls = side * slope < 0.0
            return height - level, -side * (height - level) / slope if falls else 0.0

        width = abs(outside - inside)
        return inside + side * passing_zero(newton, width / 2.0, 0.0, width, floor=1.0)

    def far(self, side: int, level: float) -> float:
        """A value on a side towards which it rises for ever, where it is above a level."""
        edge = self._points[-1 if side > 0 else 0]
        reach = 0.0
        while self.at(edge + side * reach)[0] < level:
            reach = 2.0 * reach + 1.0
        return edge + side * reach
