"""Each site's log-marginal: its likelihood with its own effect integrated out, given mu and tau.

Under ``theta ~ N(mu, tau²)`` a site says of (mu, tau) what the integral of its likelihood against
that normal density is. For a normal likelihood it is known in closed form; else it is the trapezoid
rule, which converges geometrically, or, where tails are heavy, Gauss-Legendre on graded panels.
Where tau is small beside the site's error it is a polynomial in tau² through the value and
derivative at 0, which are exact, and three larger taus.

The numbers of a site depend on this site only, whatever others are computed with it: sums can be
kept while sites come and go.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.outcomes._conditional import Rates, Tables
from qis.outcomes._curves import Curves
from qis.outcomes._means import MeanDifferences, Means
from qis.outcomes._poisson import PoissonRates
from qis.synthesis._knots import Knots
from qis.synthesis.currency import Exact, exact_rows, has_tails
from qis.synthesis.lattice import NODES, Panel
from qis.synthesis.said import Facts

Floats = NDArray[np.float64]
_Fast = Curves | Knots | PoissonRates | Means | MeanDifferences

_SMALL: Final = 0.25
"""A tau below this times the site's standard error is small."""
_LARGE: Final = 2.0
"""Above this times the standard error wider steps are as good."""
_PER_WIDTH: Final = 0.8
"""Step of the trapezoid rule, in standard deviations of the narrowest integrand: for a normal one
it is right to ``2 exp(-2 pi² / 0.8²)``, 8e-14 (Poisson's summation formula)."""
_REACH: Final = 14.0
"""Standard deviations tau about mu beyond which exp(-98) of an integrand is left."""
_FAR: Final = 100.0
"""Log-marginals this far under the site's largest value are by Laplace's method: no quadrature
over where its likelihood is sees them."""
_SHARP: Final = 0.125
"""Sites of a smaller standard error are integrated where their likelihood is, not where tau is."""
_NOTHING: Final = 150.0
"""Of a likelihood this far under its largest value nothing is left at `_FAR`."""
_CLOSE: Final = 0.05
"""Distance of points between which one step of Newton's is as good as several."""
_FADED: Final = 12.0
"""Beyond the span by this exp(-12) of a bend is left."""
_AWAY: Final = np.concatenate(([0.0], 2.0 ** np.arange(-2.0, 13.0)))
"""Distances from a panel at which a log-likelihood is looked at where it is straight."""
_ROUGH: Final = np.linspace(-80.0, 80.0, 641)
"""Log ratios at which it is looked where a likelihood is; a packet's lie within 64."""
_LONGEST: Final = 1 << 15
"""Most points at which a likelihood is evaluated for one panel."""
_UNITS: Final = 2.0**30
"""Log-marginals are multiples of one over this."""
_ROWS: Final = 16
_COLUMNS: Final = 1024
"""Sites, and points, multiplied at once: too few for several threads, which would wait for each
other, and always as many, since a product's last bits depend on its shape."""
_MANY: Final = 64
"""Most sites computed at once, which bounds the memory and how long one step takes."""
_LEGENDRE = np.polynomial.legendre.leggauss(12)
_PANEL, _PANEL_WEIGHTS = (_LEGENDRE[0] + 1.0) / 2.0, _LEGENDRE[1] / 2.0
"""Points in [0, 1] and their weights."""


class MarginalTable(NamedTuple):
    """Log-marginals, and how wrong their slopes in mu may be, at the points of one panel."""

    values: Floats
    bounds: Floats


class Marginals:
    """Log-marginals of several sites.

    Parameters
    ----------
    sites
        One informative log-likelihood a site, with what is known of it.

    """

    def __init__(self, sites: Sequence[Facts]) -> None:
        self._count = len(sites)
        normal = [k for k, site in enumerate(sites) if site.kind == "normal"]
        self._normal = np.array(normal, dtype=np.intp)
        parabolas = [sites[k].likelihood for k in normal]
        self._centres = np.array([each.centre for each in parabolas])[:, np.newaxis, np.newaxis]
        precisions = np.array([each.precision for each in parabolas])
        self._variances = (1.0 / precisions)[:, np.newaxis, np.newaxis]
        alike: dict[tuple[object, ...], list[int]] = {}
        for k, site in enumerate(sites):
            if site.kind != "normal":
                alike.setdefault(_alike(site, k), []).append(k)
        self._groups: list[tuple[NDArray[np.intp], _Group]] = []
        for key in sorted(alike, key=repr):
            for kept, group in _grouped([sites[k] for k in alike[key]]):
                self._groups.append((np.array(alike[key], dtype=np.intp)[kept], group))

    def on(self, panel: Panel, taus: Floats) -> tuple[Floats, Floats]:
        """Log-marginals at the panel's points for each tau, and how wrong their slopes may be.

        Each of shape (sites, taus, 12). The second is the mean, over the site's own effect given
        mu and tau, of how wrong the slope of its log-likelihood may be for want of samples: the
        slope of a log-marginal in mu is the mean of the log-likelihood's.
        """
        values = np.empty((self._count, taus.size, NODES))
        bounds = np.zeros_like(values)
        if self._normal.size:
            spread = self._variances + (taus * taus)[:, np.newaxis]
            apart = panel.points - self._centres
            values[self._normal] = -0.5 * (
                apart * apart / spread + np.log(spread / self._variances)
            )
        for rows, group in self._groups:
            values[rows], bounds[rows] = group.on(panel, taus)
        return _rounded(values), _rounded(bounds)

    def level(self, panel: Panel) -> Floats:
        """Log-likelihoods at the panel's points, shape (sites, 12)."""
        values = np.empty((self._count, NODES))
        if self._normal.size:
            apart = panel.points - self._centres[:, 0]
            values[self._normal] = -0.5 * apart * apart / self._variances[:, 0]
        for rows, group in self._groups:
            values[rows] = group.values(panel.points)
        return _rounded(values)


def _rounded(values: Floats) -> Floats:
    """Without the last bits, in which products of matrices of different shapes differ."""
    rounded: Floats = np.rint(values * _UNITS) / _UNITS
    return rounded


def _alike(site: Facts, k: int) -> tuple[object, ...]:
    """Sites of equal key are computed together."""
    exact = site.likelihood.exact
    if has_tails(exact):
        return ("tails", k)
    octave = _octave(site)
    if exact is None:
        return ("curves", octave)
    low, high = exact.span
    ends = math.floor(float(low.min()) / 4.0), math.ceil(float(high.max()) / 4.0)
    return (type(exact).__name__, site.likelihood.curves is not None, octave, ends)


def _octave(site: Facts) -> int:
    """Its standard error, at its sharpest, is at least two to this power."""
    return math.frexp(site.finest)[1] - 1


def _grouped(sites: list[Facts]) -> Iterator[tuple[NDArray[np.intp], "_Group"]]:
    """Sites that can be integrated over the same points, and which of the given ones they are."""
    error = math.ldexp(1.0, _octave(sites[0]))
    if sites[0].kind == "mean":
        yield np.array([0]), _Group(sites, error, None)
        return
    for start in range(0, len(sites), _MANY):
        for rows, group in _by_range(sites[start : start + _MANY], error):
            yield rows + start, group


def _by_range(sites: list[Facts], error: float) -> Iterator[tuple[NDArray[np.intp], "_Group"]]:
    if error >= _SHARP:
        yield np.arange(len(sites)), _Group(sites, error, None)
        return
    logs = _Group(sites, error, None).values(_ROUGH)
    near = logs > logs.max(axis=1, keepdims=True) - _NOTHING
    first = np.maximum(near.argmax(axis=1) - 1, 0)
    last = _ROUGH.size - np.maximum(near[:, ::-1].argmax(axis=1), 1)
    width = max(16.0 * error, 0.25)  # so that few groups are needed
    lows, highs = np.floor(_ROUGH[first] / width), np.ceil(_ROUGH[last] / width)
    ranges: dict[tuple[float, float], list[int]] = {}
    for k, ends in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        ranges.setdefault(ends, []).append(k)
    for (low, high), found in sorted(ranges.items()):
        within = low * width, high * width
        yield np.array(found), _Group([sites[k] for k in found], error, within)


class _Group:
    """Sites that are not normal and about equally sharp, so that the same points suit them all.

    Parameters
    ----------
    facts
        Their log-likelihoods, with what is known of them.
    error
        Their standard errors are at least this and less than twice this.
    within
        Where their likelihoods are; `None`: looked for about each panel.

    """

    def __init__(
        self, facts: list[Facts], error: float, within: tuple[float, float] | None
    ) -> None:
        sites = [each.likelihood for each in facts]
        self._error = error if has_tails(sites[0].exact) else min(error, 1.0)
        self._within = within
        self._precisions = np.array([site.precision for site in sites])[:, np.newaxis]
        self._centres = np.array([site.centre for site in sites])[:, np.newaxis]
        curves = [(k, site.curves) for k, site in enumerate(sites) if site.curves is not None]
        self._curves = Curves.stacked([c for _, c in curves]) if curves else None
        self._owners = _owners(curves)
        exact = [(k, site.exact) for k, site in enumerate(sites) if site.exact is not None]
        self._exact = exact_rows([rows for _, rows in exact])
        self._fast: _Fast | None = None
        if isinstance(self._exact, Tables | Rates):
            # Sums over tables are slow, so they are interpolated; the others are as fast.
            self._fast = Knots.of(self._exact, self._error)
        else:
            self._fast = self._exact
        self._exact_owners = _owners(exact)
        self._modes: tuple[float, float] | None = None
        spans = [each.span for each in facts]
        self._span = min(low for low, _ in spans), max(high for _, high in spans)
        self._peaks = np.array([])
        if has_tails(self._exact):
            normal = [site.centre for site in sites if site.precision > 0.0]
            self._peaks = np.concatenate((self._exact.centre, normal))

    def values(self, theta: Floats) -> Floats:
        """Log-likelihoods, shape (sites, m)."""
        values: Floats = -0.5 * self._precisions * (theta - self._centres) ** 2
        for rows, owners in ((self._curves, self._owners), (self._fast, self._exact_owners)):
            if rows is not None:
                _add(values, rows.value(theta), owners)
        return values

    def _slope_bound(self, theta: Floats) -> Floats | None:
        """How wrong the slopes may be, shape (sites, m); `None` if they are right everywhere."""
        if self._curves is None:
            return None
        found = self._curves.slope_bound(theta)
        if not found.any():
            return None
        bound = np.zeros((len(self._precisions), theta.size))
        _add(bound, found, self._owners)
        return bound

    def evaluate(self, theta: Floats) -> list[Floats]:
        """Log-likelihoods, first and second derivatives, each of shape (sites, m)."""
        apart = theta - self._centres
        sums = [
            -0.5 * self._precisions * apart**2,
            -self._precisions * apart,
            np.repeat(-self._precisions, theta.size, axis=1),
        ]
        for rows, owners in ((self._curves, self._owners), (self._fast, self._exact_owners)):
            if rows is not None:
                for total, found in zip(sums, rows.evaluate(theta), strict=True):
                    _add(total, found, owners)
        return sums

    def on(self, panel: Panel, taus: Floats) -> tuple[Floats, Floats]:
        """As `Marginals.on`."""
        means = panel.points
        level, slopes, bends = self.evaluate(means)
        first = min(int(np.searchsorted(taus, _SMALL * self._error)), taus.size - 3)
        first = max(first, 1)
        values = np.empty((len(level), taus.size, NODES))
        bounds = np.zeros_like(values)
        values[:, 0] = level
        bound = self._slope_bound(means)
        if bound is not None:
            bounds[:, :first] = bound[:, np.newaxis]
        change = max(int(np.searchsorted(taus, _LARGE * self._error)), first)
        for rows in (slice(first, change), slice(change, taus.size)):
            if rows.start < rows.stop:
                found = self._integrated(panel, taus[rows])
                values[:, rows], bounds[:, rows] = found
        # The derivative by tau² at 0 is half the mean of slope² and curvature.
        rise = 0.5 * (slopes * slopes + bends)
        squares = taus * taus
        nodes = squares[first : first + 3]
        rests = [(values[:, first + i] - level - rise * nodes[i]) / nodes[i] ** 2 for i in range(3)]
        for row in range(1, first):
            u = squares[row]
            rest = sum(
                rests[i]
                * (
                    (u - nodes[j])
                    * (u - nodes[k])
                    / ((nodes[i] - nodes[j]) * (nodes[i] - nodes[k]))
                )
                for i, j, k in ((0, 1, 2), (1, 0, 2), (2, 0, 1))
            )
            values[:, row] = level + rise * u + rest * u * u
        return values, bounds

    def _integrated(self, panel: Panel, taus: Floats) -> tuple[Floats, Floats]:
        """Log-marginals and slope bounds at these taus, each of shape (sites, taus, 12)."""
        theta, weights = self._points(panel, taus)
        logs = self.values(theta)
        tops = logs.max(axis=1, keepdims=True)
        with np.errstate(under="ignore"):
            heights = np.exp(logs - tops)
            heights *= weights
        bound = self._slope_bound(theta)
        if bound is not None:
            heights = np.concatenate((heights, heights * bound))
        found = np.empty((len(heights), taus.size, NODES))
        (first, last), means = panel.ends, panel.points
        for row, tau in enumerate(taus.tolist()):
            reach = _REACH * tau
            low, high = theta.searchsorted((first - reach, last + reach))
            kernel = _kernel(theta[low:high], means, tau)
            found[:, row] = _product(heights[:, low:high], kernel)
        sums = found[: len(logs)]
        bounds = np.zeros_like(sums) if bound is None else found[len(logs) :]
        with np.errstate(divide="ignore", invalid="ignore"):
            bounds /= sums
            values = np.log(sums) + tops[:, :, np.newaxis]
        far = ~(values >= tops[:, :, np.newaxis] - _FAR)
        if far.any():
            values[far] = self._beyond(panel, taus, far)
            bounds[far] = 0.0
        return values, bounds

    def _beyond(self, panel: Panel, taus: Floats, far: NDArray[np.bool_]) -> Floats:
        """The log-marginals that no quadrature sees, by Laplace's method; shape (entries,).

        The largest of the integrand lies between mu and where the likelihood is largest; from the
        nearest point of a grid one step of Newton's leads there.
        """
        theta = self._between(panel)
        levels, slopes, bends = self.evaluate(theta)
        bends = np.minimum(bends, 0.0)
        found = np.zeros(far.shape)
        for row in np.flatnonzero(far.any(axis=(1, 2))).tolist():
            which, column = np.nonzero(far[row])
            precision = 1.0 / (taus[which] * taus[which])
            apart = theta - panel.points[column, np.newaxis]
            logs = apart * apart
            logs *= -0.5 * precision[:, np.newaxis]
            logs += levels[row]
            best = logs.argmax(axis=1)
            entries = np.arange(best.size)
            slope = slopes[row, best] - apart[entries, best] * precision
            sharpness = precision - bends[row, best]
            found[row, which, column] = (
                logs[entries, best]
                + 0.5 * slope * slope / sharpness
                - 0.5 * np.log(sharpness / precision)
            )
        return found[far]

    def _between(self, panel: Panel) -> Floats:
        """Points from the panel to the likelihoods' largest values, close beside any bend."""
        low, high = panel.ends
        if self._peaks.size:
            reach = max(high - low, self._error)
            ends = (low, high, *self._peaks.tolist())
            return self._graded(min(ends) - reach, max(ends) + reach, reach, self._peaks)[0]
        if self._modes is None:
            logs = self.values(_ROUGH)
            modes = _ROUGH[logs.argmax(axis=1)]
            self._modes = float(modes.min()), float(modes.max())
        # Beyond its bends a log-likelihood is straight, and one step leads to the peak from afar.
        start = max(min(low, self._modes[0]), self._span[0] - _FADED)
        end = min(max(high, self._modes[1]), self._span[1] + _FADED)
        close = np.arange(math.floor(start / _CLOSE), math.ceil(end / _CLOSE) + 1) * _CLOSE
        # None of these depends on which sites are computed together.
        return np.unique(np.concatenate((close, low - _AWAY, high + _AWAY)))

    def _points(self, panel: Panel, taus: Floats) -> tuple[Floats, Floats]:
        """Points of the integral over a site's effect, and their weights."""
        low, high = panel.ends
        reach = _REACH * float(taus[-1])
        if self._peaks.size:
            ends = (low - reach, high + reach, *self._peaks.tolist())
            return self._graded(min(ends), max(ends), float(taus[0]), self._peaks)
        narrowest = self._error / math.hypot(1.0, self._error / float(taus[0]))
        step = _PER_WIDTH * narrowest
        low, high = self._within or (low - reach, high + reach)
        if (high - low) / step > _LONGEST:
            # So large a tau that equal steps are too many: close together only where they bend.
            reach = 12.0 * self._error
            bends = np.arange(self._span[0] - reach, self._span[1] + reach, 2.0 * self._error)
            return self._graded(low, high, float(taus[0]), bends)
        steps = np.arange(math.floor(low / step), math.ceil(high / step) + 1, dtype=np.float64)
        theta: Floats = steps * step
        return theta, np.full_like(theta, step)

    def _graded(self, low: float, high: float, tau: float, peaks: Floats) -> tuple[Floats, Floats]:
        """Gauss-Legendre points on panels that are narrow only where something is.

        Likelihoods of means never vanish, so that equal steps would be very many. At a distance
        from a peak they change as slowly as the distance is long, and the normal density changes
        within tau everywhere.
        """
        octaves = max(math.ceil(math.log2((high - low) / self._error)), 1)
        reach = 2.0 * self._error * 2.0 ** np.arange(octaves)
        near = np.add.outer(peaks, np.concatenate((-reach, [0.0], reach))).ravel()
        edges = np.unique(np.concatenate(([low, high], near[(near > low) & (near < high)])))
        # Peaks of many cohorts lie close together: two edges this close are one.
        kept = np.concatenate(([True], np.diff(edges) > 0.5 * self._error))
        edges = np.unique(np.concatenate((edges[kept], [low, high])))
        parts = np.ceil(np.diff(edges) / (3.0 * tau)).astype(np.intp)
        widths = np.repeat(np.diff(edges) / parts, parts)
        within = np.arange(widths.size) - np.repeat(np.add.accumulate(parts) - parts, parts)
        starts = np.repeat(edges[:-1], parts) + within * widths
        theta: Floats = (starts[:, np.newaxis] + widths[:, np.newaxis] * _PANEL).ravel()
        return theta, np.multiply.outer(widths, _PANEL_WEIGHTS).ravel()


def _owners(rows: Sequence[tuple[int, Curves | Exact]]) -> NDArray[np.intp]:
    """For each row, the index of the site that it belongs to."""
    return np.repeat([k for k, _ in rows], [len(of_site) for _, of_site in rows]).astype(np.intp)


def _add(totals: Floats, found: Floats, owners: NDArray[np.intp]) -> None:
    if owners.size == len(totals):  # one row a site
        totals += found
    else:
        np.add.at(totals, owners, found)


def _kernel(theta: Floats, means: Floats, tau: float) -> Floats:
    """Normal densities about each mean, shape (theta, means)."""
    apart = (theta[:, np.newaxis] - means) / tau
    apart *= apart
    apart *= -0.5
    with np.errstate(under="ignore"):
        np.exp(apart, out=apart)
    apart /= tau * math.sqrt(2.0 * math.pi)
    return apart


def _product(heights: Floats, kernel: Floats) -> Floats:
    """The matrix product, in pieces of one shape."""
    found = np.zeros((len(heights), kernel.shape[1]))
    block = np.zeros((_ROWS, min(_COLUMNS, len(kernel))))
    with np.errstate(under="ignore"):
        for first in range(0, len(kernel), _COLUMNS):
            part = kernel[first : first + _COLUMNS]
            for start in range(0, len(heights), _ROWS):
                some = heights[start : start + _ROWS, first : first + _COLUMNS]
                block[: len(some), : len(part)] = some
                block[len(some) :, : len(part)] = 0.0
                found[start : start + _ROWS] += (block[:, : len(part)] @ part)[: len(some)]
    return found
