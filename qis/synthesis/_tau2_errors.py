"""Standard errors of the estimators of tau2.

Those of the moment estimators follow from the variance of their quadratic forms, those of the
likelihood estimators from the expected information (Viechtbauer 2005). With V the diagonal matrix
of the sites' variances, ``Var(y' P y) = 2 tr(P V P V) + 4 tau2 tr(P V P) + 2 tau2² tr(P P)``.

All take and give tau2 in units of ``sites.scale ** 2``.
"""

import math
from collections.abc import Callable
from typing import Final

from qis.synthesis._sites import Sites, total
from qis.synthesis._weights import weighted


def sidik_jonkman_start(sites: Sites) -> float:
    """The unweighted variance of the estimates, from which Sidik and Jonkman start."""
    deviations = sites.estimates - total(sites.estimates) / sites.k
    return total(deviations**2) / sites.k


def _moment_error(sites: Sites, tau2: float) -> float:
    # At tau2 = 0 the weights are 1 / V, so P V P = P and tr(P V P V) = k - 1.
    at = weighted(sites, 0.0)
    trace = at.trace
    spread = 2.0 * (sites.k - 1) + 4.0 * tau2 * trace + 2.0 * tau2**2 * at.trace_square
    return math.sqrt(spread) / trace


def _hunter_schmidt_error(sites: Sites, tau2: float) -> float:
    at = weighted(sites, 0.0)
    spread = 2.0 * (sites.k - 1) + 4.0 * tau2 * at.trace + 2.0 * tau2**2 * at.trace_square
    return math.sqrt(spread) / at.sum1


def _hedges_error(sites: Sites, tau2: float) -> float:
    k, v = sites.k, sites.variances
    trace = total(v) * (k - 1) / k
    # tr(P V P V) for P = I - 11'/k.
    pvpv = total(v * v) * (1.0 - 2.0 / k) + (total(v) / k) ** 2
    spread = 2.0 * pvpv + 4.0 * tau2 * trace + 2.0 * tau2**2 * (k - 1)
    return math.sqrt(spread) / (k - 1)


def _sidik_jonkman_error(sites: Sites, tau2: float) -> float:
    start = sidik_jonkman_start(sites)
    if start == 0.0:
        return 0.0
    at = weighted(sites, start)
    w, v = at.weights, sites.variances
    cross = total(w * w * v) / at.sum1
    pvpv = total((w * v) ** 2) - 2.0 * total((w * v) ** 2 * w) / at.sum1 + cross**2
    pvp = total(w * w * v) - 2.0 * total(w**3 * v) / at.sum1 + cross * total(w * w) / at.sum1
    spread = 2.0 * pvpv + 4.0 * tau2 * pvp + 2.0 * tau2**2 * at.trace_square
    return start * math.sqrt(max(0.0, spread)) / (sites.k - 1)


def _empirical_bayes_error(sites: Sites, tau2: float) -> float:
    return sites.k * math.sqrt(2.0 / (sites.k - 1)) / weighted(sites, tau2).sum1


def _likelihood_error(sites: Sites, tau2: float) -> float:
    return math.sqrt(2.0 / total(weighted(sites, tau2).weights ** 2))


def _restricted_error(sites: Sites, tau2: float) -> float:
    return math.sqrt(2.0 / weighted(sites, tau2).trace_square)


STANDARD_ERRORS: Final[dict[str, Callable[[Sites, float], float]]] = {
    "DL": _moment_error,
    "REML": _restricted_error,
    "PM": _empirical_bayes_error,
    "ML": _likelihood_error,
    "EB": _empirical_bayes_error,
    "HE": _hedges_error,
    "HS": _hunter_schmidt_error,
    "SJ": _sidik_jonkman_error,
}
