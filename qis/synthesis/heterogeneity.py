"""The variance between sites: nine estimators and the Q-profile interval.

On one set of data the estimators differ many times over, so the one that was used is part of
every result. All are the method-of-moments or likelihood estimators for the model
``y_i ~ N(mu, v_i + tau2)`` with known ``v_i``, truncated at zero.

Sources: DerSimonian & Laird 1986 (DL); Hedges & Olkin 1985 (HE); Hunter & Schmidt 2004 (HS);
Sidik & Jonkman 2005 (SJ); Paule & Mandel 1982 (PM); Morris 1983 (EB); Viechtbauer 2005 (ML, REML
and their standard errors); Viechtbauer 2007 (Q-profile).
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from qis.synthesis._quantiles import chi2_quantile
from qis.synthesis._roots import passing_zero
from qis.synthesis._sites import Floats, Sites, total
from qis.synthesis._tau2_errors import STANDARD_ERRORS, sidik_jonkman_start
from qis.synthesis._weights import Weighted, weighted

TAU2_METHODS: Final = ("FE", "DL", "REML", "PM", "ML", "EB", "HE", "HS", "SJ")

_ZERO: Final = 1e-15
"""A tau2 below this, in units of `Sites.scale ** 2`, is given as 0."""
_GRID_START: Final = 1e-9
_GRID_PER_DECADE: Final = 4


def _plain(values: Floats) -> float:
    """A plain sum, faster than `total`. It depends on the order, but the sites are sorted."""
    return float(values.sum())


def estimate_tau2(sites: Sites, method: str) -> tuple[float, float]:
    """tau2 and its standard error, in units of ``sites.scale ** 2``.

    Parameters
    ----------
    sites
        At least one. With one, tau2 is not identified and is given as 0 with standard error 0.
    method
        One of `TAU2_METHODS`; "FE" sets tau2 to 0.

    """
    if method == "FE" or sites.k == 1:
        return 0.0, 0.0
    tau2 = max(0.0, _ESTIMATORS[method](sites))
    return tau2, STANDARD_ERRORS[method](sites, tau2)


def typical_variance(null: Weighted) -> float:
    """The within-site variance that I² compares tau2 to: ``(k - 1) / trace(P)`` at tau2 = 0."""
    return (len(null.weights) - 1) / null.trace


def q_profile(sites: Sites, level: float) -> tuple[float, float]:
    """Limits of tau2 where Q equals its chi-squared quantiles; (0, 0) where none does.

    In units of ``sites.scale ** 2``. Needs two sites.
    """
    df = sites.k - 1
    alpha = 1.0 - level
    return (
        _solve_q(sites, chi2_quantile(1.0 - alpha / 2.0, df)),
        _solve_q(sites, chi2_quantile(alpha / 2.0, df)),
    )


def restricted_log_likelihood(sites: Sites, tau2: float) -> float:
    """The restricted log-likelihood at its maximum over the mean, in the scaled units."""
    at = weighted(sites, tau2)
    return 0.5 * (
        math.log(sites.k)
        - (sites.k - 1) * math.log(2.0 * math.pi)
        + total(np.log(at.weights))
        - math.log(at.sum1)
        - at.q
    )


def _dersimonian_laird(sites: Sites) -> float:
    at = weighted(sites, 0.0)
    return (at.q - (sites.k - 1)) / at.trace


def _hedges(sites: Sites) -> float:
    deviations = sites.estimates - total(sites.estimates) / sites.k
    return total(deviations**2) / (sites.k - 1) - total(sites.variances) / sites.k


def _hunter_schmidt(sites: Sites) -> float:
    at = weighted(sites, 0.0)
    return (at.q - sites.k) / at.sum1


def _sidik_jonkman(sites: Sites) -> float:
    start = sidik_jonkman_start(sites)
    if start == 0.0:
        return 0.0
    return start * weighted(sites, start).q / (sites.k - 1)


def _paule_mandel(sites: Sites) -> float:
    return _solve_q(sites, float(sites.k - 1))


def _solve_q(sites: Sites, target: float) -> float:
    """The tau2 at which Q equals `target`, 0 if Q is below it everywhere.

    Q falls with tau2. Newton steps on 1/Q, which is nearly a straight line, inside a bracket.
    """
    at = weighted(sites, 0.0)
    if at.q <= target:
        return 0.0
    deviations = sites.estimates - total(sites.estimates) / sites.k
    # Q is the least sum of weighted squares, and no weight exceeds 1 / tau2: so at `high` it is at
    # most the target.
    low, high = 0.0, total(deviations**2) / target

    def excess(tau2: float) -> tuple[float, float]:
        at = weighted(sites, tau2, add=_plain)
        q = at.q
        slope = _plain((at.weights * at.residuals) ** 2)
        return q - target, (q / target - 1.0) * q / slope if slope > 0.0 else 0.0

    return passing_zero(excess, 0.0, low, high, floor=_ZERO)


def _maximum_likelihood(sites: Sites) -> float:
    return _maximise(sites, restricted=False)


def _restricted_maximum_likelihood(sites: Sites) -> float:
    return _maximise(sites, restricted=True)


def _maximise(sites: Sites, *, restricted: bool) -> float:
    """The global maximum over tau2 ≥ 0: a grid finds all peaks, scoring refines each.

    Fisher scoring alone can stop at the lesser of two maxima, and overshoots near zero.
    """
    spread = float(sites.estimates[-1] - sites.estimates[0]) ** 2
    # From here on the score is negative, so there is no maximum beyond.
    ceiling = 2.0 * spread + 2.0 * float(sites.variances.max())
    points = math.ceil(_GRID_PER_DECADE * math.log10(ceiling / _GRID_START))
    grid = np.concatenate([[0.0], np.geomspace(_GRID_START, ceiling, points)])

    def height(tau2: float) -> float:
        return _log_likelihood(sites, tau2, restricted=restricted)

    def step_at(tau2: float) -> tuple[float, float]:
        return _scoring_step(sites, tau2, restricted=restricted)

    # The ends of the grid may be peaks too, hence the infinities around it.
    heights = np.array([-math.inf, *map(height, grid), -math.inf])
    peaks = np.flatnonzero((heights[1:-1] >= heights[:-2]) & (heights[1:-1] >= heights[2:]))
    candidates = [0.0]
    for peak in peaks.tolist():
        low, high = float(grid[max(peak - 1, 0)]), float(grid[min(peak + 1, points)])
        # Where the score at zero is negative the peak there is zero itself, already a candidate.
        if peak or step_at(0.0)[0] > 0.0:
            candidates.append(passing_zero(step_at, float(grid[peak]), low, high, floor=_ZERO))
    found = max(candidates, key=height)
    return found if found >= _ZERO else 0.0


def _log_likelihood(sites: Sites, tau2: float, *, restricted: bool) -> float:
    """Twice the (restricted) log-likelihood, less a constant; plain sums do for the search."""
    weights = 1.0 / (sites.variances + tau2)
    sum1 = float(weights.sum())
    residuals = sites.estimates - float(weights @ sites.estimates) / sum1
    value = float(np.log(weights).sum()) - float(weights @ (residuals * residuals))
    return value - math.log(sum1) if restricted else value


def _scoring_step(sites: Sites, tau2: float, *, restricted: bool) -> tuple[float, float]:
    """The score and the Fisher scoring step it asks for (each without its factor of one half)."""
    at = weighted(sites, tau2, add=_plain)
    fit = _plain((at.weights * at.residuals) ** 2)
    if restricted:
        score, information = fit - at.trace, at.trace_square
    else:
        score, information = fit - at.sum1, _plain(at.weights**2)
    return score, score / information if information > 0.0 else 0.0


_ESTIMATORS: Final[dict[str, Callable[[Sites], float]]] = {
    "DL": _dersimonian_laird,
    "REML": _restricted_maximum_likelihood,
    "PM": _paule_mandel,
    "ML": _maximum_likelihood,
    "EB": _paule_mandel,  # Morris's estimating equation is the same as Paule and Mandel's
    "HE": _hedges,
    "HS": _hunter_schmidt,
    "SJ": _sidik_jonkman,
}
