"""A density known at equally spaced points: its moments and quantiles, to fourth order."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """A density, not normalised; negligible at both ends, or even about the first point.

    Parameters
    ----------
    start, step
        First point, and distance from each to the next.
    heights
        Shape (m,), not negative.
    is_even
        True if the density goes on mirrored below `start`, as one of a scale does at 0.

    """

    start: float
    step: float
    heights: Floats
    is_even: bool = False

    @property
    def _masses(self) -> Floats:
        """Integral over each cell between two points, by cubics through four of them."""
        f = self.heights
        before = f[1] if self.is_even else 0.0
        wide = np.concatenate(([before], f, [0.0]))
        # The integral of the cubic through four equally spaced values, over the middle one of its
        # three cells.
        cells: Floats = (13.0 * (wide[1:-2] + wide[2:-1]) - wide[:-3] - wide[3:]) / 24.0
        return np.maximum(cells, 0.0)

    @property
    def mean_and_sd(self) -> tuple[float, float]:
        """Mean and standard deviation, by the trapezoid rule.

        It is exact to rounding for densities that vanish smoothly.
        """
        weights = self.heights.copy()
        if self.is_even:
            weights[0] *= 0.5
        indices = np.arange(weights.size, dtype=np.float64)
        total = weights.sum()
        mean = float((weights * indices).sum() / total)
        variance = float((weights * (indices - mean) ** 2).sum() / total)
        return self.start + self.step * mean, self.step * variance**0.5

    def quantile(self, share: float) -> float:
        """The point below which this share of the mass lies, `share` in (0, 1)."""
        masses = self._masses
        below = np.concatenate(([0.0], np.add.accumulate(masses)))
        target = share * below[-1]
        cell = min(int(np.searchsorted(below, target, side="right")) - 1, masses.size - 1)
        wanted = target - below[cell]
        left, right = float(self.heights[cell]), float(self.heights[cell + 1])
        # Within a cell the density is taken as the parabola with its ends and its mass.
        middle = 1.5 * float(masses[cell]) - 0.25 * (left + right)
        low, high = 0.0, 1.0
        for _ in range(60):  # halvings, until float64 tells no more apart
            x = 0.5 * (low + high)
            slope = -3.0 * left + 4.0 * middle - right
            bend = 2.0 * left - 4.0 * middle + 2.0 * right
            if x * (left + x * (slope / 2.0 + x * bend / 3.0)) < wanted:
                low = x
            else:
                high = x
        return self.start + self.step * (cell + 0.5 * (low + high))
