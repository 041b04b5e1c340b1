"""The variance between sites: nine estimators, their standard errors, and the Q-profile interval.

On one set of data the estimators differ many times over, so the one that was used is part of
every result. All are the method-of-moments or likelihood estimators for the model
``y_i ~ N(mu, v_i + tau2)`` with known ``v_i``, truncated at zero.

Sources: DerSimonian & Laird 1986 (DL); Hedges & Olkin 1985 (HE); Hunter & Schmidt 2004 (HS);
Sidik & Jonkman 2005 (SJ); Paule & Mandel 1982 (PM); Morris 1983 (EB); Viechtbauer 2005 (ML, REML
and their standard errors); Viechtbauer 2007 (Q-profile).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from qis.synthesis._quantiles import chi2_quantile
from qis.synthesis._sites import Floats, Sites, total

TAU2_METHODS: Final = ("FE", "DL", "REML", "PM", "ML", "EB", "HE", "HS", "SJ")

_STEPS: Final = 200
_CONVERGED: Final = 1e-14
_GRID_START: Final = 1e-9
_GRID_PER_DECADE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """Inverse-variance weights at one tau2, and the sums that every formula is made of.

    Parameters
    ----------
    weights
        ``1 / (v + tau2)``, shape (k,).
    sum1
        Sum of the weights.
    mean
        Weighted mean of the estimates.
    residuals
        Estimates less `mean`.
    add
        How sums are made: correctly rounded, or plainly inside a search.

    """

    weights: Floats
    sum1: float
    mean: float
    residuals: Floats
    add: Callable[[Floats], float]

    @property
    def q(self) -> float:
        """``sum(weights * residuals**2)``."""
        return self.add(self.weights * self.residuals * self.residuals)

    @property
    def trace(self) -> float:
        """Trace of ``P = W - W 1 (1' W 1)^-1 1' W``."""
        return self.add(self.weights * (_sums_of_others(self.weights, self.add) / self.sum1))

    @property
    def trace_square(self) -> float:
        """Trace of ``P P``."""
        squares = self.weights * self.weights
        diagonal = (self.weights * (_sums_of_others(self.weights, self.add) / self.sum1)) ** 2
        off_diagonal = squares * (_sums_of_others(squares, self.add) / self.sum1**2)
        return self.add(diagonal) + self.add(off_diagonal)


def _sums_of_others(values: Floats, add: Callable[[Floats], float]) -> Floats:
    """For each of the positive values the sum of the others, also where one outweighs all."""
    rest = add(values) - values
    largest = int(np.argmax(values))
    rest[largest] = add(np.delete(values, largest))
    return rest


def weighted(sites: Sites, tau2: float, *, add: Callable[[Floats], float] = total) -> Weighted:
    """The sums at `tau2`, which is in units of ``sites.scale ** 2``."""
    weights = 1.0 / (sites.variances + tau2)
    sum1 = add(weights)
    # The mean as an offset from the heaviest site: exact where there is one site only.
    origin = float(sites.estimates[np.argmax(weights)])
    offsets = sites.estimates - origin
    shift = add(weights * offsets) / sum1
    return Weighted(
        weights=weights,
        sum1=sum1,
        mean=origin + shift,
        residuals=offsets - shift,
        add=add,
    )


def _plain(values: Floats) -> float:
    """A sum whose last bits depend on the order: of sorted sites, so on nothing."""
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
    return tau2, _STANDARD_ERRORS[method](sites, tau2)


def typical_variance(null: Weighted) -> float:
    """The within-site variance that I² compares tau2 to: ``(k - 1) / trace(P)`` at tau2 = 0."""
    return (len(null.weights) - 1) / null.trace


def q_profile(sites: Sites, level: float) -> tuple[float, float]:
    """Limits of tau2 where Q equals its chi-squared quantiles; (0, 0) where none does.

    In units of ``sites.scale ** 2``. Needs scipy and two sites.
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


def _sidik_jonkman_start(sites: Sites) -> float:
    deviations = sites.estimates - total(sites.estimates) / sites.k
    return total(deviations**2) / sites.k


def _sidik_jonkman(sites: Sites) -> float:
    start = _sidik_jonkman_start(sites)
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
    low, high = 0.0, total(deviations**2) / target
    tau2 = 0.0
    for _ in range(_STEPS):
        at = weighted(sites, tau2, add=_plain)
        q = at.q
        if q > target:
            low = tau2
        else:
            high = tau2
        slope = _plain((at.weights * at.residuals) ** 2)
        step = (q / target - 1.0) * q / slope if slope > 0.0 else 0.0
        previous, tau2 = tau2, tau2 + step
        if not low < tau2 < high:
            tau2 = 0.5 * (low + high)
        if abs(tau2 - previous) <= _CONVERGED * tau2:
            break
    return tau2


def _maximum_likelihood(sites: Sites) -> float:
    return _maximise(sites, restricted=False)


def _restricted_maximum_likelihood(sites: Sites) -> float:
    return _maximise(sites, restricted=True)


def _maximise(sites: Sites, *, restricted: bool) -> float:
    """The global maximum over tau2 ≥ 0: a grid finds its neighbourhood, scoring the place.

    Fisher scoring alone can stop at the lesser of two maxima, and overshoots near zero.
    """
    spread = float(sites.estimates[-1] - sites.estimates[0]) ** 2
    ceiling = 2.0 * spread + 2.0 * float(sites.variances.max())
    points = math.ceil(_GRID_PER_DECADE * math.log10(ceiling / _GRID_START))
    grid = np.concatenate([[0.0], np.geomspace(_GRID_START, ceiling, points)])
    best = int(np.argmax([_log_likelihood(sites, t, restricted=restricted) for t in grid]))
    low = float(grid[max(best - 1, 0)])
    high = float(grid[min(best + 1, points)])
    tau2 = float(grid[best])
    for _ in range(_STEPS):
        score, step = _scoring_step(sites, tau2, restricted=restricted)
        if score > 0.0:
            low = tau2
        elif tau2 <= 0.0:
            return 0.0
        else:
            high = tau2
        previous, tau2 = tau2, tau2 + step
        if not low < tau2 < high:
            tau2 = 0.5 * (low + high)
        if abs(tau2 - previous) <= _CONVERGED * tau2 or tau2 < 1e-15:
            break
    return tau2 if tau2 >= 1e-15 else 0.0


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


def _moment_error(sites: Sites, tau2: float) -> float:
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
    # P V P V summed, for P = I - 11'/k.
    squares = total(v * v) * (1.0 - 2.0 / k) + (total(v) / k) ** 2
    spread = 2.0 * squares + 4.0 * tau2 * trace + 2.0 * tau2**2 * (k - 1)
    return math.sqrt(spread) / (k - 1)


def _sidik_jonkman_error(sites: Sites, tau2: float) -> float:
    start = _sidik_jonkman_start(sites)
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
_STANDARD_ERRORS: Final[dict[str, Callable[[Sites, float], float]]] = {
    "DL": _moment_error,
    "REML": _restricted_error,
    "PM": _empirical_bayes_error,
    "ML": _likelihood_error,
    "EB": _empirical_bayes_error,
    "HE": _hedges_error,
    "HS": _hunter_schmidt_error,
    "SJ": _sidik_jonkman_error,
}
