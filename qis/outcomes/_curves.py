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
_Pieces = tuple[Floats, Floats, Floats, Floats, Floats, Floats]

POINTS = 9
"""Number of points at which every curve is given."""
_ELEMENTS = 1 << 14
"""Most values computed at once: what lies in between fits the processor's cache."""


def _septic() -> Floats:
    """What takes values and slopes at 0, 1, 2 and 3 to coefficients, the highest power first."""
    powers, at = np.arange(8.0), np.arange(4.0)[:, np.newaxis]
    slopes = powers * at ** np.maximum(powers - 1.0, 0.0)
    coefficients: Floats = np.linalg.inv(np.concatenate((at**powers, slopes)))
    return coefficients[::-1]


_SEPTIC = _septic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Log-likelihood curves of k sites: row i of every array belongs to curve i.

    Parameters
    ----------
    points, values, gradients
        Float64 of shape (k, 9), or with any other number of points; points ascend along each row.
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

    def __len__(self) -> int:
        return len(self.points)

    def evaluate(self, theta: Floats) -> tuple[Floats, Floats, Floats]:
        """Log-likelihoods, first and second derivatives at `theta` of shape (m,): each (k, m).

        The second derivative jumps at the points.
        """
        pieces = self._pieces(theta)
        where, width, start, end, from_slope, to_slope = pieces
        rise, left = end - start, 1.0 - where
        values = _cubic(pieces)
        slopes = (
            6.0 * where * left * rise / width
            + from_slope * left * (1.0 - 3.0 * where)
            + to_slope * where * (3.0 * where - 2.0)
        )
        bends = (
            6.0 * (1.0 - 2.0 * where) * rise / width
            + from_slope * (6.0 * where - 4.0)
            + to_slope * (6.0 * where - 2.0)
        ) / width
        for distance, edge, limit in self._tails(theta):
            beyond = distance > 0.0
            if not beyond.any():
                continue
            outward = self._outward(edge)
            fading = np.exp(-np.maximum(distance, 0.0))
            slope = limit + (outward - limit) * fading
            values = np.where(beyond, self._tail(distance, edge, limit), values)
            slopes = np.where(beyond, slope if edge else -slope, slopes)
            bends = np.where(beyond, (limit - outward) * fading, bends)
        return values, slopes, bends

    def value(self, theta: Floats) -> Floats:
        """Log-likelihoods at `theta` of shape (m,): float64 of shape (k, m)."""
        few = max(_ELEMENTS // max(theta.size, 1), 1)
        if len(self) > few:
            return np.concatenate(
                [self._rows(slice(at, at + few)).value(theta) for at in range(0, len(self), few)]
            )
        values = _cubic(self._pieces(theta))
        for distance, edge, limit in self._tails(theta):
            beyond = distance > 0.0
            columns = np.flatnonzero(beyond.any(axis=0))
            if columns.size:
                tail = self._tail(distance[:, columns], edge, limit)
                values[:, columns] = np.where(beyond[:, columns], tail, values[:, columns])
        return values

    def row(self, k: int) -> "Curves":
        """One of the curves, which keeps no other in memory."""
        return Curves(
            points=self.points[k : k + 1].copy(),
            values=self.values[k : k + 1].copy(),
            gradients=self.gradients[k : k + 1].copy(),
            below=self.below[k : k + 1].copy(),
            above=self.above[k : k + 1].copy(),
        )

    def _rows(self, which: slice) -> "Curves":
        return Curves(**{field.name: getattr(self, field.name)[which] for field in fields(self)})

    def slope_bound(self, theta: Floats) -> Floats:
        """How much the slope at `theta` of shape (m,) may be wrong: float64 of shape (k, m).

        0 between the ends. Beyond one, the slopes of binomial, hypergeometric and partial
        likelihoods near their limit by a factor e a unit at most, as the curve does, and perhaps
        not at all; so the true one lies between the curve's and the one at the end.
        """
        bound = np.zeros((len(self), theta.size))
        for distance, edge, limit in self._tails(theta):
            fading = -np.expm1(-np.maximum(distance, 0.0))
            bound += np.maximum(self._outward(edge) - limit, 0.0) * fading
        return bound

    def rise_bound(self, theta: Floats) -> tuple[Floats, Floats]:
        """The integral of `slope_bound` from each end out to `theta`: below and above, (k, m)."""
        found = []
        for distance, edge, limit in self._tails(theta):
            outside = np.maximum(distance, 0.0)
            excess = np.maximum(self._outward(edge) - limit, 0.0)
            found.append(excess * (outside + np.expm1(-outside)))
        return found[0], found[1]

    def interpolation_error(
        self, theta: Floats, read: tuple[Floats, Floats, Floats] | None = None
    ) -> tuple[Floats, Floats]:
        """About how much value and slope at `theta` are too small: two of shape (k, m).

        0 beyond the ends, and for values at the points. Values and slopes at the four equally
        spaced points nearest to `theta` give a polynomial of degree 7, whose error is of the eighth
        order in their distance; what it has more than the cubic is what the cubic loses. Errors of
        sites that are alike have one sign: they add up while the standard error of many sites
        shrinks. `read` is `evaluate(theta)`, where that is known already.
        """
        even = self._evenly_spaced()
        start = self.points[:, :1]
        intervals = POINTS - 1 - (even[:, -1:] == even[:, -2:-1])
        spacing = (self.points[:, -1:] - start) / intervals
        offset = (theta - start) / spacing
        first = np.clip(np.floor(offset).astype(np.intp) - 1, 0, intervals - 3)
        where = offset - first
        neighbours = np.stack([np.take_along_axis(even, first + j, axis=1) for j in range(4)])
        neighbours += POINTS * np.arange(len(self))[:, np.newaxis]
        data = np.concatenate(
            [self.values.take(neighbours), self.gradients.take(neighbours) * spacing]
        )
        powers = (_SEPTIC @ data.reshape(len(data), -1)).reshape(data.shape)
        value, slope = np.zeros(where.shape), np.zeros(where.shape)
        for each in powers:  # Horner's rule, with the derivative
            slope *= where
            slope += value
            value *= where
            value += each
        slope /= spacing
        cubic, gradient, _ = self.evaluate(theta) if read is None else read
        outside = (offset < 0.0) | (offset > intervals)
        return (
            np.where(outside, 0.0, value - cubic),
            np.where(outside, 0.0, slope - gradient),
        )

    def _evenly_spaced(self) -> NDArray[np.intp]:
        """Indices of the points that are equally spaced, shape (k, 9): all but a maximum inside.

        Where there is one the last index stands twice.
        """
        # Of the largest values, which rounding may have made equal, it is the one without slope.
        level = np.where(self.values == self.values.max(axis=1, keepdims=True), 0.0, np.inf)
        mode = (level + np.abs(self.gradients)).argmin(axis=1)[:, np.newaxis]
        index = np.arange(POINTS)
        inside = (mode > 0) & (mode < POINTS - 1)
        found: NDArray[np.intp] = np.minimum(index + (inside & (index >= mode)), POINTS - 1)
        return found

    @property
    def limiting_slopes(self) -> tuple[Floats, Floats]:
        """Slopes at minus and at plus infinity, each of shape (k,)."""
        return -self.below, self.above

    @property
    def span(self) -> tuple[Floats, Floats]:
        """First and last point of each curve, each of shape (k,)."""
        return self.points[:, 0], self.points[:, -1]

    @property
    def sharpest(self) -> Floats:
        """The largest mean curvature between two neighbouring points, shape (k,)."""
        # Not `np.diff`, which takes ten times as long for one row.
        fall = self.gradients[:, :-1] - self.gradients[:, 1:]
        bends = fall / (self.points[:, 1:] - self.points[:, :-1])
        peak: Floats = np.maximum(bends, 0.0).max(axis=1)
        return peak

    @property
    def limits(self) -> tuple[Floats, Floats]:
        """Values at minus and plus infinity, each of shape (k,); -inf where a slope remains."""
        low, high = self._outward(0)[:, 0], self._outward(-1)[:, 0]
        return (
            np.where(self.below < 0.0, -np.inf, self.values[:, 0] + low),
            np.where(self.above < 0.0, -np.inf, self.values[:, -1] + high),
        )

    def _pieces(self, theta: Floats) -> _Pieces:
        """Position of theta between two points, in [0, 1]; their distance, values and slopes."""
        count = self.points.shape[1]
        passed = np.zeros((len(self), theta.size), dtype=np.int8 if count < 128 else np.intp)
        for inner in self.points[:, 1:-1].T:
            passed += theta >= inner[:, np.newaxis]
        # One index into the flat arrays: a pair of them takes several times as long.
        piece = passed + np.arange(0, self.points.size, count)[:, np.newaxis]
        after = piece + 1
        start = self.points.take(piece)
        width = self.points.take(after) - start
        where = np.clip((theta - start) / width, 0.0, 1.0)
        values, gradients = self.values, self.gradients
        ends = values.take(piece), values.take(after), gradients.take(piece), gradients.take(after)
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

    def _tail(self, distance: Floats, edge: int, limit: Floats) -> Floats:
        """Values beyond an end (index 0 or -1), of which those at a positive distance hold."""
        tail = self.values[:, edge, np.newaxis] + limit * distance
        tail += (self._outward(edge) - limit) * -np.expm1(-np.maximum(distance, 0.0))
        return tail


def _cubic(pieces: _Pieces) -> Floats:
    """Cubic Hermite interpolation, with `where` in [0, 1] between two points."""
    where, width, start, end, from_slope, to_slope = pieces
    left = 1.0 - where
    values: Floats = (
        start
        + (end - start) * (3.0 - 2.0 * where) * where**2
        + width * where * left * (from_slope * left - to_slope * where)
    )
    return values
