"""Log-likelihood curves from values and slopes at a few points: cubics between, soft lines beyond.

Plain straight lines beyond the ends diverge for odds ratios under 0.1 and bias random effects, so
the slope bends from the one at the end to the limiting one, by a factor e for each unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POINTS = 9
"""Number of points at which every curve is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Log-likelihood curves of k sites: row i of every array belongs to curve i.

    Parameters
    ----------
    points, values, gradients
        Float64 of shape (k, 9); points ascend along each row.
    below, above
        Limiting slopes on either side, outwards (not positive), float64 of shape (k,).

    """

    points: Floats
    values: Floats
    gradients: Floats
    below: Floats
    above: Floats

    @classmethod
    def stacked(cls, parts: Sequence["Curves"]) -> Self:
        """Join one or more of these into one, with all rows in the given order."""
        return cls(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            }
        )

    def value(self, theta: Floats) -> Floats:
        """Log-likelihoods at `theta` of shape (m,): float64 of shape (k, m)."""
        where, width, start, end, from_slope, to_slope = self._pieces(theta)
        # Cubic Hermite interpolation, with `where` in [0, 1] between two points.
        cubic: Floats = (
            start * (1.0 + 2.0 * where) * (1.0 - where) ** 2
            + end * (3.0 - 2.0 * where) * where**2
            + width * where * (1.0 - where) * (from_slope * (1.0 - where) - to_slope * where)
        )
        for distance, edge, limit in self._tails(theta):
            slope = self._outward(edge)
            bend = -np.expm1(-np.maximum(distance, 0.0))
            tail = self.values[:, edge, np.newaxis] + limit * distance + (slope - limit) * bend
            cubic = np.where(distance > 0.0, tail, cubic)
        return cubic

    def gradient(self, theta: Floats) -> Floats:
        """Derivatives of `value` at `theta` of shape (m,): float64 of shape (k, m)."""
        where, width, start, end, from_slope, to_slope = self._pieces(theta)
        slope: Floats = (
            6.0 * where * (1.0 - where) * (end - start) / width
            + from_slope * (1.0 - where) * (1.0 - 3.0 * where)
            + to_slope * where * (3.0 * where - 2.0)
        )
        for distance, edge, limit in self._tails(theta):
            outward = self._outward(edge)
            tail = limit + (outward - limit) * np.exp(-np.maximum(distance, 0.0))
            slope = np.where(distance > 0.0, tail if edge else -tail, slope)
        return slope

    @property
    def limits(self) -> tuple[Floats, Floats]:
        """Values at minus and plus infinity, each of shape (k,); -inf where a slope remains."""
        low, high = self._outward(0)[:, 0], self._outward(-1)[:, 0]
        return (
            np.where(self.below < 0.0, -np.inf, self.values[:, 0] + low),
            np.where(self.above < 0.0, -np.inf, self.values[:, -1] + high),
        )

    def _pieces(self, theta: Floats) -> tuple[Floats, ...]:
        """Position of theta between two points, in [0, 1]; their distance, values and slopes."""
        inner = self.points[:, 1:-1, np.newaxis]
        piece = (theta >= inner).sum(axis=1)
        start, end = self._at(self.points, piece), self._at(self.points, piece + 1)
        width = end - start
        where = np.clip((theta - start) / width, 0.0, 1.0)
        ends = (self._at(rows, piece + k) for rows in (self.values, self.gradients) for k in (0, 1))
        return where, width, *ends

    def _tails(self, theta: Floats) -> tuple[tuple[Floats, int, Floats], ...]:
        """For each side: distance beyond the end, index of the end point, limiting slope."""
        return (
            (self.points[:, :1] - theta, 0, self.below[:, np.newaxis]),
            (theta - self.points[:, -1:], -1, self.above[:, np.newaxis]),
        )

    def _outward(self, edge: int) -> Floats:
        """Slopes at an end (index 0 or -1) in the direction away from the curve, shape (k, 1)."""
        slope: Floats = self.gradients[:, edge, np.newaxis]
        return slope if edge else -slope

    @staticmethod
    def _at(rows: Floats, piece: NDArray[np.intp]) -> Floats:
        taken: Floats = rows[np.arange(len(rows))[:, np.newaxis], piece]
        return taken
