"""Integrals by the trapezoid rule: where a density is, and its moments and quantiles.

Every posterior here is integrated in the same way. Equally spaced points are drawn over all that is
possible, then over what of it is not negligible, and so on until looking closer gains little. For a
smooth density that vanishes at both ends the rule converges geometrically. No random numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ends = tuple[float, float]

_SETTLED: Final = 0.8
"""If this part of a range matters, looking closer gains little."""


def ends_that_matter(axes: Sequence[Floats], logs: Floats, negligible: float) -> list[Ends]:
    """Where a log density on a grid is not negligible: for each axis two ends.

    Parameters
    ----------
    axes
        The grid's points along each axis, ascending.
    logs
        The log density at the grid's points, one axis for each of `axes`.
    negligible
        What lies this far below the largest value, or further, is left out. The ends are the next
        points outside.

    """
    matters = logs > logs.max() - negligible
    found = []
    for axis, points in enumerate(axes):
        others = tuple(other for other in range(logs.ndim) if other != axis)
        indices = np.flatnonzero(matters.any(axis=others))
        first, last = max(int(indices[0]) - 1, 0), min(int(indices[-1]) + 1, points.size - 1)
        found.append((float(points[first]), float(points[last])))
    return found


def is_settled(axes: Sequence[Floats], ends: Sequence[Ends]) -> bool:
    """True if most of each axis lies between the ends."""
    return all(
        high - low > _SETTLED * float(points[-1] - points[0])
        for points, (low, high) in zip(axes, ends, strict=True)
    )


def masses_of(logs: Floats) -> Floats:
    """Share of each grid point, from log densities: they sum to 1 over all axes."""
    density: Floats = np.exp(logs - logs.max())
    density /= density.sum()
    return density


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

    def above(self, point: float) -> float:
        """Share of the mass above a point, straight between points in the distribution function."""
        below = np.concatenate(([0.0], np.add.accumulate(self._masses)))
        points = self.start + self.step * np.arange(below.size)
        return 1.0 - float(np.interp(point, points, below / below[-1]))

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
