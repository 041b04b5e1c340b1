"""Where log-marginals are computed: points of (mu, tau) that do not depend on the evidence.

A site's log-marginal is as smooth in mu as the log-likelihood of one person, and in tau as
``log(tau² + s²)``, s being the site's standard error. So few points tell it everywhere: in mu the
Chebyshev points of panels whose ends are multiples of a power of two, in tau points that are
equally spaced in ``log(tau² + c²)``. Evidence that grows asks for further panels and leaves the
numbers at the others as they are; sums over sites are interpolated only once they are sums.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NODES: Final = 12
"""Points of a panel. One twice as wide as the distance to the nearest singularity is right to
``4.2 ** -12``, relative to what the function varies by."""
_COSINES: Final = -np.cos(math.pi * np.arange(NODES) / (NODES - 1))
_SIGNS: Final = np.where(np.arange(NODES) % 2, -1.0, 1.0)
_SIGNS[[0, -1]] *= 0.5
_STEP: Final = 0.46
"""Distance of the points of ``log(tau² + c²)``. The nearest singularity is pi away, where c is at
most the smallest standard error, so that polynomials through eight points are right to 2e-6."""
_POINTS: Final = 8
_PRODUCTS: Final = np.array(
    [math.prod(float(k - other) for other in range(_POINTS) if other != k) for k in range(_POINTS)]
)
"""Of the differences of each point to the others: Lagrange's denominators."""
_SLACK: Final = 0.5
"""Of a second difference: four times what a parabola through three points rises above them."""
_WIDEST_TAU: Final = 6.5
"""Largest tau, in units of the prior's scale: 1e-10 of the prior's mass lies beyond."""


class Panel(NamedTuple):
    """The interval from `offset` to ``offset + 1``, times ``2**exponent``."""

    exponent: int
    offset: int

    @property
    def ends(self) -> tuple[float, float]:
        """Least and greatest value."""
        return math.ldexp(self.offset, self.exponent), math.ldexp(self.offset + 1, self.exponent)

    @property
    def points(self) -> Floats:
        """Ascending, both ends among them; shape (12,)."""
        low, high = self.ends
        return low + (high - low) * (0.5 * (_COSINES + 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class TauPoints:
    """Values of tau at which log-marginals are computed.

    Parameters
    ----------
    scale
        That of the prior on tau.
    exponent
        c is `scale` times two to this power.

    """

    scale: float
    exponent: int

    @classmethod
    def for_errors(cls, scale: float, smallest: float) -> "TauPoints":
        """Points close enough for sites of this standard error and larger ones."""
        return cls(scale=scale, exponent=min(math.frexp(smallest / scale)[1] - 2, -1))

    @property
    def closest(self) -> float:
        """c: below it the points are closest to each other."""
        return math.ldexp(self.scale, self.exponent)

    @property
    def taus(self) -> Floats:
        """Ascending from 0 to 6.5 times the scale or more, shape (t,)."""
        c = self.closest
        span = math.log1p((_WIDEST_TAU * self.scale / c) ** 2)
        steps = np.arange(math.ceil(span / _STEP) + 1, dtype=np.float64)
        taus: Floats = c * np.sqrt(np.expm1(_STEP * steps))
        return taus

    @property
    def widest(self) -> float:
        """The largest tau that matters under the prior."""
        return _WIDEST_TAU * self.scale

    def interpolated(self, values: Floats, taus: Floats) -> Floats:
        """Values at other taus, from those at the points: shape (t, m) to (taus, m).

        Far out on a side where a likelihood falls ever faster, as a rate's does, values near tau 0
        are lower than those at the next points by any factor, and a polynomial through them
        oscillates. So what lies between two points may leave their range only by as much as
        neighbouring second differences allow. Nothing of a posterior is left where that is less
        than exact.
        """
        known = self.taus
        found: Floats = self._matrix(taus) @ values
        first = np.clip(known.searchsorted(taus, side="right") - 1, 0, known.size - 2)
        bends = np.abs(values[:-2] - 2.0 * values[1:-1] + values[2:])
        beside = (np.clip(first + shift, 0, len(bends) - 1) for shift in (-1, 0, 1))
        slack = np.minimum.reduce([bends[rows] for rows in beside]) * _SLACK
        low = np.minimum(values[first], values[first + 1]) - slack
        high = np.maximum(values[first], values[first + 1]) + slack
        return np.clip(found, low, high, out=found)

    def _matrix(self, taus: Floats) -> Floats:
        """What takes values at the points to values at other taus: shape (taus, t)."""
        c = self.closest
        count = self.taus.size
        offset = np.log1p((taus / c) ** 2) / _STEP
        first = np.clip(np.floor(offset).astype(np.intp) - _POINTS // 2 + 1, 0, count - _POINTS)
        # Lagrange's polynomials through eight neighbours.
        apart = (offset - first)[:, np.newaxis] - np.arange(_POINTS)
        weights = np.ones((taus.size, _POINTS))
        weights[:, 1:] = np.multiply.accumulate(apart[:, :-1], axis=1)
        weights[:, :-1] *= np.multiply.accumulate(apart[:, :0:-1], axis=1)[:, ::-1]
        weights /= _PRODUCTS
        matrix = np.zeros((taus.size, count))
        rows = np.arange(taus.size)[:, np.newaxis]
        matrix[rows, first[:, np.newaxis] + np.arange(_POINTS)] = weights
        return matrix


def mean_matrix(panels: Sequence[Panel], means: Floats) -> Floats:
    """What takes values at the points of adjoining panels to values at means between their ends.

    Shape (means, 12 times panels), by the barycentric formula (Berrut & Trefethen 2004).
    """
    edges = np.array([panel.ends[0] for panel in panels[1:]])
    which = np.searchsorted(edges, means, side="right")
    matrix = np.zeros((means.size, NODES * len(panels)))
    for index in np.unique(which).tolist():
        rows = np.flatnonzero(which == index)
        apart = means[rows, np.newaxis] - panels[int(index)].points
        hits = apart == 0.0
        with np.errstate(divide="ignore"):
            weights = np.where(hits.any(axis=1, keepdims=True), hits, _SIGNS / apart)
        weights = weights / weights.sum(axis=1, keepdims=True)
        matrix[rows, NODES * index : NODES * (index + 1)] = weights
    return matrix
