"""Random effects for whole log-likelihoods: each site's own effect is integrated out.

The model is ``theta_i ~ N(mu, tau²)`` with a half-normal prior on tau and a flat or normal one on
mu. A site's part is its log-marginal (`qis.synthesis.marginals`), one number a point of (mu, tau);
the parts add up, and the sum is interpolated between the points (`qis.synthesis.lattice`). mu and
tau are then integrated over a grid that is narrowed to where the posterior is. No random numbers:
the same evidence, the same bits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.errors import InputError
from qis.synthesis._density import Density
from qis.synthesis._foresight import PRIOR_POINT, Foresight, of_grid
from qis.synthesis._pooled_curve import border
from qis.synthesis.bayesian import mean_and_tau
from qis.synthesis.currency import Likelihood, has_tails
from qis.synthesis.lattice import TauPoints, mean_matrix
from qis.synthesis.marginals import Marginals
from qis.synthesis.panels import Bends
from qis.synthesis.said import Facts, Said
from qis.synthesis.surface import FINE, Surface, is_resolved
from qis.synthesis.together import FactTable, Together

Floats = NDArray[np.float64]

_NOWHERE: Final = 1e4
"""A log ratio as large as this is no limit."""


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
    together: Together, *, tau_scale: float, mean_scale: float | None, level: float
) -> MeanEffect:
    """Posterior of mu and tau.

    Parameters
    ----------
    together
        What the sites say, which must fall on both sides, unless there is a prior on the mean.
    tau_scale, mean_scale
        Scale of the half-normal prior on tau, and standard deviation of the normal prior on mu
        about 0; `None`: flat.
    level
        Probability inside the central intervals.

    """
    facts = together.facts()
    if facts.kinds == {"normal"}:
        sites = [row.likelihood for row in facts.rows]
        return _of_normal_sites(sites, tau_scale, mean_scale, level)
    # Where the measure has units, that of the prior: it does not change with the evidence.
    unit = 1.0
    if "mean" in facts.kinds:
        unit = math.ldexp(1.0, math.frexp(tau_scale)[1] - 1)
    scale = None if mean_scale is None else mean_scale / unit
    return _integrated(Surface(together, tau_scale / unit, scale, unit), level, unit)


def _integrated(surface: Surface, level: float, unit: float) -> MeanEffect:
    means, taus, density = surface.posterior()
    bend = surface.tau_bend
    weights = _tau_weights(taus, bend)
    of_mean = Density(
        start=float(means[0]), step=float(means[1] - means[0]), heights=weights @ density
    )
    graded = np.arcsinh(taus / bend)
    of_tau = Density(
        start=float(graded[0]),
        step=float(graded[1] - graded[0]),
        heights=density.sum(axis=1) * np.cosh(graded),
        is_even=bool(taus[0] == 0.0),
    )

    def tau_at(share: float) -> float:
        return bend * math.sinh(of_tau.quantile(share))

    if not (is_resolved(of_mean.heights) and is_resolved(of_tau.heights)):
        raise InputError(
            "tau_scale is so large beside the sites' standard errors that the posterior cannot be "
            "resolved: declare how much sites may plausibly differ",
            field="tau_scale",
            actual=unit * surface.tau_scale,
        )
    tails = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
    mean, sd = of_mean.mean_and_sd
    median, tau = of_mean.quantile(0.5), tau_at(0.5)
    interval = (of_mean.quantile(tails[0]), of_mean.quantile(tails[1]))
    foresight = of_grid(
        means,
        taus,
        density,
        weights=weights,
        beyond_prior=of_tau.above(math.asinh(PRIOR_POINT * surface.tau_scale / bend)),
        tau_scale=surface.tau_scale,
        level=level,
    )
    next_low, next_high = foresight.prediction
    return MeanEffect(
        median=unit * median,
        mean=unit * mean,
        sd=unit * sd,
        interval=(unit * interval[0], unit * interval[1]),
        foresight=foresight._replace(prediction=(unit * next_low, unit * next_high)),
        slope_error=surface.slope_error(np.array((interval[0], median, interval[1])), tau) / unit,
        tau=unit * tau,
        tau_interval=(unit * tau_at(tails[0]), unit * tau_at(tails[1])),
    )


def _tau_weights(taus: Floats, bend: float) -> Floats:
    """Weights of the trapezoid rule over ``asinh(tau / bend)``, whose steps are equal."""
    graded = np.arcsinh(taus / bend)
    weights: Floats = bend * (graded[1] - graded[0]) * np.cosh(graded)
    weights[0] *= 0.5  # at the other end there is nothing
    return weights


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


def own_given_all(
    own: Said | None, others: Sequence[Said], *, tau_scale: float, level: float
) -> tuple[float, float, MeanEffect]:
    """Posterior mean and standard deviation of one site's own effect, and of the mean effect.

    Given mu and tau both moments of the site's effect are derivatives of its log-marginal:
    ``mu + tau² l'`` and ``tau² + tau⁴ l''`` (Robbins 1956, after Tweedie; Efron 2011). `own` is
    `None` for a site whose data say nothing: its effect is that of a further site.
    """
    said = [*others, own] if own is not None else list(others)
    together, unit = Together(said), 1.0
    if "mean" in together.facts().kinds:
        unit = math.ldexp(1.0, math.frexp(tau_scale)[1] - 1)
    surface = Surface(together, tau_scale / unit, None, unit)
    means, taus, density = surface.posterior()
    density *= _tau_weights(taus, surface.tau_bend)[:, np.newaxis]
    shares = density / density.sum()
    square = (taus * taus)[:, np.newaxis]
    middles, spreads = means + np.zeros_like(square), square + np.zeros_like(means)
    if own is not None:
        slope, bend = surface.slopes_of(own, means, taus)
        middles = middles + square * slope
        spreads = np.maximum(spreads + square * square * bend, 0.0)
    mean = float((shares * middles).sum())
    variance = float((shares * (spreads + (middles - mean) ** 2)).sum())
    return unit * mean, unit * math.sqrt(variance), _integrated(surface, level, unit)


def open_limit(together: Together, *, tau_scale: float, drop: float, side: int) -> float:
    """The mu at which its log-likelihood is `drop` below the limit, on a side where it never falls.

    Tau is integrated out against its prior. As mu goes to that side, every site's contribution
    rises to its own limit whatever tau is, so the limit is known exactly and no range enters.
    Infinite if there is no such mu.
    """
    surface = Surface(together, tau_scale, None, 1.0)
    limit = together.facts().sums[side > 0]
    taus = np.linspace(0.0, surface.tau_points.widest, 2 * FINE[1])
    prior = np.exp(-0.5 * (taus / tau_scale) ** 2)
    prior[0] *= 0.5  # the trapezoid rule; at the other end there is nothing
    prior /= prior.sum()

    def holds(means: Floats) -> NDArray[np.bool_]:
        logs = surface.log_likelihood(means, taus)
        top = logs.max(axis=0)
        integrated: Floats = top + np.log((prior[:, np.newaxis] * np.exp(logs - top)).sum(axis=0))
        return integrated >= limit - drop

    while not holds(surface.ends[side > 0])[0]:
        surface.extend(side)
    while holds(surface.ends[side < 0])[0]:
        if abs(float(surface.ends[side < 0][0])) > _NOWHERE:
            return -side * math.inf
        surface.extend(-side)
    return border(holds, float(surface.ends[side > 0][0]), float(surface.ends[side < 0][0]))


def marginal_bends(
    sites: Sequence[Likelihood], middle: float, step: float, tau: float
) -> list[float]:
    """Curvature at `middle` of each site's log-likelihood of the mean, positive if it bends down.

    The site's own effect is integrated out given tau; the curvature is the second difference over
    `step` to each side, but for normal likelihoods, of which it is known.
    """
    normal = [1.0 / (1.0 / each.precision + tau**2) for each in sites if each.is_parabola]
    if len(normal) == len(sites):
        return normal
    known = iter(normal)
    found = iter(_second_differences([s for s in sites if not s.is_parabola], middle, step, tau))
    return [next(known) if each.is_parabola else next(found) for each in sites]


def _second_differences(
    sites: Sequence[Likelihood], middle: float, step: float, tau: float
) -> list[float]:
    unit = 1.0
    if any(has_tails(site.exact) for site in sites):  # these have units
        unit = math.ldexp(1.0, math.frexp(tau)[1] - 1)
    moved = FactTable.of([Facts.of(site.moved(0.0, unit)) for site in sites])
    means, taus = np.array([middle - step, middle, middle + step]) / unit, np.array([tau / unit])
    finest = float(moved.finest.min())
    points = TauPoints.for_errors(tau / unit, finest)
    bends, marginals = Bends(moved, finest), Marginals(moved.rows)
    panels = [bends.about(float(means[0]))]
    while panels[-1].ends[1] < means[2]:
        panels.append(bends.widest(panels[-1].ends[1], 1))
    values = np.concatenate([marginals.on(panel, points.taus)[0] for panel in panels], axis=2)
    at = np.array([points.interpolated(each, taus)[0] for each in values])
    found = at @ mean_matrix(panels, means).T
    curvature: Floats = (2.0 * found[:, 1] - found[:, 0] - found[:, 2]) / step**2
    return [float(each) for each in curvature]
