"""Log-likelihoods of many sites that can be asked at many points at once.

A normal likelihood is two numbers. Any other is tabulated once, at points that lie close where it
bends and ever farther apart away from there, and read by cubics through values and slopes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from qis.synthesis.currency import Likelihood

Floats = NDArray[np.float64]

SAYS_NOTHING: Final = 1e12
"""The variance of a likelihood that stands for none: a standard error of a million."""
KNOTS: Final = 256
"""Points of a table. Their distance is 0.05 of the way to the centre: the cubics' error, the fourth
power of that over 384, is below 1e-6 wherever the likelihood is not negligible."""
_FAR: Final = 40.0
"""SiteLikelihoods reach so far from where the likelihood is; beyond, they go on straight."""
_ROUGH: Final = 64
"""Points at which it is looked where the likelihood is largest."""
_WIDEST: Final = 4.0
"""The largest scale of a table: likelihoods flatter than this bend on the scale of 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLikelihoods:
    """The log-likelihoods of k sites, each less its largest value in the table.

    Parameters
    ----------
    is_normal
        Shape (k,): of which sites the likelihood is a parabola.
    middles, variances
        Of those the estimate and its variance; of the others a normal likelihood as a first guess.
    rows
        For each site its row in the tables, -1 if it is normal.
    centres, scales, steps
        Knot j of a table lies at ``centre + scale * sinh((j - (KNOTS - 1) / 2) * step)``.
    cubics
        Shape (tables * KNOTS, 4): the log-likelihood from knot j to the next, in powers of the way
        between them.

    """

    is_normal: NDArray[np.bool_]
    middles: Floats
    variances: Floats
    rows: NDArray[np.intp]
    centres: Floats
    scales: Floats
    steps: Floats
    cubics: Floats

    @classmethod
    def of(cls, sites: Sequence[Likelihood]) -> Self:
        """Tabulate informative sites' log-likelihoods, in units that make effects about 1."""
        tabulated = [site for site in sites if not site.is_parabola]
        tables = [_tabulated(site) for site in tabulated]
        guesses = iter([_guess(table) for table in tables])
        pairs = [
            (site.centre, 1.0 / site.precision) if site.is_parabola else next(guesses)
            for site in sites
        ]
        is_normal = np.array([site.is_parabola for site in sites], dtype=np.bool_)
        rows = np.where(is_normal, -1, np.cumsum(~is_normal) - 1).astype(np.intp)
        stacked = [np.array([table[part] for table in tables]) for part in range(5)]
        return cls(
            is_normal=is_normal,
            middles=np.array([middle for middle, _ in pairs]),
            variances=np.array([variance for _, variance in pairs]),
            rows=rows,
            centres=stacked[0],
            scales=stacked[1],
            steps=stacked[2],
            cubics=_cubics(stacked[3].reshape(-1, KNOTS), stacked[4].reshape(-1, KNOTS)),
        )

    def __len__(self) -> int:
        return self.is_normal.size

    def silent(self, site: int) -> "SiteLikelihoods":
        """The same, one site saying nothing."""
        is_normal, rows = self.is_normal.copy(), self.rows.copy()
        middles, variances = self.middles.copy(), self.variances.copy()
        is_normal[site], rows[site] = True, -1
        middles[site], variances[site] = 0.0, SAYS_NOTHING
        return replace(self, is_normal=is_normal, rows=rows, middles=middles, variances=variances)

    def value(self, sites: NDArray[np.intp], theta: Floats) -> Floats:
        """Log-likelihoods of some sites at their own points.

        Parameters
        ----------
        sites
            Shape (s,): numbers of sites.
        theta
            Shape (…, s, m): m points for each of them.

        """
        found = np.empty_like(theta)
        normal = self.is_normal[sites]
        if normal.any():
            which = sites[normal]
            apart = theta[..., normal, :] - self.middles[which, np.newaxis]
            found[..., normal, :] = -0.5 * apart * apart / self.variances[which, np.newaxis]
        if not normal.all():
            found[..., ~normal, :] = self._read(self.rows[sites[~normal]], theta[..., ~normal, :])
        return found

    def _read(self, rows: NDArray[np.intp], theta: Floats) -> Floats:
        scaled = (theta - self.centres[rows, np.newaxis]) / self.scales[rows, np.newaxis]
        at = np.arcsinh(scaled, out=scaled)
        at /= self.steps[rows, np.newaxis]
        at += (KNOTS - 1) / 2
        inside = np.clip(at, 0.0, KNOTS - 1)
        cell = np.minimum(inside.astype(np.intp), KNOTS - 2)
        x = inside - cell
        cubic = self.cubics.take(cell + (rows * KNOTS)[:, np.newaxis], axis=0)
        found: Floats = cubic[..., 3] * x
        for power in (2, 1):
            found += cubic[..., power]
            found *= x
        found += cubic[..., 0]
        if (at != inside).any():  # a log-likelihood is all but straight so far out
            beyond = at != inside
            low = at < inside
            row = np.broadcast_to(rows[:, np.newaxis], theta.shape)[beyond]
            end = np.where(low[beyond], 0, KNOTS - 1)
            where = (end - (KNOTS - 1) / 2) * self.steps[row]
            edge = self.centres[row] + self.scales[row] * np.sinh(where)
            value, slope = self.cubics[row * KNOTS + end, :2].T
            slope = slope / (self.scales[row] * np.cosh(where) * self.steps[row])
            found[beyond] = value + slope * (theta[beyond] - edge)
        return found


def _cubics(values: Floats, slopes: Floats) -> Floats:
    """The cubics through values and slopes (Hermite); at the last knot only both of these."""
    jump = np.diff(values, axis=1, append=values[:, -1:])
    after = np.concatenate((slopes[:, 1:], slopes[:, -1:]), axis=1)
    bend, turn = 3.0 * jump - 2.0 * slopes - after, slopes + after - 2.0 * jump
    return np.stack((values, slopes, bend, turn), axis=-1).reshape(-1, 4)


def _tabulated(site: Likelihood) -> tuple[float, float, float, Floats, Floats]:
    """Centre, scale, step, values and slopes of one site's table."""
    low, high = site.span
    scale = min(site.finest, _WIDEST)
    # The largest value is where the table must be closest; where there is none, on the side to
    # which the likelihood rises, it is the last bend.
    rough = np.linspace(low - 3.0 * scale, high + 3.0 * scale, _ROUGH)
    centre = float(rough[site.value(rough).argmax()])
    reach = _FAR + max(centre - low, high - centre, 0.0)
    step = float(np.arcsinh(reach / scale)) / ((KNOTS - 1) / 2)
    at = (np.arange(KNOTS) - (KNOTS - 1) / 2) * step
    values, slopes, _ = site.evaluate(centre + scale * np.sinh(at))
    return centre, scale, step, values - values.max(), slopes * (scale * np.cosh(at) * step)


def _guess(table: tuple[float, float, float, Floats, Floats]) -> tuple[float, float]:
    """Mean and variance of the likelihood within the reach of a wide normal density."""
    centre, scale, step, values, _ = table
    at = (np.arange(KNOTS) - (KNOTS - 1) / 2) * step
    theta = centre + scale * np.sinh(at)
    logs = values - 0.5 * ((theta - centre) / _GUESSED) ** 2
    weights = np.exp(logs) * np.cosh(at)
    weights /= weights.sum()
    mean = float(weights @ theta)
    variance = float(weights @ (theta - mean) ** 2)
    # Divided by that density again, as the site's own part.
    precision = max(1.0 / variance - _GUESSED**-2, 1e-3)
    return mean, 1.0 / precision


_GUESSED: Final = 3.0
