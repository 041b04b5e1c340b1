"""Bayesian random effects for estimates and standard errors, by deterministic quadrature.

The model is ``y_i ~ N(theta_i, v_i)``, ``theta_i ~ N(mu, tau²)``, with a flat or normal prior on
mu and a half-normal or half-Cauchy one on tau (Röver 2020; Röver & Friede 2017; Röver et al. 2021
on the scale of the prior). Given tau everything is normal, so only tau is integrated numerically:
by the trapezoid rule over log tau, which converges geometrically there since the integrand decays
on both sides. The nodes cover all tau whose density is within exp(-45) of the highest. No random
numbers: the same sites give the same bits.
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
from qis.synthesis._foresight import PRIOR_POINT, Foresight
from qis.synthesis._mixture import NormalMixture
from qis.synthesis._sites import (
    Floats,
    Sites,
    check_choice,
    check_level,
    check_number,
    check_scale,
    check_sites,
    total,
)

TAU_PRIORS: Final = ("half-normal", "half-cauchy")

_NODES: Final = 1000
_NEGLIGIBLE: Final = 45.0
"""A log density this far below the highest is left out: exp(-45) is 3e-20."""
_CELLS: Final = 1 << 20
"""Most numbers in one array of sites by nodes; bounds the memory to 8 MiB each."""
_CACHED: Final = 1 << 14
"""Numbers computed at once where that changes no bit: 128 KiB an array, which is reused."""
_UNRESOLVED: Final = 1e9
"""Above this a log density is rounded by more than 1e-7, and its differences mean nothing."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marginal(HasTable):
    """The posterior distribution of one quantity.

    Parameters
    ----------
    mean, sd
        Posterior mean and standard deviation; infinite where the integral diverges (half-Cauchy
        prior with one or two sites).
    median
        The 50 % quantile.
    interval
        Central interval, at the posterior's `level`.

    Examples
    --------
    >>> import qis
    >>> tau = qis.bayes([-0.5, -0.1, -0.3], [0.2, 0.2, 0.1]).tau
    >>> 0.0 <= tau.interval[0] < tau.median < tau.interval[1]
    True

    """

    mean: float
    sd: float
    median: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior(HasTable):
    """The result of `bayes`, on the scale of the estimates.

    Parameters
    ----------
    mean, median, sd, interval
        Posterior of mu, the mean of the sites' true effects. The interval is central.
    tau
        Posterior of the standard deviation between sites.
    predictive
        Posterior predictive distribution of the true effect of a further site.
    shrinkage_means, shrinkage_sds
        Posterior mean and standard deviation of each site's own true effect, in the order given.
    probability_positive
        P(mu > 0).
    level
        Probability inside the intervals.
    tau_prior, tau_scale, mean_prior, mean_scale
        The priors: `mean_scale` is None for a flat one, else that of N(mean_prior, mean_scale²).

    Examples
    --------
    >>> import qis
    >>> posterior = qis.bayes([-0.5, -0.1, -0.3], [0.2, 0.2, 0.1])
    >>> posterior.interval[0] < posterior.median < posterior.interval[1]
    True

    """

    mean: float
    median: float
    sd: float
    interval: Interval
    tau: Marginal
    predictive: Marginal
    shrinkage_means: tuple[float, ...]
    shrinkage_sds: tuple[float, ...]
    probability_positive: float
    level: float
    tau_prior: str
    tau_scale: float
    mean_prior: float
    mean_scale: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """Values at each node of the quadrature, in scaled units; shape (nodes,)."""

    log_tau: Floats
    log_density: Floats
    mean: Floats
    variance: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prior:
    """Both priors, in scaled units; `precision` is 0 for a flat prior on the mean."""

    name: str
    tau_scale: float
    mean: float
    precision: float

    def log_tau_density(self, log_tau: Floats) -> Floats:
        """Log prior density of log tau (with the Jacobian), less a constant."""
        ratio = log_tau - math.log(self.tau_scale)
        if self.name == "half-normal":
            return log_tau - 0.5 * np.exp(np.minimum(2.0 * ratio, 700.0))
        return log_tau - np.logaddexp(0.0, 2.0 * ratio)


@checked
def bayes(
    estimates: ArrayLike,
    standard_errors: ArrayLike,
    *,
    tau_scale: float = 0.5,
    mean_scale: float | None = None,
    mean_prior: float = 0.0,
    tau_prior: str = "half-normal",
    level: float = 0.95,
) -> Posterior:
    """Pool estimates under a prior on the heterogeneity.

    Parameters
    ----------
    estimates, standard_errors
        Shape (k,), one of each a site; logarithms for ratio measures. Their order changes no bit
        of the result.
    tau_scale
        Scale of the prior on tau, in the units of the estimates. The default suits log ratios and
        standardised mean differences, and nothing else.
    mean_scale, mean_prior
        Standard deviation and mean of a normal prior on mu; flat if `mean_scale` is None.
    tau_prior
        "half-normal" or "half-cauchy".
    level
        Probability inside the intervals, in (0, 1).

    Returns
    -------
    Posterior
        With one site and a flat prior its mean and median are that site's estimate; its interval
        is wider than the site's own, since tau is then known from the prior only.

    Raises
    ------
    InputError
        If a number is not finite, a scale or standard error not positive, or an option unknown.

    Examples
    --------
    >>> import qis
    >>> posterior = qis.bayes([-0.5, -0.1, -0.3], [0.2, 0.2, 0.1], tau_scale=0.5)
    >>> round(posterior.median, 1)
    -0.3

    """
    found = _integrated(
        estimates,
        standard_errors,
        tau_scale=tau_scale,
        mean_scale=mean_scale,
        mean_prior=mean_prior,
        tau_prior=tau_prior,
        level=level,
    )
    sites, nodes, unit = found.sites, found.nodes, found.sites.scale
    of_mean = found.of_mean(level)
    shrunken_means, shrunken_sds = _shrinkage(sites, nodes, found.mass)
    return Posterior(
        mean=of_mean.mean,
        median=of_mean.median,
        sd=of_mean.sd,
        interval=of_mean.interval,
        tau=found.of_tau(level),
        predictive=_marginal(found.further, level, unit, finite=found.moments > 2),
        shrinkage_means=sites.as_given(shrunken_means * unit),
        shrinkage_sds=sites.as_given(shrunken_sds * unit),
        probability_positive=found.mean.above(0.0),
        level=float(level),
        tau_prior=tau_prior,
        tau_scale=float(tau_scale),
        mean_prior=float(mean_prior),
        mean_scale=None if mean_scale is None else float(mean_scale),
    )


def mean_and_tau(
    estimates: ArrayLike,
    standard_errors: ArrayLike,
    *,
    tau_scale: float,
    mean_scale: float | None,
    level: float,
) -> tuple[Marginal, Marginal, Foresight]:
    """The posteriors of mu and tau, and what they say beyond, without the rest of `bayes`.

    The prior on tau is half-normal with scale `tau_scale`, that on mu normal about 0 with standard
    deviation `mean_scale`, or flat if that is None. Raises `InputError` if a number is not finite,
    or a scale or standard error is not positive.
    """
    found = _integrated(
        estimates,
        standard_errors,
        tau_scale=tau_scale,
        mean_scale=mean_scale,
        mean_prior=0.0,
        tau_prior="half-normal",
        level=level,
    )
    return found.of_mean(level), found.of_tau(level), found.foresight(level)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Integrated:
    """The quadrature over tau, in scaled units."""

    sites: Sites
    prior: _Prior
    nodes: _Nodes
    mass: Floats
    mean: NormalMixture

    @property
    def moments(self) -> float:
        return _finite_moments(self.prior, self.sites.k)

    def of_mean(self, level: float) -> Marginal:
        finite = self.moments > 2 or self.prior.precision > 0.0
        return _marginal(self.mean, level, self.sites.scale, finite=finite)

    def of_tau(self, level: float) -> Marginal:
        return _tau_marginal(self.nodes, self.mass, level, self.sites.scale, self.moments)

    @property
    def further(self) -> NormalMixture:
        """The true effect of a further site."""
        sds = np.hypot(self.mean.sds, np.exp(self.nodes.log_tau))
        return NormalMixture(mass=self.mass, means=self.nodes.mean, sds=sds)

    def foresight(self, level: float) -> Foresight:
        """A further site, and tau's posterior beside its half-normal prior."""
        nodes, scale = self.nodes.log_tau, self.prior.tau_scale
        ratio = np.exp(nodes - math.log(scale))
        # Density of log tau under the prior, times the distance of the nodes.
        prior = math.sqrt(2.0 / math.pi) * ratio * np.exp(-0.5 * np.minimum(ratio**2, 1400.0))
        prior *= float(nodes[1] - nodes[0])
        tails = (0.5 - level / 2.0, 0.5 + level / 2.0)
        low, high = self.further.quantiles(tails)
        return Foresight(
            prediction=(low * self.sites.scale, high * self.sites.scale),
            prior_share=min(total(np.minimum(prior, self.mass)), 1.0),
            beyond_prior=_over_log_tau(self.nodes, self.mass).above(math.log(PRIOR_POINT * scale)),
        )


def _integrated(
    estimates: ArrayLike,
    standard_errors: ArrayLike,
    *,
    tau_scale: float,
    mean_scale: float | None,
    mean_prior: float,
    tau_prior: str,
    level: float,
) -> _Integrated:
    check_choice(tau_prior, "tau_prior", TAU_PRIORS)
    level = check_level(level)
    scale_of_tau = check_scale(tau_scale, "tau_scale")
    scale_of_mean = None if mean_scale is None else check_scale(mean_scale, "mean_scale")
    centre = check_number(mean_prior, "mean_prior")
    sites = check_sites(estimates, standard_errors)
    unit = sites.scale
    prior = _Prior(
        name=tau_prior,
        tau_scale=scale_of_tau / unit,
        mean=centre / unit,
        precision=0.0 if scale_of_mean is None else (unit / scale_of_mean) ** 2,
    )
    nodes = _zoom(sites, prior)
    mass = masses_of(nodes.log_density)
    mean = NormalMixture(mass=mass, means=nodes.mean, sds=np.sqrt(nodes.variance))
    return _Integrated(sites=sites, prior=prior, nodes=nodes, mass=mass, mean=mean)


def _finite_moments(prior: _Prior, k: int) -> float:
    """The order below which moments of tau's posterior are finite."""
    # For large tau the likelihood falls like tau**-(k - 1), or like tau**-k with a prior on the
    # mean, and the half-Cauchy prior like tau**-2.
    if prior.name == "half-normal":
        return math.inf
    return k + 1 if prior.precision > 0.0 else k


def _zoom(sites: Sites, prior: _Prior) -> _Nodes:
    """Equally spaced nodes over all log tau that matter, found by looking ever closer.

    Raises
    ------
    InputError
        If the estimates contradict the prior so much that float64 cannot tell by how much.

    """
    spread = float(sites.estimates[-1] - sites.estimates[0])
    widest = max(prior.tau_scale, spread, math.sqrt(float(sites.variances.max())))
    # As tau goes to 0 the density of log tau falls like tau (its Jacobian), from where tau is as
    # small as the prior's scale and the smallest standard error, which is 1 in these units.
    low = math.log(min(prior.tau_scale, 1.0)) - _NEGLIGIBLE - 5.0
    high = math.log(widest) + _NEGLIGIBLE + 5.0
    while True:
        nodes = _evaluate(sites, prior, np.linspace(low, high, _NODES))
        highest = float(nodes.log_density.max())
        if not abs(highest) < _UNRESOLVED:
            raise InputError(
                "the estimates lie so far from each other, or from the prior mean, that the prior "
                "all but excludes them; check units, tau_scale and mean_scale",
                field="tau_scale",
                actual=prior.tau_scale * sites.scale,
            )
        ends = ends_that_matter([nodes.log_tau], nodes.log_density, _NEGLIGIBLE)
        if is_settled([nodes.log_tau], ends):
            return nodes
        ((low, high),) = ends


def _evaluate(sites: Sites, prior: _Prior, log_tau: Floats) -> _Nodes:
    """Posterior density of log tau, and mean and variance of mu given tau, at each node."""
    rows = max(1, _CACHED // sites.k)
    pieces = [
        _evaluate_piece(sites, prior, log_tau[start : start + rows])
        for start in range(0, len(log_tau), rows)
    ]
    density, mean, variance = (np.concatenate(part) for part in zip(*pieces, strict=True))
    return _Nodes(log_tau=log_tau, log_density=density, mean=mean, variance=variance)


def _evaluate_piece(sites: Sites, prior: _Prior, log_tau: Floats) -> tuple[Floats, Floats, Floats]:
    # With mu integrated out, twice the log-likelihood of tau is the sum of the log weights, less
    # the log of their sum, less the weighted squares about the mean. The arrays are reused, for
    # speed.
    weights = np.exp(2.0 * log_tau)[:, None] + sites.variances
    np.divide(1.0, weights, out=weights)
    precision = weights.sum(axis=1) + prior.precision
    # Offsets from the most precise site: no digits cancel where all estimates are far from zero.
    origin = float(sites.estimates[np.argmin(sites.variances)])
    offsets = sites.estimates - origin
    work = weights * offsets
    pull = work.sum(axis=1)
    if prior.precision:
        pull += prior.precision * (prior.mean - origin)
    shift = pull / precision
    np.subtract(offsets, shift[:, None], out=work)
    work *= work
    work *= weights
    misfit = work.sum(axis=1)
    if prior.precision:
        misfit += prior.precision * (prior.mean - origin - shift) ** 2
    logs = np.log(weights, out=weights).sum(axis=1)
    log_likelihood = 0.5 * (logs - np.log(precision) - misfit)
    density = log_likelihood + prior.log_tau_density(log_tau)
    return density, origin + shift, 1.0 / precision


def _over_log_tau(nodes: _Nodes, mass: Floats) -> Density:
    start, step = float(nodes.log_tau[0]), float(nodes.log_tau[1] - nodes.log_tau[0])
    return Density(start=start, step=step, heights=mass)


def _marginal(mixture: NormalMixture, level: float, unit: float, *, finite: bool) -> Marginal:
    quantiles = mixture.quantiles((0.5, 0.5 - level / 2.0, 0.5 + level / 2.0))
    median, low, high = (x * unit for x in quantiles)
    return Marginal(
        mean=mixture.mean * unit,
        sd=mixture.sd * unit if finite else math.inf,
        median=median,
        interval=(low, high),
    )


def _tau_marginal(
    nodes: _Nodes, mass: Floats, level: float, unit: float, moments: float
) -> Marginal:
    tau = np.exp(nodes.log_tau)
    mean = total(mass * tau) if moments > 1 else math.inf
    sd = math.sqrt(total(mass * (tau - mean) ** 2)) if moments > 2 else math.inf
    density = _over_log_tau(nodes, mass)
    shares = (0.5 - level / 2.0, 0.5, 0.5 + level / 2.0)
    low, middle, high = (math.exp(density.quantile(share)) * unit for share in shares)
    return Marginal(mean=mean * unit, sd=sd * unit, median=middle, interval=(low, high))


def _shrinkage(sites: Sites, nodes: _Nodes, mass: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each site's true effect, in sorted order."""
    first = np.zeros(sites.k)
    second = np.zeros(sites.k)
    y, v = sites.estimates, sites.variances
    rows = max(1, _CELLS // sites.k)
    for start in range(0, len(mass), rows):
        part = slice(start, start + rows)
        tau2 = np.exp(2.0 * nodes.log_tau[part])[:, None]
        drawn = v / (v + tau2)
        # Relative to the site's own estimate, so that no digits cancel.
        move = drawn * (nodes.mean[part][:, None] - y)
        spread = (1.0 - drawn) * v + drawn**2 * nodes.variance[part][:, None]
        p = mass[part][:, None]
        first += (p * move).sum(axis=0)
        second += (p * (spread + move**2)).sum(axis=0)
    return y + first, np.sqrt(np.maximum(second - first**2, 0.0))
