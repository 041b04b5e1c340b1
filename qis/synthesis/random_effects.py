"""Random effects for whole log-likelihoods: each site's own effect is integrated out.

The model is ``theta_i ~ N(mu, tau²)`` with a half-normal prior on tau and a flat or normal one on
mu. A site's part is its log-marginal (`qis.synthesis.marginals`), one number a point of (mu, tau);
the parts add up, and the sum is interpolated between the points (`qis.synthesis.lattice`). mu and
tau are then integrated over a grid that is narrowed to where the posterior is. No random numbers:
the same evidence, the same bits.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.errors import InputError
from qis.outcomes._means import MeanDifferences, Means
from qis.outcomes._poisson import PoissonRates
from qis.synthesis._density import Density, ends_that_matter
from qis.synthesis._foresight import PRIOR_POINT, Foresight, of_grid
from qis.synthesis._pooled_curve import border
from qis.synthesis.bayesian import mean_and_tau
from qis.synthesis.currency import Likelihood, has_tails
from qis.synthesis.kept import Facts, Said, SummedMarginals
from qis.synthesis.lattice import Panel, TauPoints, mean_matrix
from qis.synthesis.marginals import Marginals

Floats = NDArray[np.float64]

_COARSE: Final = (81, 13)
_FINE: Final = (161, 41)
"""Numbers of grid points of mu and of tau."""
_BEND: Final = 4.0
"""Of c of the taus at which log-marginals are: about the smallest standard error."""
_FINER: Final = 4
_MOST: Final = 5_000
"""Where the fine grid of mu is too coarse it is made so many times finer, until it has more points
than this."""
_NEGLIGIBLE: Final = 22.0
"""Where the log posterior is this far under its largest value, it is left out."""
_MARGIN: Final = 8.0
"""Panels are added until the log posterior is this much further down."""
_WIDEST: Final = 1
"""Panels are at most two to this power wide where log-likelihoods bend: the likelihoods of counts
have their nearest singularities at a distance of pi."""
_NEIGHBOUR: Final = 0.85
"""Next to its largest value a density is at least this part of it: steps of half a standard
deviation. Steps as wide as one put limits 0.015 standard errors off."""
_PART_OF_PANEL: Final = 0.01
"""Of a panel's width: the step of a numerical derivative."""
_NOWHERE: Final = 1e4
"""A log ratio as large as this is no limit."""
_LEVEL_FROM: Final = 8.0
"""Beyond the ends by this a curve's bend is over: exp(-8) of it is left."""
_ZOOMS: Final = 5
_ERRORS: Final = 8.0
"""Nor wider than so many standard errors of the most precise site: curves that were sampled at nine
points are cubics piece by piece, which one polynomial over many errors does not follow."""
_PANELS: Final = 2_000
"""Most panels."""


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
    said: Sequence[Said], *, tau_scale: float, mean_scale: float | None, level: float
) -> MeanEffect:
    """Posterior of mu and tau.

    Parameters
    ----------
    said
        What each site says, in any order. Together they must fall on both sides, unless there is a
        prior on the mean.
    tau_scale, mean_scale
        Scale of the half-normal prior on tau, and standard deviation of the normal prior on mu
        about 0; `None`: flat.
    level
        Probability inside the central intervals.

    """
    sites = [site.likelihood() for site in said]
    if all(site.is_parabola for site in sites):
        return _of_normal_sites(sites, tau_scale, mean_scale, level)
    # Where the measure has units, that of the prior: it does not change with the evidence.
    unit = 1.0
    if any(has_tails(site.exact) for site in sites):
        unit = math.ldexp(1.0, math.frexp(tau_scale)[1] - 1)
    scale = None if mean_scale is None else mean_scale / unit
    return _integrated(_Surface(said, tau_scale / unit, scale, unit), level, unit)


def _integrated(surface: "_Surface", level: float, unit: float) -> MeanEffect:
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

    if not (_is_resolved(of_mean.heights) and _is_resolved(of_tau.heights)):
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


def _is_resolved(heights: Floats) -> bool:
    """True if a density's grid is close enough where most of its mass is."""
    best = int(heights.argmax())
    near = heights[max(best - 1, 0) : best + 2]
    return bool(near.min() >= _NEIGHBOUR * heights[best])


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
    said.sort(key=attrgetter("key"))
    unit = 1.0
    if any(has_tails(site.likelihood().exact) for site in said):
        unit = math.ldexp(1.0, math.frexp(tau_scale)[1] - 1)
    surface = _Surface(said, tau_scale / unit, None, unit)
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


def open_limit(said: Sequence[Said], *, tau_scale: float, drop: float, side: int) -> float:
    """The mu at which its log-likelihood is `drop` below the limit, on a side where it never falls.

    Tau is integrated out against its prior. As mu goes to that side, every site's contribution
    rises to its own limit whatever tau is, so the limit is known exactly and no range enters.
    Infinite if there is no such mu.
    """
    surface = _Surface(said, tau_scale, None, 1.0)
    limit = math.fsum(site.facts().limits[0 if side < 0 else 1] for site in said)
    taus = np.linspace(0.0, surface.tau_points.widest, 2 * _FINE[1])
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
    moved = [Facts.of(site.moved(0.0, unit)) for site in sites]
    means, taus = np.array([middle - step, middle, middle + step]) / unit, np.array([tau / unit])
    points = TauPoints.for_errors(tau / unit, min(site.finest for site in moved))
    bends, marginals = _Bends(moved), Marginals([each.likelihood for each in moved])
    panels = [bends.about(float(means[0]))]
    while panels[-1].ends[1] < means[2]:
        panels.append(bends.widest(panels[-1].ends[1], 1))
    values = np.concatenate([marginals.on(panel, points.taus)[0] for panel in panels], axis=2)
    at = np.array([points.interpolated(each, taus)[0] for each in values])
    found = at @ mean_matrix(panels, means).T
    curvature: Floats = (2.0 * found[:, 1] - found[:, 0] - found[:, 2]) / step**2
    return [float(each) for each in curvature]


def rough_crossings(
    sums: SummedMarginals, spans: Sequence[tuple[float, float]], drops: Floats
) -> Floats | None:
    """About where the summed log-likelihood is largest, and where it has dropped from there.

    `drops` are 0, for the maximum, and then by turns those below and above it; `None` if it has no
    maximum, or has not dropped so far where curves no longer bend.
    """
    low, high = min(low for low, _ in spans) - _LEVEL_FROM, max(high for _, high in spans)
    panels = [_at(_WIDEST, float(np.median([low + high for low, high in spans])) / 2.0)]
    levels = [sums.level(panels[0])]
    for side in (-1, 1):
        while True:
            at, values = panels[-(side > 0)], levels[-(side > 0)]
            outer, inner = (values[-1], values[-2]) if side > 0 else (values[0], values[1])
            top = max(float(level.max()) for level in levels)
            if outer < inner and outer < top - drops.max() - 1.0:
                break
            if not low < at.ends[0] or not at.ends[1] < high + _LEVEL_FROM:
                return None
            further = Panel(_WIDEST, at.offset + side)
            panels.insert(len(panels) if side > 0 else 0, further)
            levels.insert(len(levels) if side > 0 else 0, sums.level(further))
    joined = np.concatenate(levels)
    start, end = panels[0].ends[0], panels[-1].ends[1]

    def heights(theta: Floats) -> Floats:
        found: Floats = mean_matrix(panels, theta) @ joined
        return found

    near = start, end
    for _ in range(_ZOOMS):
        theta = np.linspace(*near, 65)
        best = int(heights(theta).argmax())
        near = float(theta[max(best - 1, 0)]), float(theta[min(best + 1, 64)])
    argmax = (near[0] + near[1]) / 2.0
    top = float(heights(np.array([argmax]))[0])
    found = [argmax]
    for k, level in enumerate((top - drops[1:]).tolist()):
        found.append(border(partial(_at_least, heights, level), argmax, (start, end)[k % 2]))
    return np.array(found)


def _at_least(
    heights: Callable[[Floats], Floats], level: float, theta: Floats
) -> NDArray[np.bool_]:
    return heights(theta) >= level


class _Surface:
    """The log-marginals of (mu, tau), summed over sites, on as many panels as are asked for."""

    def __init__(
        self, said: Sequence[Said], tau_scale: float, mean_scale: float | None, unit: float
    ) -> None:
        facts = [site.facts(unit) for site in said]
        self.tau_points = TauPoints.for_errors(tau_scale, min(each.finest for each in facts))
        self._taus = self.tau_points.taus
        self.tau_bend = min(self.tau_points.closest * _BEND, tau_scale)
        """Below it taus of the grid are equally spaced, above it their logarithms."""
        self.tau_scale, self._mean_scale, self._unit = tau_scale, mean_scale, unit
        self._marginals = SummedMarginals(said, unit)
        self._bends = _Bends(facts)
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
        for count in (_COARSE, _FINE):
            grid = self.narrowed(*grid, *count)
        while True:
            logs = self.log_density(*grid)
            density = np.exp(logs - logs.max())
            means, taus = grid
            if _is_resolved(density.sum(axis=0)) or means.size > _MOST:
                return means, taus, density
            # A narrow peak and a long tail: flat curves, or a very wide prior.
            grid = np.linspace(means[0], means[-1], _FINER * (means.size - 1) + 1), taus

    def slopes_of(self, one: Said, means: Floats, taus: Floats) -> tuple[Floats, Floats]:
        """First and second derivative in mu of one site's log-marginal, shape (taus, means)."""
        part = SummedMarginals([one], self._unit)
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


class _Bends:
    """Where the log-likelihoods bend, and so how wide a panel may be.

    A panel is at most twice as wide as the distance to the nearest singularity. That of a mean's
    likelihood is at its centre, off the real line by the standard deviation of one person; those of
    all others are pi off the real line, and none is beyond the span. Rates fall exponentially above
    theirs, where panels stay narrow.
    """

    def __init__(self, facts: Sequence[Facts]) -> None:
        spans = np.array([each.span for each in facts])
        self._low, self._high = float(spans[:, 0].min()), float(spans[:, 1].max())
        self._lows = self._highs = np.array([])
        widths = []
        for each in facts:
            rows = each.likelihood.exact
            if isinstance(rows, Means):
                widths.append((rows.mean, np.sqrt(rows.ss / rows.people)))
            elif isinstance(rows, MeanDifferences):
                arms = np.minimum(rows.ss / rows.people, rows.control_ss / rows.control_people)
                widths.append((rows.difference, np.sqrt(arms)))
        self._have_peaks = bool(widths)
        if widths:
            self._lows = self._highs = np.concatenate([centre for centre, _ in widths])
            self._widths = np.concatenate([width for _, width in widths])
            self._low, self._high = float(self._lows.min()), float(self._highs.max())
        else:
            self._lows, self._highs = np.array([self._low]), np.array([self._high])
            sharpest = min(each.finest for each in facts)
            self._widths = np.array([min(math.ldexp(1.0, _WIDEST), _ERRORS * sharpest)])
            if any(isinstance(each.likelihood.exact, PoissonRates) for each in facts):
                # A rate's log-likelihood falls as exp(theta) above its span, and is never straight.
                self._lows, self._highs = (
                    np.append(self._lows, self._high),
                    np.append(self._highs, np.inf),
                )
                self._widths = np.append(self._widths, math.ldexp(1.0, _WIDEST))

    def _are_resolved(self, panel: Panel) -> bool:
        low, high = panel.ends
        apart = np.maximum(np.maximum(self._lows - high, low - self._highs), 0.0)
        return bool((high - low <= np.maximum(apart, self._widths)).all())

    def first(self) -> Panel:
        """A panel in the middle."""
        return self.about((self._low + self._high) / 2.0)

    def about(self, value: float) -> Panel:
        """A panel with this value in it, not at its upper end."""
        exponent = math.frexp(float(self._widths.max()))[1] + 1
        while not self._are_resolved(found := _at(exponent, value)):
            exponent -= 1
        return found

    def widest(self, end: float, side: int) -> Panel:
        """The widest panel on a side of the end of another one."""
        exponent = math.frexp(self._high - self._low + abs(end) + float(self._widths.max()))[1] + 1
        while True:
            index = math.ldexp(end, -exponent)
            if index == math.floor(index):
                found = Panel(exponent, int(index) - (side < 0))
                if self._are_resolved(found):
                    return found
            exponent -= 1

    def are_within(self, panel: Panel, side: int) -> bool:
        """True if there is no peak beyond the panel; only likelihoods of means have several."""
        if not self._have_peaks:
            return True
        low, high = panel.ends
        return high >= self._high if side > 0 else low <= self._low


def _at(exponent: int, value: float) -> Panel:
    return Panel(exponent, math.floor(math.ldexp(value, -exponent)))
