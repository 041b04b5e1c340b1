"""A site's likelihood times a mixture of normal densities: its integral, and the moments of it.

The mixture is what all other sites say of the site's effect: normal in the part that it shares with
them, and widened by its own deviation, which in a small share of sites is much larger.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.here.tables import SiteLikelihoods

Floats = NDArray[np.float64]

_NODES: Final = 33
_NARROWEST: Final = 1e-10
"""Where all was at one point, the next round looks this close around it, parts of the variance."""
_REACH: Final = 7.5
"""Standard deviations of the normal density, beyond which nothing is left."""


class Tilted(NamedTuple):
    """What is found of each site at each grid point.

    Shapes are (points, sites), and (components, points, sites) where the mixture's components are
    told apart.
    """

    log_mass: Floats
    """Logarithm of the integral of likelihood times mixture."""
    mean: Floats
    variance: Floats
    """Moments of the shared part of the effect, under likelihood times mixture."""
    own_means: Floats
    own_variances: Floats
    """Moments of the site's effect for each component of the mixture."""
    shares: Floats
    """How probable each component is, given the site's own data."""
    oddness: Floats
    """How far the components make the shared part differ from a normal one: about the error of its
    quantiles in standard deviations if it is taken to be one. Shape (points, sites)."""
    third: Floats
    fourth: Floats
    """What the likelihood itself adds to that, by its third and fourth cumulant; with signs."""

    def of(self, points: Any) -> "Tilted":
        """The same at some of the points, or in another order."""
        return Tilted(*(each[..., points, :] for each in self))

    @classmethod
    def joined(cls, parts: Sequence["Tilted"]) -> "Tilted":
        """What was found at some points and at others, as one."""
        return cls(*(np.concatenate(column, axis=-2) for column in zip(*parts, strict=True)))


def tilted(
    tables: SiteLikelihoods,
    means: Floats,
    variances: Floats,
    *,
    extra: Sequence[Floats],
    weights: Sequence[float],
    start: tuple[Floats, Floats] | None = None,
) -> Tilted:
    """Moments under likelihood times mixture.

    Parameters
    ----------
    tables
        The log-likelihoods of k sites.
    means, variances
        Shape (points, k): of the shared part of each site's effect, as the others say.
    extra
        For each component of the mixture the variances of the sites' own deviations, shape
        (points, k).
    weights
        Of the components.
    start
        Means and variances of the site's effect for each component, from a former call with
        nearly the same arguments.

    """
    logs, firsts, seconds, own_means, own_variances = [], [], [], [], []
    thirds, fourths = [], []
    for number, (added, weight) in enumerate(zip(extra, weights, strict=True)):
        wide = variances + added
        guess = None if start is None else (start[0][number], start[1][number])
        log_mass, mean, variance, third, fourth = product(tables, means, wide, guess)
        part = variances / wide
        logs.append(log_mass + np.log(weight))
        firsts.append(means + part * (mean - means))
        seconds.append(variances * (added / wide) + part * part * variance)
        thirds.append(part**3 * third)
        fourths.append(part**4 * fourth)
        own_means.append(mean)
        own_variances.append(variance)
    top = np.maximum.reduce(logs)
    shares = [np.exp(each - top) for each in logs]
    total = sum(shares)
    shares = [each / total for each in shares]
    middle = sum(share * first for share, first in zip(shares, firsts, strict=True))
    spread = np.asarray(
        sum(
            share * (second + (first - middle) ** 2)
            for share, first, second in zip(shares, firsts, seconds, strict=True)
        )
    )
    skew, bulge = np.zeros_like(spread), np.zeros_like(spread)
    for share, first, second in zip(shares, firsts, seconds, strict=True):
        square = (first - middle) ** 2
        skew += share * (first - middle) * (square + 3.0 * second)
        bulge += share * (square * (square + 6.0 * second) + 3.0 * second * second)
    # The first terms of Cornish and Fisher's expansion; and what no normal likelihood can widen.
    oddness = np.abs(skew) / (6.0 * spread**1.5) + np.abs(bulge / spread**2 - 3.0) / 24.0
    oddness += np.maximum(0.5 * np.log(spread / variances), 0.0)
    return Tilted(
        log_mass=top + np.log(total),
        mean=np.asarray(middle),
        variance=spread,
        oddness=oddness,
        third=sum(share * each for share, each in zip(shares, thirds, strict=True))
        / (6.0 * spread**1.5),
        fourth=sum(share * each for share, each in zip(shares, fourths, strict=True))
        / (24.0 * spread**2),
        own_means=np.array(own_means),
        own_variances=np.array(own_variances),
        shares=np.array(shares),
    )


def product(
    tables: SiteLikelihoods, means: Floats, wide: Floats, guess: tuple[Floats, Floats] | None
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Log integral, mean, variance, third and fourth cumulant of likelihood times a normal density.

    The density is ``N(means, wide)``.
    """
    both = wide + tables.variances
    mean = means + wide / both * (tables.middles - means)
    variance = wide * tables.variances / both
    log_mass = 0.5 * np.log(tables.variances / both) - 0.5 * (tables.middles - means) ** 2 / both
    third, fourth = np.zeros_like(mean), np.zeros_like(mean)
    others = np.flatnonzero(~tables.is_normal)
    if others.size:
        first, second = (mean, variance) if guess is None else guess
        about = first[:, others], second[:, others]
        found = _integrated(tables, others, means[:, others], wide[:, others], about)
        for whole, part in zip((log_mass, mean, variance, third, fourth), found, strict=True):
            whole[:, others] = part
    return log_mass, mean, variance, third, fourth


def _integrated(
    tables: SiteLikelihoods,
    sites: NDArray[np.intp],
    means: Floats,
    wide: Floats,
    about: tuple[Floats, Floats],
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """The same by quadrature, for likelihoods that are not normal.

    The trapezoid rule in t of ``centre + scale * sinh(t)``: its points lie close where the product
    was found to be, and reach as far as the normal density does. Where the integrand is smooth and
    vanishes at both ends the rule converges geometrically, so that neither centre nor scale has to
    be right.
    """
    centre, scale = about[0], np.sqrt(np.maximum(about[1], _NARROWEST * wide))
    reach = (np.abs(centre - means) + _REACH * np.sqrt(wide)) / scale
    last = np.arcsinh(reach)
    at = np.linspace(-1.0, 1.0, _NODES) * last[..., np.newaxis]
    theta = centre[..., np.newaxis] + scale[..., np.newaxis] * np.sinh(at)
    apart = theta - means[..., np.newaxis]
    logs = tables.value(sites, theta)
    logs -= 0.5 * apart * apart / wide[..., np.newaxis]
    top = logs.max(axis=-1, keepdims=True)
    heights = np.exp(logs - top)
    heights *= np.cosh(at)
    total = heights.sum(axis=-1)
    mean = (heights * theta).sum(axis=-1) / total
    theta -= mean[..., np.newaxis]
    heights *= theta
    heights *= theta
    spread = heights.sum(axis=-1) / total
    heights *= theta
    third = heights.sum(axis=-1) / total
    heights *= theta
    fourth = heights.sum(axis=-1) / total - 3.0 * spread * spread
    width = last * (2.0 / (_NODES - 1)) * scale
    log_mass = top[..., 0] + np.log(total * width) - 0.5 * np.log(2.0 * np.pi * wide)
    return log_mass, mean, np.maximum(spread, _NARROWEST * wide), third, fourth
