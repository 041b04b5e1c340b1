"""Exact log-likelihoods at close points, for the many places where an integral asks for them.

The logarithm of such a likelihood is as smooth as that of one person, however sharp the likelihood
is, so that a quintic through value, slope and curvature at both ends of a step is as good as exact.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from qis.outcomes._conditional import Rates, Tables

Floats = NDArray[np.float64]

_MARGIN: Final = 12.0
"""How far beyond the span: from there on exp(-12) of one event is left."""
_WIDEST: Final = 0.5
_ERROR: Final = 1e-6
"""What a quintic may be wrong by: step to the sixth / 46,080 times the sixth derivative, which is
of the size of the curvature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knots:
    """Log-likelihoods of k sites at equally spaced points.

    Parameters
    ----------
    start, step
        First point, and distance from each to the next.
    coefficients
        Those of the quintic over each step, ascending powers of the position in [0, 1]; shape
        (6, k, cells).
    ends
        Values, first derivatives and limiting slopes at both ends, shape (2, 3, k).

    """

    start: float
    step: float
    coefficients: Floats
    ends: Floats

    @classmethod
    def of(cls, rows: Tables | Rates, error: float) -> Self:
        """The rows at close points over all their spans, none being sharper than `error`.

        The points are the same for all rows whose spans end between the same multiples of 4.
        """
        low, high = rows.span
        first = 4.0 * math.floor(float(low.min()) / 4.0) - _MARGIN
        last = 4.0 * math.ceil(float(high.max()) / 4.0) + _MARGIN
        widest = (46080.0 * _ERROR * min(error, 30.0) ** 2) ** (1.0 / 6.0)
        count = math.ceil((last - first) / min(widest, _WIDEST)) + 1
        points = np.linspace(first, last, count)
        step = float(points[1] - points[0])
        values, slopes, bends = rows.evaluate(points)
        below, above = rows.limiting_slopes
        ends = np.array(
            [[values[:, 0], slopes[:, 0], below], [values[:, -1], slopes[:, -1], above]]
        )
        # Hermite's quintic between neighbours, in the position from 0 to 1.
        f, d, b = values, slopes * step, bends * (step * step)
        rise = f[:, 1:] - f[:, :-1] - d[:, :-1] - 0.5 * b[:, :-1]
        turn = d[:, 1:] - d[:, :-1] - b[:, :-1]
        bend = b[:, 1:] - b[:, :-1]
        coefficients = np.stack(
            (
                f[:, :-1],
                d[:, :-1],
                0.5 * b[:, :-1],
                10.0 * rise - 4.0 * turn + 0.5 * bend,
                -15.0 * rise + 7.0 * turn - bend,
                6.0 * rise - 3.0 * turn + 0.5 * bend,
            )
        )
        return cls(start=first, step=step, coefficients=coefficients, ends=ends)

    def value(self, theta: Floats) -> Floats:
        """Log-likelihoods at `theta` of shape (m,): float64 of shape (k, m)."""
        cell, where = self._cells(theta)
        powers = self.coefficients[:, :, cell]
        total: Floats = powers[5]
        for power in (4, 3, 2, 1, 0):
            total = total * where + powers[power]
        for beyond, sign, far, (value, slope, limit) in self._tails(theta):
            total[:, beyond] = value + sign * (limit * far - (slope - limit) * np.expm1(-far))
        return total

    def evaluate(self, theta: Floats) -> tuple[Floats, Floats, Floats]:
        """Log-likelihoods, first and second derivatives, each of shape (k, m)."""
        cell, where = self._cells(theta)
        powers = self.coefficients[:, :, cell]
        slopes: Floats = 5.0 * powers[5]
        bends: Floats = 20.0 * powers[5]
        for power in (4, 3, 2, 1):
            slopes = slopes * where + power * powers[power]
        for power in (4, 3, 2):
            bends = bends * where + power * (power - 1) * powers[power]
        slopes /= self.step
        bends /= self.step * self.step
        for beyond, sign, far, (_, slope, limit) in self._tails(theta):
            slopes[:, beyond] = limit + (slope - limit) * np.exp(-far)
            bends[:, beyond] = -sign * (slope - limit) * np.exp(-far)
        return self.value(theta), slopes, bends

    def _cells(self, theta: Floats) -> tuple[NDArray[np.intp], Floats]:
        """The step in which each theta lies, and its position there, in [0, 1]."""
        cells = self.coefficients.shape[2]
        offset = (theta - self.start) / self.step
        cell = np.clip(np.floor(offset), 0, cells - 1).astype(np.intp)
        return cell, np.clip(offset - cell, 0.0, 1.0)

    def _tails(
        self, theta: Floats
    ) -> Iterator[tuple[NDArray[np.bool_], float, Floats, tuple[Floats, Floats, Floats]]]:
        """Beyond an end: which theta, on which side, how far; value, slope and limiting slope.

        As of sampled curves: far out a slope nears its limit by a factor e for each unit.
        """
        last = self.start + self.step * self.coefficients.shape[2]
        for side, distance in ((0, self.start - theta), (1, theta - last)):
            beyond = distance > 0.0
            if beyond.any():
                value, slope, limit = self.ends[side][:, :, np.newaxis]
                yield beyond, 1.0 if side else -1.0, distance[beyond], (value, slope, limit)
