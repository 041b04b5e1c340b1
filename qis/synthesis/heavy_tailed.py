"""Random effects with heavy tails: a far-off site widens the tails instead of moving the mean.

``y_i ~ N(theta_i, v_i)``, ``theta_i ~ mu + tau t(df)`` with a flat prior on mu and a half-normal
one on tau (Lee & Thompson 2008; Baker & Jackson 2008). The t distribution is a normal one whose
precision is mixed over a gamma distribution, so each site's likelihood is a mixture of normals.
The integrals over that mixture, mu and tau are trapezoid rules over smooth functions that decay
at both ends: deterministic, and refined until the result no longer changes.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from qis._gate import checked
from qis.errors import InputError
from qis.picture.html import HasTable
from qis.synthesis._density import Density, ends_that_matter, is_settled, masses_of
from qis.synthesis._sites import Floats, Sites, check_level, check_scale, check_sites, total
from qis.synthesis.robust import FEWEST_SITES, verdict_for

_MEAN_NODES: Final = 81
_MOST_MEAN_NODES: Final = 20_000
_ROWS: Final = 256
"""Nodes of mu that are computed at once, which bounds the memory."""
_TAU_NODES: Final = 81
_MIXING_NODES: Final = 48
_NEGLIGIBLE: Final = 25.0
"""A log density this far below the highest is left out: exp(-25) is 1e-11."""
_WIDEST_PRIOR: Final = 1e6
"""A prior wider than this many times the data takes a grid that is computed for minutes."""
_SAME: Final = 1e-5
"""The grid is fine enough once a finer one moves no result by more, in standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeavyTailed(HasTable):
    """The result of `heavy_tailed`, on the scale of the estimates.

    Parameters
    ----------
    mean, median, sd, interval
        Posterior of mu, the middle of the sites' true effects; the interval is central.
    tau_median
        Posterior median of the scale (not the standard deviation) of their t distribution.
    df, tau_scale, level
        Degrees of freedom, scale of the prior on tau, and probability inside the interval.
    k
        Number of sites.

    Examples
    --------
    >>> from qis.synthesis import heavy_tailed
    >>> estimates, standard_errors = [0.1, 0.3, -0.2, 0.4, 0.2], [0.1, 0.2, 0.15, 0.3, 0.25]
    >>> -0.2 < heavy_tailed(estimates, standard_errors).median < 0.4
    True

    """

    mean: float
    median: float
    sd: float
    interval: tuple[float, float]
    tau_median: float
    df: float
    tau_scale: float
    level: float
    k: int

    @property
    def can_tell(self) -> bool:
        """True if there are enough sites (five) for robustness to mean anything."""
        return self.k >= FEWEST_SITES

    @property
    def verdict(self) -> str:
        """`can_tell` in words."""
        return verdict_for(self.k)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mixing:
    """Nodes of the gamma distribution: inverse precisions and log weights."""

    spread: Floats
    log_weight: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _SinhGrid:
    """Equal steps in u, where ``mu = centre + width sinh(u)``, and in log tau."""

    u: Floats
    log_tau: Floats


@checked
def heavy_tailed(
    estimates: ArrayLike,
    standard_errors: ArrayLike,
    *,
    tau_scale: float = 0.5,
    df: float = 3.0,
    level: float = 0.95,
) -> HeavyTailed:
    """Pool estimates whose true effects have a t distribution.

    Parameters
    ----------
    estimates, standard_errors
        Shape (k,), one of each a site; logarithms for ratio measures. Their order changes no bit.
        The cost is proportional to k, about a second for 40 sites.
    tau_scale
        Scale of the half-normal prior on tau, in the units of the estimates.
    df
        Degrees of freedom, above 2 and at most 100; the fewer, the less an outlier counts.
    level
        Probability inside the interval.

    Raises
    ------
    InputError
        If a number is out of range, or the estimates contradict the prior so much that the
        integrals cannot be computed.

    Examples
    --------
    >>> from qis.synthesis import heavy_tailed
    >>> estimates, standard_errors = [0.1, 0.3, -0.2, 0.4, 0.2], [0.1, 0.2, 0.15, 0.3, 0.25]
    >>> -0.2 < heavy_tailed(estimates, standard_errors).median < 0.4
    True

    """
    level = check_level(level)
    scale_of_tau = check_scale(tau_scale, "tau_scale")
    if not 2.0 < check_scale(df, "df") <= 100.0:
        raise InputError(
            f"df is {df!r}; it must be above 2 and at most 100", field="df", actual=df, limit=100
        )
    sites = check_sites(estimates, standard_errors)
    unit = sites.scale
    widest = unit * max(np.ptp(sites.estimates), math.sqrt(sites.variances.max()))
    if scale_of_tau > _WIDEST_PRIOR * widest:
        raise InputError(
            f"tau_scale is {tau_scale!r:.40}, over {_WIDEST_PRIOR:,.0f} times all that the "
            "estimates differ by or are uncertain by; give it in their units",
            field="tau_scale",
            actual=tau_scale,
            limit=_WIDEST_PRIOR * widest,
        )
    model = _Model(sites, _mixing_nodes(float(df)), scale_of_tau / unit)
    mean, sd, quantiles, tau = model.integrate((0.5 - level / 2.0, 0.5, 0.5 + level / 2.0))
    low, middle, high = quantiles
    return HeavyTailed(
        mean=mean * unit,
        median=middle * unit,
        sd=sd * unit,
        interval=(low * unit, high * unit),
        tau_median=tau * unit,
        df=float(df),
        tau_scale=scale_of_tau,
        level=float(level),
        k=sites.k,
    )


def _mixing_nodes(df: float) -> _Mixing:
    """Precision lambda ~ gamma(df/2, rate df/2), by the trapezoid rule over log lambda."""
    # In log lambda the density is exp(half (log lambda - lambda)), so to the left it falls like
    # lambda**half and to the right faster than exp(-half lambda).
    half = 0.5 * df
    low = -2.0 * _NEGLIGIBLE / df - 1.0
    high = math.log(1.0 + 2.0 * _NEGLIGIBLE / half)
    log_precision = np.linspace(low, high, _MIXING_NODES)
    log_weight = half * (log_precision - np.exp(log_precision))
    log_weight -= log_weight.max()
    return _Mixing(
        spread=np.exp(-log_precision), log_weight=log_weight - math.log(np.exp(log_weight).sum())
    )


class _Model:
    """The posterior of (mu, tau), in scaled units."""

    def __init__(self, sites: Sites, mixing: _Mixing, tau_scale: float) -> None:
        self._sites = sites
        self._mixing = mixing
        self._tau_scale = tau_scale
        # The grid is densest at the median of the estimates, in steps as small as may be needed.
        self._centre = float(sites.estimates[(sites.k - 1) // 2])
        self._width = 1.0 / math.sqrt(total(1.0 / sites.variances))

    def integrate(
        self, probabilities: tuple[float, ...]
    ) -> tuple[float, float, tuple[float, ...], float]:
        """Mean, sd and quantiles of mu, and the median of tau."""
        grid = self._zoom()
        count = _MEAN_NODES
        previous: tuple[float, ...] | None = None
        while True:
            mass = masses_of(self._log_density(grid))
            of_mean, of_tau = mass.sum(axis=1), mass.sum(axis=0)
            offsets = self._width * np.sinh(grid.u)
            shift = total(of_mean * offsets)
            sd = math.sqrt(total(of_mean * (offsets - shift) ** 2))
            over_u = _density(grid.u, of_mean)
            quantiles = tuple(
                self._centre + self._width * math.sinh(over_u.quantile(each))
                for each in probabilities
            )
            tau = math.exp(_density(grid.log_tau, of_tau).quantile(0.5))
            found = (self._centre + shift, sd, *quantiles)
            if previous is not None and _close(found, previous, _SAME * sd):
                return self._centre + shift, sd, quantiles, tau
            if count > _MOST_MEAN_NODES:
                raise InputError(
                    "the sites are too far apart for their standard_errors, or tau_scale is far "
                    "from the units of the estimates, for them to be pooled this way",
                    field="standard_errors",
                )
            previous = found
            count = 2 * count - 1
            grid = _SinhGrid(u=np.linspace(grid.u[0], grid.u[-1], count), log_tau=grid.log_tau)

    def _zoom(self) -> _SinhGrid:
        spread = float(self._sites.estimates[-1] - self._sites.estimates[0])
        widest = max(spread, math.sqrt(float(self._sites.variances.max())))
        reach = math.asinh((spread + 1e4 * max(widest, self._tau_scale)) / self._width)
        low = math.log(min(self._tau_scale, 1.0)) - _NEGLIGIBLE - 2.0
        high = math.log(max(self._tau_scale, widest)) + 3.0
        u, log_tau = (-reach, reach), (low, high)
        while True:
            grid = _SinhGrid(
                u=np.linspace(*u, _MEAN_NODES), log_tau=np.linspace(*log_tau, _TAU_NODES)
            )
            axes = [grid.u, grid.log_tau]
            ends = ends_that_matter(axes, self._log_density(grid), _NEGLIGIBLE)
            if is_settled(axes, ends):
                return grid
            u, log_tau = ends

    def _log_density(self, grid: _SinhGrid) -> Floats:
        """Shape (len(u), len(log_tau)), with the Jacobians of both."""
        offsets = self._sites.estimates - self._centre
        moves = self._width * np.sinh(grid.u)
        out = np.zeros((len(grid.u), len(grid.log_tau)))
        tau2 = np.exp(2.0 * grid.log_tau)
        for y, v in zip(offsets.tolist(), self._sites.variances.tolist(), strict=True):
            for start in range(0, len(moves), _ROWS):
                part = slice(start, start + _ROWS)
                out[part] += self._site(y - moves[part], v, tau2)
        # The half-normal prior on tau, with the Jacobians of log tau (tau) and of u (cosh u). The
        # bound keeps exp from overflowing; the prior is zero long before.
        ratio = np.minimum(grid.log_tau - math.log(self._tau_scale), 300.0)
        prior = grid.log_tau - 0.5 * np.exp(2.0 * ratio)
        return out + prior + np.log(np.cosh(grid.u))[:, None]

    def _site(self, residuals: Floats, variance: float, tau2: Floats) -> Floats:
        """Log-likelihood of one site at each (mu, tau)."""
        variances = variance + tau2[:, None] * self._mixing.spread
        constant = self._mixing.log_weight - 0.5 * np.log(variances)
        log_terms = constant - 0.5 * (residuals * residuals)[:, None, None] / variances
        # The largest term is taken out before exp, so that far-off sites do not underflow to zero.
        highest = log_terms.max(axis=2)
        np.exp(log_terms - highest[:, :, None], out=log_terms)
        log_likelihood: Floats = highest + np.log(log_terms.sum(axis=2))
        return log_likelihood


def _density(points: Floats, mass: Floats) -> Density:
    return Density(start=float(points[0]), step=float(points[1] - points[0]), heights=mass)


def _close(found: tuple[float, ...], previous: tuple[float, ...], tolerance: float) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(found, previous, strict=True))
