"""The log posterior of mu and tau, on panels of mu and points of tau that grow when asked."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.errors import InputError
from qis.synthesis._density import ends_that_matter
from qis.synthesis.conflict import smallest_scale
from qis.synthesis.lattice import Panel, TauPoints, mean_matrix
from qis.synthesis.panels import Bends
from qis.synthesis.said import Said
from qis.synthesis.together import Together
from qis.synthesis.totals import SummedMarginals

Floats = NDArray[np.float64]

_COARSE: Final = (81, 13)
FINE: Final = (161, 41)
"""Numbers of grid points of mu and of tau."""
_BEND: Final = 4.0
"""Of c of the taus at which log-marginals are: about the smallest standard error."""
_FINER: Final = 4
_MOST_MEANS: Final = 5_000
_MOST_TAUS: Final = 500
"""Where the fine grid of mu or of tau is too coarse, that axis is made so many times finer, until
it has more points than this."""
_NEGLIGIBLE: Final = 22.0
"""Where the log posterior is this far under its largest value, it is left out."""
_MARGIN: Final = 8.0
"""Panels are added until the log posterior is this much further down."""
_NEIGHBOUR: Final = 0.85
"""Next to its largest value a density is at least this part of it: steps of half a standard
deviation. Steps as wide as one put limits 0.015 standard errors off."""
_PART_OF_PANEL: Final = 0.01
"""Of a panel's width: the step of a numerical derivative."""
_PANELS: Final = 2_000
"""Most panels."""


class Surface:
    """The log-marginals of (mu, tau), summed over sites, on as many panels as are asked for."""

    def __init__(
        self, together: Together, tau_scale: float, mean_scale: float | None, unit: float
    ) -> None:
        smallest = smallest_scale(together, tau_scale, unit)
        self.tau_points = TauPoints.for_errors(tau_scale, smallest)
        self._taus = self.tau_points.taus
        self.tau_bend = min(self.tau_points.closest * _BEND, tau_scale)
        """Below it taus of the grid are equally spaced, above it their logarithms."""
        self.tau_scale, self._mean_scale, self._unit = tau_scale, mean_scale, unit
        self._marginals = together.marginals(unit)
        self._bends = Bends(together.facts(unit), smallest)
        self._panels = [self._bends.first()]
        self._sums: dict[Panel, tuple[Floats, Floats]] = {}
        self._add(self._panels[0])

    def _add(self, panel: Panel) -> None:
        self._sums[panel] = self._marginals.on(panel, self.tau_points)

    @property
    def means(self) -> Floats:
        """The points of mu, ascending, those between two panels once."""
        return np.unique(np.concatenate([panel.points for panel in self._panels]))

    @property
    def ends(self) -> tuple[Floats, Floats]:
        """Least and greatest point of mu, each of shape (1,)."""
        low, high = self._panels[0].ends[0], self._panels[-1].ends[1]
        return np.array([low]), np.array([high])

    def extend(self, side: int) -> None:
        """Add a panel on a side (-1 or 1).

        Raises
        ------
        InputError
            If there are too many.

        """
        if len(self._panels) >= _PANELS:
            raise InputError(
                "the sites' effects lie so far from each other, beside their standard errors, that "
                "the posterior cannot be resolved; check units and tau_scale",
                field="tau_scale",
                actual=self.tau_scale,
            )
        if side > 0:
            self._panels.append(self._bends.widest(self._panels[-1].ends[1], 1))
            self._add(self._panels[-1])
        else:
            self._panels.insert(0, self._bends.widest(self._panels[0].ends[0], -1))
            self._add(self._panels[0])

    def cover(self) -> None:
        """Add panels until nothing of the posterior is left beyond."""
        best = -math.inf
        sides = {-1, 1}
        while sides:
            for side in sorted(sides):
                panel = self._panels[-1 if side > 0 else 0]
                logs = self._sums[panel][0] + self._prior(panel.points, self._taus)
                best = max(best, float(logs.max()))
                outer, inner = (logs[:, -1], logs[:, -2]) if side > 0 else (logs[:, 0], logs[:, 1])
                low = (outer <= inner) & (outer < best - _NEGLIGIBLE - _MARGIN)
                if low.all() and self._bends.are_within(panel, side):
                    sides.discard(side)
                else:
                    self.extend(side)

    def posterior(self) -> tuple[Floats, Floats, Floats]:
        """Means and taus where the posterior is, and its density there.

        Means are equally spaced, taus in ``asinh(tau / tau_bend)``: close to each other where tau
        is as small as the errors, since few sites leave a long tail. The density has the shape
        (taus, means) and is not normalised.
        """
        self.cover()
        points = self.tau_points
        grid = self.narrowed(self.means, points.taus[points.taus <= points.widest], *_COARSE)
        for count in (_COARSE, FINE):
            grid = self.narrowed(*grid, *count)
        while True:
            logs = self.log_density(*grid)
            density = np.exp(logs - logs.max())
            means, taus = grid
            graded = np.arcsinh(taus / self.tau_bend)
            # A narrow peak and a long tail: flat curves, or a very wide prior.
            finer_means = _finer(means, density.sum(axis=0), _MOST_MEANS)
            # Many precise sites that differ: their tau is known to a few percent.
            finer_taus = _finer(graded, density.sum(axis=1) * np.cosh(graded), _MOST_TAUS)
            if finer_means is means and finer_taus is graded:
                return means, taus, density
            grid = finer_means, self.tau_bend * np.sinh(finer_taus)

    def slopes_of(self, one: Said, means: Floats, taus: Floats) -> tuple[Floats, Floats]:
        """First and second derivative in mu of one site's log-marginal, shape (taus, means)."""
        part = SummedMarginals({one.key: one}, self._unit)
        table = np.concatenate(
            [part.on(panel, self.tau_points).values for panel in self._panels], axis=1
        )
        step = _PART_OF_PANEL * min(panel.ends[1] - panel.ends[0] for panel in self._panels)
        low, high = self.ends
        inner = np.clip(means, low + step, high - step)
        at = self.tau_points.interpolated(table, taus)
        below, middle, above = (
            at @ mean_matrix(self._panels, inner + shift).T for shift in (-step, 0.0, step)
        )
        return (above - below) / (2.0 * step), (above - 2.0 * middle + below) / step**2

    def _prior(self, means: Floats, taus: Floats) -> Floats:
        logs: Floats = -0.5 * (taus[:, np.newaxis] / self.tau_scale) ** 2
        if self._mean_scale is not None:
            logs = logs - 0.5 * (means / self._mean_scale) ** 2
        return logs

    def log_likelihood(self, means: Floats, taus: Floats) -> Floats:
        """Summed log-marginals at means within the panels, shape (taus, means)."""
        return self._interpolated(0, means, taus)

    def log_density(self, means: Floats, taus: Floats) -> Floats:
        """Log posterior less a constant, shape (taus, means)."""
        return self._interpolated(0, means, taus) + self._prior(means, taus)

    def slope_error(self, means: Floats, tau: float) -> float:
        """How much the slope in mu may be wrong at one of the means, for want of samples."""
        return max(float(self._interpolated(1, means, np.array([tau])).max()), 0.0)

    def _interpolated(self, which: int, means: Floats, taus: Floats) -> Floats:
        low, high = means.min(), means.max()
        panels = [panel for panel in self._panels if panel.ends[1] >= low and panel.ends[0] <= high]
        sums = np.concatenate([self._sums[panel][which] for panel in panels], axis=1)
        at = self.tau_points.interpolated(sums, taus)
        found: Floats = at @ mean_matrix(panels, means).T
        return found

    def narrowed(
        self, means: Floats, taus: Floats, count: int, tau_count: int
    ) -> tuple[Floats, Floats]:
        """A grid of equally spaced points over the part of a coarser one that matters."""
        logs = self.log_density(means, taus)
        of_taus, of_means = ends_that_matter([taus, means], logs, _NEGLIGIBLE)
        low, high = (math.asinh(end / self.tau_bend) for end in of_taus)
        graded = np.linspace(low, high, tau_count)
        return np.linspace(*of_means, count), self.tau_bend * np.sinh(graded)


def _finer(points: Floats, heights: Floats, most: int) -> Floats:
    """Equally spaced points, or closer ones if a density with these heights needs them."""
    if is_resolved(heights) or points.size > most:
        return points
    return np.linspace(points[0], points[-1], _FINER * (points.size - 1) + 1)


def is_resolved(heights: Floats) -> bool:
    """True if a density's grid is close enough where most of its mass is."""
    best = int(heights.argmax())
    near = heights[max(best - 1, 0) : best + 2]
    return bool(near.min() >= _NEIGHBOUR * heights[best])
