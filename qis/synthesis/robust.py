"""Syntheses that one wrong site cannot carry away, and how much each site sways the rest.

None of these recognises a lie. They limit what a few sites can do, whether these lie, erred or
really differ. With fewer than five sites nothing distinguishes one that lies from sites that
differ, and the results say so (`can_tell`, `verdict`).

Sources: weighted median and its sign test, Hettmansperger & McKean 2011; studentised deleted
residuals, Viechtbauer & Cheung 2010; t-distributed random effects, Lee & Thompson 2008 and Baker
& Jackson 2008.
"""

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from qis._gate import checked
from qis._given import real_number
from qis.errors import InputError
from qis.picture.html import HasTable
from qis.synthesis._quantiles import NORMAL, normal_quantile
from qis.synthesis._sites import (
    Floats,
    Sites,
    check_choice,
    check_level,
    check_sites,
    total,
)
from qis.synthesis._weights import weighted
from qis.synthesis.heterogeneity import TAU2_METHODS, estimate_tau2

FEWEST_SITES: Final = 5
"""Below this many, no method can tell a lying site from sites that differ."""

_EXACT_UP_TO: Final = 12
_UNIT: Final = 1 << 200
"""Weights are whole multiples of its inverse, but for those below 1e-44."""


def verdict_for(k: int) -> str:
    """What robustness means with `k` sites, in a sentence."""
    if k < FEWEST_SITES:
        return (
            f"Cannot tell: with {k} site{'s' if k > 1 else ''}, one that is wrong looks the same "
            f"as sites that differ. At least {FEWEST_SITES} are needed."
        )
    return f"{k} sites: a minority of wrong ones is limited in its effect, not recognised as such."


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianEstimate(HasTable):
    """The result of `weighted_median`.

    Parameters
    ----------
    estimate
        The weighted median: half of the weight lies on either side. If a range of values fulfils
        that, its middle.
    interval
        All values that a sign test at `level` does not reject; infinite on both sides where the
        sites are too few, or one too heavy, for any to be rejected.
    weights
        Each site's share, in the order given; they sum to 1.
    k, level
        Number of sites; coverage aimed at.

    Examples
    --------
    >>> from qis.synthesis import weighted_median
    >>> estimates, standard_errors = [0.1, 0.3, -0.2, 0.4, 0.2], [0.1, 0.2, 0.15, 0.3, 0.25]
    >>> round(weighted_median(estimates, standard_errors).estimate, 1)
    0.1

    """

    estimate: float
    interval: tuple[float, float]
    weights: tuple[float, ...]
    k: int
    level: float

    @property
    def can_tell(self) -> bool:
        """True if there are enough sites (five) for robustness to mean anything."""
        return self.k >= FEWEST_SITES

    @property
    def verdict(self) -> str:
        """`can_tell` in words."""
        return verdict_for(self.k)


@checked
def weighted_median(
    estimates: ArrayLike, standard_errors: ArrayLike, *, level: float = 0.95
) -> MedianEstimate:
    """The median of the estimates, each with the weight ``1 / standard_error``.

    Sites that hold less than half of the weight cannot move it beyond the others' estimates. It
    presumes that each site is as likely above as below the middle, and nothing on how far.

    Parameters
    ----------
    estimates, standard_errors
        Shape (k,), one of each a site; logarithms for ratio measures.
    level
        Coverage of the interval. It is exact (at least `level`) up to 12 sites, where all
        2**k patterns of signs are counted, and by the normal approximation beyond.

    Raises
    ------
    InputError
        If a number is not finite, a standard error not positive, or `level` outside (0, 1).

    Examples
    --------
    >>> from qis.synthesis import weighted_median
    >>> estimates, standard_errors = [0.1, 0.3, -0.2, 0.4, 0.2], [0.1, 0.2, 0.15, 0.3, 0.25]
    >>> round(weighted_median(estimates, standard_errors).estimate, 1)
    0.1

    """
    level = check_level(level)
    sites = check_sites(estimates, standard_errors)
    weights = 1.0 / np.sqrt(sites.variances)
    weights = weights / total(weights)
    y = sites.estimates
    below = _running_totals(weights)
    i = int(np.searchsorted(below, 0.5 - 1e-12))
    tied = abs(below[i] - 0.5) <= 1e-12 and i + 1 < sites.k
    middle = 0.5 * (float(y[i]) + float(y[i + 1])) if tied else float(y[i])
    low, high = _sign_test_limits(sites, weights, below, 1.0 - level)
    return MedianEstimate(
        estimate=middle * sites.scale,
        interval=(low * sites.scale, high * sites.scale),
        weights=sites.as_given(weights),
        k=sites.k,
        level=float(level),
    )


def _running_totals(weights: Floats) -> Floats:
    """Sums of the first weights, in [0, 1]: added as whole numbers, so that none is rounded."""
    sums = accumulate(int(weight * _UNIT) for weight in weights.tolist())
    return np.array([whole / _UNIT for whole in sums])


def _sign_test_limits(
    sites: Sites, weights: Floats, below: Floats, alpha: float
) -> tuple[float, float]:
    """Limits of the values whose weighted sum of signs is not among the most extreme."""
    if sites.k <= _EXACT_UP_TO:
        signs = 1.0 - 2.0 * ((np.arange(2**sites.k)[:, None] >> np.arange(sites.k)) & 1)
        sums = np.sort(np.abs(signs @ weights))
        # The smallest sum that still has at most alpha of the patterns at or above it.
        allowed = int(alpha * len(sums) * (1.0 + 1e-12))
        critical = float(sums[len(sums) - allowed - 1]) + 1e-12
    else:
        critical = normal_quantile(1.0 - alpha / 2.0) * math.sqrt(total(weights * weights))
    # Between y[i-1] and y[i] the sum of signs is 1 - 2 * (weight below).
    steps = np.concatenate([[0.0], below])
    accepted = np.flatnonzero(np.abs(1.0 - 2.0 * steps) <= critical)
    if not len(accepted):  # one site holds nearly all; its own estimate is the only one
        heaviest = float(sites.estimates[np.argmax(weights)])
        return heaviest, heaviest
    first, last = int(accepted[0]), int(accepted[-1])
    low = -math.inf if first == 0 else float(sites.estimates[first - 1])
    high = math.inf if last == sites.k else float(sites.estimates[last])
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteInfluence(HasTable):
    """What the synthesis is without one site, and how odd that site looks to the others.

    Parameters
    ----------
    estimate, standard_error, tau2
        Those of the synthesis without this site.
    change
        `estimate` with all sites less `estimate` without this one.
    residual
        The site's estimate less the synthesis without it, over the standard deviation that this
        difference has if the site is like the others. About standard normal.
    pval
        Two-sided p-value of `residual`, times the number of sites (Bonferroni), at most 1.

    Examples
    --------
    >>> from qis.synthesis import influence
    >>> estimates, standard_errors = [0.1, 0.3, -0.2, 0.4, 0.2], [0.1, 0.2, 0.15, 0.3, 0.25]
    >>> influence(estimates, standard_errors).sites[0].__class__.__name__
    'SiteInfluence'

    """

    estimate: float
    standard_error: float
    tau2: float
    change: float
    residual: float
    pval: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluenceTable(HasTable):
    """The result of `influence`.

    Parameters
    ----------
    sites
        One `SiteInfluence` a site, in the order given.
    method
        The estimator of tau².

    Examples
    --------
    >>> from qis.synthesis import influence
    >>> estimates, standard_errors = [0.1, 0.3, -0.2, 0.4, 0.2], [0.1, 0.2, 0.15, 0.3, 0.25]
    >>> len(influence(estimates, standard_errors).sites)
    5

    """

    sites: tuple[SiteInfluence, ...]
    method: str

    @property
    def can_tell(self) -> bool:
        """True if there are enough sites (five) for an odd one to stand out."""
        return len(self.sites) >= FEWEST_SITES

    @property
    def verdict(self) -> str:
        """`can_tell` in words."""
        return verdict_for(len(self.sites))

    def odd(self, alpha: float = 0.05) -> tuple[int, ...]:
        """Positions of the sites with ``pval < alpha``; none where `can_tell` is false."""
        alpha = real_number(alpha, "alpha", 0.0, 1.0)
        if not self.can_tell:
            return ()
        return tuple(i for i, site in enumerate(self.sites) if site.pval < alpha)


@checked
def influence(
    estimates: ArrayLike, standard_errors: ArrayLike, *, tau2: str = "REML"
) -> InfluenceTable:
    """Leave out each site in turn, and tell how far it lies from the others.

    Parameters
    ----------
    estimates, standard_errors
        Shape (k,), two sites or more.
    tau2
        The estimator of the variance between sites, such as "REML", or "FE" for none; it is
        applied anew each time.

    Raises
    ------
    InputError
        With one site, or if a number is not finite, a standard error not positive, or the
        estimator unknown.

    Examples
    --------
    >>> from qis.synthesis import influence
    >>> estimates, standard_errors = [0.1, 0.3, -0.2, 0.4, 0.2], [0.1, 0.2, 0.15, 0.3, 0.25]
    >>> len(influence(estimates, standard_errors).sites)
    5

    """
    check_choice(tau2, "tau2", TAU2_METHODS)
    sites = check_sites(estimates, standard_errors)
    if sites.k < 2:
        raise InputError(
            "influence needs two sites or more; there is 1", field="estimates", actual=1, limit=2
        )
    overall = weighted(sites, estimate_tau2(sites, tau2)[0]).mean
    found: list[SiteInfluence | None] = [None] * sites.k
    for i in range(sites.k):
        rest = Sites(
            estimates=np.delete(sites.estimates, i),
            variances=np.delete(sites.variances, i),
            scale=sites.scale,
            order=np.arange(sites.k - 1),
        )
        between = estimate_tau2(rest, tau2)[0]
        at = weighted(rest, between)
        error = math.sqrt(1.0 / at.sum1)
        spread = math.sqrt(float(sites.variances[i]) + between + error * error)
        residual = (float(sites.estimates[i]) - at.mean) / spread
        found[int(sites.order[i])] = SiteInfluence(
            estimate=at.mean * sites.scale,
            standard_error=error * sites.scale,
            tau2=between * sites.scale**2,
            change=(overall - at.mean) * sites.scale,
            residual=residual,
            pval=min(1.0, sites.k * 2.0 * NORMAL.cdf(-abs(residual))),
        )
    return InfluenceTable(sites=tuple(site for site in found if site is not None), method=tau2)
