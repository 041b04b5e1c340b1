"""Random effects for whole log-likelihoods: each site's own effect is integrated out.

The model is ``theta_i ~ N(mu, tau²)`` with a half-normal prior on tau and a flat or normal one on
mu. Given (mu, tau) a site contributes the integral of its likelihood against that normal density:
in closed form if it is normal itself, else by Gauss-Hermite quadrature where tau is small beside
its width and by the trapezoid rule, which converges geometrically, where tau is not. mu and tau
live on a grid that is narrowed to where the posterior is. No random numbers: the same evidence,
the same bits.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.outcomes._conditional import Rates, Tables
from qis.outcomes._curves import Curves
from qis.outcomes._means import MeanDifferences, Means
from qis.outcomes._poisson import PoissonRates
from qis.synthesis._density import Density
from qis.synthesis._foresight import Foresight, of_grid
from qis.synthesis._knots import Knots
from qis.synthesis._pooled_curve import border, maximum_of
from qis.synthesis.bayesian import mean_and_tau
from qis.synthesis.currency import Exact, Likelihood, exact_rows, has_tails

Floats = NDArray[np.float64]

_COARSE_TAUS: Final = 13
_COARSE: Final = (81, 13)
_FINE: Final = (161, 41)
"""Numbers of grid points of mu and of tau."""
_MARGIN: Final = 20.0
"""How far the first grid goes beyond the outermost points of the likelihoods, at least."""
_NEGLIGIBLE: Final = 22.0
"""Where the log posterior is this far under its largest value, it is left out."""
_WIDEST_TAU: Final = 6.5
"""Largest tau, in units of the prior's scale: 1e-10 of the prior's mass lies beyond."""
_NODES, _WEIGHTS = np.polynomial.hermite.hermgauss(9)
_LEGENDRE = np.polynomial.legendre.leggauss(12)
_PANEL, _PANEL_WEIGHTS = (_LEGENDRE[0] + 1.0) / 2.0, _LEGENDRE[1] / 2.0
"""Points in [0, 1] and their weights."""
_REACH: Final = 8.5
"""Standard deviations about a mean beyond which nothing is left."""
_LONGEST: Final = 1 << 16
"""Most points at which sites' likelihoods are evaluated."""
_CELLS: Final = 1 << 22
"""Most numbers in one array; bounds the memory to 32 MiB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanEffect:
    """Posterior of the mean effect and of tau."""

    median: float
    mean: float
    sd: float
    interval: tuple[float, float]
    tau: float
    tau_interval: tuple[float, float]
    foresight: Foresight
    slope_error: float
    """How much the slope of the log-likelihood of the mean may be wrong at the median or a limit,
    for want of samples where sites' effects may lie."""


def posterior_of_mean(
    sites: Sequence[Likelihood], *, tau_scale: float, mean_scale: float | None, level: float
) -> MeanEffect:
    """Posterior of mu and tau.

    Parameters
    ----------
    sites
        One informative log-likelihood a site, in an order that depends on content only. Together
        they must fall on both sides, unless there is a prior on the mean.
    tau_scale, mean_scale
        Scale of the half-normal prior on tau, and standard deviation of the normal prior on mu
        about 0; `None`: flat.
    level
        Probability inside the central intervals.

    """
    if all(site.is_parabola for site in sites):
        return _of_normal_sites(sites, tau_scale, mean_scale, level)
    evidence = _Evidence(sites)
    grid = _Grid(evidence.first_means(tau_scale, mean_scale), _taus(tau_scale, _COARSE_TAUS))
    for count in (_COARSE, _COARSE, _FINE):
        grid = _narrowed(grid, _log_density(evidence, grid, tau_scale, mean_scale), *count)
    density = np.exp(_log_density(evidence, grid, tau_scale, mean_scale))
    over_taus = density.copy()
    over_taus[0] *= 0.5  # the trapezoid rule; at the other end there is nothing
    of_mean = Density(
        start=float(grid.means[0]), step=grid.mean_step, heights=over_taus.sum(axis=0)
    )
    of_tau = Density(
        start=float(grid.taus[0]),
        step=float(grid.taus[1] - grid.taus[0]),
        heights=density.sum(axis=1),
        is_even=bool(grid.taus[0] == 0.0),
    )
    tails = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
    mean, sd = of_mean.mean_and_sd
    median, tau = of_mean.quantile(0.5), of_tau.quantile(0.5)
    interval = (of_mean.quantile(tails[0]), of_mean.quantile(tails[1]))
    return MeanEffect(
        median=median,
        mean=mean,
        sd=sd,
        interval=interval,
        foresight=of_grid(grid.means, grid.taus, density, tau_scale=tau_scale, level=level),
        slope_error=evidence.slope_error(np.array((interval[0], median, interval[1])), tau),
        tau=tau,
        tau_interval=(of_tau.quantile(tails[0]), of_tau.quantile(tails[1])),
    )


def _of_normal_sites(
    sites: Sequence[Likelihood], tau_scale: float, mean_scale: float | None, level: float
) -> MeanEffect:
    mean, tau, foresight = mean_and_tau(
        [site.centre for site in sites],
        [site.precision**-0.5 for site in sites],
        tau_scale=tau_scale,
        mean_scale=mean_scale,
        level=level,
    )
    return MeanEffect(
        median=mean.median,
        mean=mean.mean,
        sd=mean.sd,
        interval=mean.interval,
        foresight=foresight,
        tau=tau.median,
        tau_interval=tau.interval,
        slope_error=0.0,
    )


def open_limit(sites: Sequence[Likelihood], *, tau_scale: float, drop: float, side: int) -> float:
    """The mu at which its log-likelihood is `drop` below the limit, on a side where it never falls.

    Tau is integrated out against its prior. As mu goes to that side, every site's contribution goes
    to its own limit whatever tau is, so the limit is known exactly and no range enters.
    """
    evidence = _Evidence(sites)
    limit = math.fsum(site.limits[0 if side < 0 else 1] for site in sites)
    taus = _taus(tau_scale, _FINE[1])
    prior = np.exp(-0.5 * (taus / tau_scale) ** 2)
    prior[0] *= 0.5  # the trapezoid rule; at the other end there is nothing
    prior /= prior.sum()

    def heights(means: Floats) -> Floats:
        logs = evidence.log_marginal(_Grid(means, taus))
        top = logs.max(axis=0)
        integrated: Floats = top + np.log((prior[:, np.newaxis] * np.exp(logs - top)).sum(axis=0))
        return integrated

    def holds(means: Floats) -> NDArray[np.bool_]:
        return heights(means) >= limit - drop

    ends = [end for site in sites for end in site.span]
    far = (max(ends) if side > 0 else min(ends)) + side * (40.0 + _REACH * float(taus[-1]))
    near = far - side
    while holds(np.array([near]))[0]:
        near -= side * max(1.0, abs(far - near))
    return border(holds, far, near)


def marginal_bend(site: Likelihood, middle: float, step: float, tau: float) -> float:
    """Curvature at `middle` of a site's log-likelihood of the mean, positive where it bends down.

    The site's own effect is integrated out given tau; the curvature is the second difference over
    `step` to each side.
    """
    origin, unit = site.frame
    means = (np.array([middle - step, middle, middle + step]) - origin) / unit
    grid = _Grid(means, np.array([tau / unit]))
    ((low, peak, high),) = _Evidence([site.moved(origin, unit)]).log_marginal(grid).tolist()
    return float((2.0 * peak - low - high) / step**2)


class _Grid(NamedTuple):
    """Points of mu, ascending and (but for the first grid) equally spaced, and of tau."""

    means: Floats
    taus: Floats

    @property
    def mean_step(self) -> float:
        """Distance of the first two points of mu."""
        return float(self.means[1] - self.means[0])


def _taus(tau_scale: float, count: int) -> Floats:
    return np.linspace(0.0, _WIDEST_TAU * tau_scale, count)


def _log_density(
    evidence: "_Evidence", grid: _Grid, tau_scale: float, mean_scale: float | None
) -> Floats:
    """Log posterior less its largest value, shape (taus, means)."""
    logs = evidence.log_marginal(grid)
    logs -= 0.5 * (grid.taus[:, np.newaxis] / tau_scale) ** 2
    if mean_scale is not None:
        logs -= 0.5 * (grid.means / mean_scale) ** 2
    logs -= logs.max()
    return logs


def _narrowed(grid: _Grid, log_density: Floats, means: int, taus: int) -> _Grid:
    """A grid of `means` times `taus` equally spaced points over the part that matters."""
    ends = []
    for points, axis in ((grid.means, 0), (grid.taus, 1)):
        matters = np.flatnonzero(log_density.max(axis=axis) > -_NEGLIGIBLE)
        first, last = max(int(matters[0]) - 1, 0), min(int(matters[-1]) + 1, points.size - 1)
        ends.append((float(points[first]), float(points[last])))
    return _Grid(np.linspace(*ends[0], means), np.linspace(*ends[1], taus))


class _Evidence:
    """Sites' marginal likelihoods of (mu, tau)."""

    def __init__(self, sites: Sequence[Likelihood]) -> None:
        parabolas = [site for site in sites if site.is_parabola]
        self._centres = np.array([site.centre for site in parabolas])
        self._variances = np.array([1.0 / site.precision for site in parabolas])
        by_sharpness: dict[int, list[Likelihood]] = {}
        for site in sites:
            if not site.is_parabola:
                octave = math.frexp(min(site.finest, 1.0))[1]
                by_sharpness.setdefault(octave, []).append(site)
        self._curved = [_Curved(by_sharpness[octave]) for octave in sorted(by_sharpness)]
        self._total = Likelihood.sum(sites)

    def first_means(self, tau_scale: float, mean_scale: float | None) -> Floats:
        """Points that surely span the posterior's mass, close together where it may be sharp."""
        low, high = self._total.span
        margin = _MARGIN + 2.0 * _WIDEST_TAU * tau_scale
        points = [np.linspace(low - margin, high + margin, 301)]
        peak, _ = maximum_of(self._total)
        if math.isfinite(peak):
            points.append(peak + self._total.finest * np.linspace(-12.0, 12.0, 61))
        if has_tails(self._total.exact):
            # The posterior may have a peak at each site.
            errors = self._total.exact.sharpest**-0.5
            near = self._total.exact.centre + np.multiply.outer(np.linspace(-6.0, 6.0, 13), errors)
            points.append(near.ravel())
        if mean_scale is not None:
            points.append(np.linspace(-9.0, 9.0, 101) * mean_scale)
        return np.unique(np.concatenate(points))

    def log_marginal(self, grid: _Grid) -> Floats:
        """Log marginal likelihood, summed over sites; shape (taus, means)."""
        spread = self._variances[:, np.newaxis] + grid.taus**2
        total = -0.5 * np.log(spread / self._variances[:, np.newaxis]).sum(axis=0)[:, np.newaxis]
        total = np.repeat(total, grid.means.size, axis=1)
        for centre, variances in zip(self._centres, spread, strict=True):
            total -= 0.5 * (grid.means - centre) ** 2 / variances[:, np.newaxis]
        for curved in self._curved:
            total += curved.log_marginal(grid)
        return total

    def slope_error(self, means: Floats, tau: float) -> float:
        """How much the slope in mu may be wrong at one of the means, for want of samples."""
        errors = [curved.slope_error(means, tau) for curved in self._curved]
        return float(np.sum(errors, axis=0).max()) if errors else 0.0


_Fast = Curves | Knots | PoissonRates | Means | MeanDifferences


class _Curved:
    """Sites that are not normal and about equally sharp, so that one step suits them all."""

    def __init__(self, sites: list[Likelihood]) -> None:
        self._precisions = np.array([site.precision for site in sites])[:, np.newaxis]
        self._centres = np.array([site.centre for site in sites])[:, np.newaxis]
        self._finest = min(1.0, *(site.finest for site in sites))
        self._rows: list[tuple[_Fast, NDArray[np.intp]]] = []
        curves = [(k, site.curves) for k, site in enumerate(sites) if site.curves is not None]
        if curves:
            self._rows.append((Curves.stacked([c for _, c in curves]), _owners(curves)))
        exact = [(k, site.exact) for k, site in enumerate(sites) if site.exact is not None]
        stacked = exact_rows([rows for _, rows in exact])
        if stacked is not None:
            # Sums over tables are slow, so they are interpolated; the others are as fast.
            fast = Knots.of(stacked) if isinstance(stacked, Tables | Rates) else stacked
            self._rows.append((fast, _owners(exact)))
        self._peaks = np.array([])
        if has_tails(stacked):
            normal = [site.centre for site in sites if site.precision > 0.0]
            self._peaks = np.concatenate((stacked.centre, normal))

    def _values(self, theta: Floats) -> Floats:
        """Log-likelihoods, shape (sites, m)."""
        values: Floats = -0.5 * self._precisions * (theta - self._centres) ** 2
        for rows, owners in self._rows:
            found = rows.value(theta)
            if owners.size == len(values):  # one row a site
                values += found
            else:
                np.add.at(values, owners, found)
        return values

    def slope_error(self, means: Floats, tau: float) -> Floats:
        """The bound of each site's slope, averaged over its effect given mu and tau; summed.

        The slope of a site's contribution in mu is the mean of its log-likelihood's slope.
        """
        total = np.zeros(means.size)
        for rows, owners in self._rows:
            if not isinstance(rows, Curves):  # the others are exact everywhere
                continue
            for index, mean in enumerate(means.tolist()):
                if tau <= 0.5 * self._finest:
                    theta = mean + math.sqrt(2.0) * tau * _NODES
                    weights = self._values(theta) + np.log(_WEIGHTS)
                else:
                    theta, _ = self._theta_points(means, tau)
                    weights = self._values(theta) - 0.5 * ((theta - mean) / tau) ** 2
                shares = np.exp(weights - weights.max(axis=1, keepdims=True))
                shares /= shares.sum(axis=1, keepdims=True)
                total[index] += (shares[owners] * rows.slope_bound(theta)).sum()
        return total

    def log_marginal(self, grid: _Grid) -> Floats:
        """Log marginal likelihood, summed over these sites; shape (taus, means)."""
        total = np.empty((grid.taus.size, grid.means.size))
        # Gauss-Hermite quadrature is exact for polynomials, which heavy tails are not.
        smooth = grid.taus <= (0.25 if self._peaks.size else 0.5) * self._finest
        for row in np.flatnonzero(smooth):
            tau = float(grid.taus[row])
            log_marginal = self._by_hermite if tau > 0.0 else self._without_spread
            total[row] = log_marginal(grid.means, tau)
        if self._peaks.size:
            for row in np.flatnonzero(~smooth):
                total[row] = self._by_panels(grid.means, float(grid.taus[row]))
        elif not smooth.all():
            total[~smooth] = self._by_trapezoid(grid.means, grid.taus[~smooth])
        return total

    def _without_spread(self, means: Floats, _: float) -> Floats:
        summed: Floats = self._values(means).sum(axis=0)
        return summed

    def _by_hermite(self, means: Floats, tau: float) -> Floats:
        weights = np.log(_WEIGHTS / math.sqrt(math.pi))
        width = max(_CELLS // (8 * len(self._precisions) * _NODES.size), 1)
        total = np.empty_like(means)
        for start in range(0, means.size, width):
            some = means[start : start + width]
            theta = (some[:, np.newaxis] + math.sqrt(2.0) * tau * _NODES).ravel()
            logs = self._values(theta).reshape(-1, some.size, _NODES.size) + weights
            top = logs.max(axis=2, keepdims=True)
            sums = top[:, :, 0] + np.log(np.exp(logs - top).sum(axis=2))
            total[start : start + width] = sums.sum(axis=0)
        return total

    def _by_trapezoid(self, means: Floats, taus: Floats) -> Floats:
        theta, step = self._theta_points(means, float(taus.max()))
        logs = self._values(theta)
        tops = logs.max(axis=1, keepdims=True)
        heights = np.exp(logs - tops)
        total = np.empty(taus.size * means.size)
        start = 0
        for kernel in _kernels(theta, means, taus):
            with np.errstate(divide="ignore"):
                sums = np.log(heights @ kernel) + tops
            total[start : start + kernel.shape[1]] = sums.sum(axis=0)
            start += kernel.shape[1]
        return total.reshape(taus.size, means.size) + len(heights) * math.log(step)

    def _by_panels(self, means: Floats, tau: float) -> Floats:
        """Gauss-Legendre quadrature on panels that are narrow only where something is.

        Likelihoods of means never vanish, so that equal steps would be very many. At a distance
        from a peak they change as slowly as the distance is long, and the normal density changes
        within tau everywhere.
        """
        low, high = float(means.min()) - _REACH * tau, float(means.max()) + _REACH * tau
        octaves = max(math.ceil(math.log2((high - low) / self._finest)), 1)
        reach = 2.0 * self._finest * 2.0 ** np.arange(octaves)
        near = np.add.outer(self._peaks, np.concatenate((-reach, [0.0], reach))).ravel()
        edges = np.unique(np.concatenate(([low, high], near[(near > low) & (near < high)])))
        # Peaks of many sites lie close together: two edges this close are one.
        kept = np.concatenate(([True], np.diff(edges) > 0.5 * self._finest))
        edges = np.unique(np.concatenate((edges[kept], [low, high])))
        parts = np.ceil(np.diff(edges) / (3.0 * tau)).astype(np.intp)
        widths = np.repeat(np.diff(edges) / parts, parts)
        within = np.arange(widths.size) - np.repeat(np.add.accumulate(parts) - parts, parts)
        starts = np.repeat(edges[:-1], parts) + within * widths
        theta = (starts[:, np.newaxis] + widths[:, np.newaxis] * _PANEL).ravel()
        weights = (widths[:, np.newaxis] * _PANEL_WEIGHTS).ravel()
        logs = self._values(theta)
        tops = logs.max(axis=1, keepdims=True)
        heights = np.exp(logs - tops) * weights
        total = np.empty(means.size)
        start = 0
        for kernel in _kernels(theta, means, np.array([tau])):
            with np.errstate(divide="ignore"):
                sums = np.log(heights @ kernel) + tops
            total[start : start + kernel.shape[1]] = sums.sum(axis=0)
            start += kernel.shape[1]
        return total

    def _theta_points(self, means: Floats, tau: float) -> tuple[Floats, float]:
        """Equally spaced points of theta where a site's likelihood matters, and their step."""
        reach = _REACH * tau
        rough = np.linspace(float(means.min()) - reach, float(means.max()) + reach, 1001)
        logs = self._values(rough)
        near = (logs > logs.max(axis=1, keepdims=True) - 2.0 * _NEGLIGIBLE).any(axis=0)
        matters = np.flatnonzero(near)
        first = rough[max(int(matters[0]) - 1, 0)]
        last = rough[min(int(matters[-1]) + 1, rough.size - 1)]
        # The narrowest product of a likelihood and a normal density, whose tau is at least half of
        # `finest`, has a standard deviation of 0.45 `finest`. For that the trapezoid rule in steps
        # of 0.4 is right to 2 exp(-2 pi² (0.45 / 0.4)²), about 4e-11.
        # The bound on memory is reached only by profiles sharper than any that a site can sample.
        count = min(math.ceil(float(last - first) / (0.4 * self._finest)) + 1, _LONGEST)
        theta = np.linspace(first, last, count + 1)
        return theta, float(theta[1] - theta[0])


def _owners(rows: Sequence[tuple[int, Curves | Exact]]) -> NDArray[np.intp]:
    """For each row, the index of the site that it belongs to."""
    return np.repeat([k for k, _ in rows], [len(of_site) for _, of_site in rows]).astype(np.intp)


def _kernels(theta: Floats, means: Floats, taus: Floats) -> Iterator[Floats]:
    """Normal densities about each mean for each tau, shape (theta, some of taus times means).

    As many as fit at once: few large products of matrices are faster than many small ones.
    """
    width = max(_CELLS // theta.size, 1)
    centres, spreads = np.tile(means, taus.size), np.repeat(taus, means.size)
    for start in range(0, centres.size, width):
        some = slice(start, start + width)
        apart = (theta[:, np.newaxis] - centres[some]) / spreads[some]
        apart *= apart
        apart *= -0.5
        with np.errstate(under="ignore"):
            np.exp(apart, out=apart)
        apart /= spreads[some] * math.sqrt(2.0 * math.pi)
        yield apart
