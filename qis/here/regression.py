"""Meta-regression over whole likelihoods: how an effect changes with what the study declares.

Fixed: the coefficients at which the summed log-likelihood is largest. Random: each site's effect
varies about its predicted one with a standard deviation tau, and is integrated out; tau is where
the restricted likelihood ("REML") or the likelihood ("ML") is largest. With normal likelihoods they
are metafor's `rma(mods=)`; with counts the model is that of `rma.glmm` with the conditional
likelihood, and sites without events need no correction.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from qis.errors import NoEstimateError
from qis.here.tables import SiteLikelihoods
from qis.here.tilted import product
from qis.synthesis.currency import Likelihood

Floats = NDArray[np.float64]
Method = Literal["REML", "ML"]

_ROUNDS: Final = 60
_CLOSE: Final = 1e-9
_FARTHEST: Final = 40.0
"""A linear predictor this large is none: the coefficients run away."""
_TAUS: Final = 25
_NARROW: Final = 1e-6
_NEGLIGIBLE: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Coefficients under one value of tau.

    Parameters
    ----------
    coefficients, covariance
        Shapes (p,) and (p, p).
    log_likelihood
        Summed over sites, up to a constant of the data.
    tau
        Standard deviation of what is left between sites; 0: fixed.

    """

    coefficients: Floats
    covariance: Floats
    log_likelihood: float
    tau: float

    @property
    def restricted(self) -> float:
        """The logarithm of the restricted likelihood: the coefficients are integrated out."""
        return self.log_likelihood + 0.5 * float(np.linalg.slogdet(self.covariance)[1])


@dataclass(frozen=True, slots=True)
class Regressed:
    """Informative log-likelihoods, exact and tabulated."""

    exact: tuple[Likelihood, ...]
    tables: SiteLikelihoods
    tops: Floats
    """What the exact ones are more than the tabulated ones, shape (k,)."""

    @classmethod
    def of(cls, sites: Sequence[Likelihood]) -> Self:
        """Tabulate them once."""
        tables = SiteLikelihoods.of(sites)
        read = tables.value(np.arange(len(sites)), tables.middles[:, np.newaxis])[:, 0]
        exact = [
            float(site.value(np.array([middle]))[0])
            for site, middle in zip(sites, tables.middles.tolist(), strict=True)
        ]
        return cls(tuple(sites), tables, np.array(exact) - read)


def fitted_at(sites: Regressed, design: Floats, tau: float) -> Fit:
    """The coefficients at which the likelihood is largest, given tau.

    Parameters
    ----------
    sites
        k of them.
    design
        Shape (k, p), of full rank.
    tau
        Not negative.

    Raises
    ------
    NoEstimateError
        If no finite coefficients are the most likely ones.

    """
    tables = sites.tables
    farthest = _FARTHEST * max(1.0, float(np.sqrt(tables.variances.max())))
    weights = 1.0 / (tables.variances + tau * tau)
    start = np.linalg.lstsq(
        design * np.sqrt(weights)[:, np.newaxis], tables.middles * np.sqrt(weights), rcond=None
    )
    beta: Floats = np.asarray(start[0], dtype=np.float64)
    value, slopes, bends = _marginals(sites, design @ beta, tau)
    for _ in range(_ROUNDS):
        information = design.T @ (bends[:, np.newaxis] * design)
        gradient = design.T @ slopes
        if not _is_positive(information):
            break
        step = np.linalg.solve(information, gradient)
        for _ in range(40):  # halved until it goes up
            tried = beta + step
            if np.abs(design @ tried).max() > farthest:
                step *= 0.5
                continue
            found = _marginals(sites, design @ tried, tau)
            if found[0] >= value - 1e-12:
                break
            step *= 0.5
        moved = float(np.abs(design @ step).max())
        beta = beta + step
        value, slopes, bends = _marginals(sites, design @ beta, tau)
        if moved < _CLOSE * max(1.0, float(np.abs(beta).max())):
            information = design.T @ (bends[:, np.newaxis] * design)
            if _is_positive(information):
                return Fit(
                    coefficients=beta,
                    covariance=np.asarray(np.linalg.inv(information), dtype=np.float64),
                    log_likelihood=value,
                    tau=tau,
                )
            break
    raise NoEstimateError(
        "no finite coefficients are the most likely ones: sites of one group all favour ever "
        "larger or ever smaller values, or the moderators depend on each other",
        field="moderators",
    )


def fitted(sites: Regressed, design: Floats, *, scale: float, method: Method) -> Fit:
    """The same at the tau at which the likelihood, restricted or not, is largest.

    Parameters
    ----------
    sites, design
        The log-likelihoods of k sites, and the columns, shape (k, p), of full rank.
    scale
        How large tau may plausibly be; looked for up to 20 times that.
    method
        Which of the two.

    """

    def height(fit: Fit) -> float:
        return fit.restricted if method == "REML" else fit.log_likelihood

    # Squares of equal steps: close together near 0, where the largest often is.
    taus = 20.0 * scale * np.linspace(0.0, 1.0, _TAUS) ** 2
    fits = [fitted_at(sites, design, float(tau)) for tau in taus]
    best = int(np.argmax([height(fit) for fit in fits]))
    low, high = float(taus[max(best - 1, 0)]), float(taus[min(best + 1, _TAUS - 1)])
    golden = (math.sqrt(5.0) - 1.0) / 2.0
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = fitted_at(sites, design, left), fitted_at(sites, design, right)
    while high - low > _NARROW * scale:
        if height(at_left) >= height(at_right):
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = fitted_at(sites, design, left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = fitted_at(sites, design, right)
    return max((fits[best], at_left, at_right), key=height)


def _marginals(sites: Regressed, eta: Floats, tau: float) -> tuple[float, Floats, Floats]:
    """Summed log-likelihood of the predicted effects, slopes and curvatures (positive down)."""
    tables, wide = sites.tables, tau * tau
    total = tables.variances + wide
    apart = tables.middles - eta
    values = -0.5 * (apart * apart / total + np.log(total / tables.variances))
    slopes, bends = apart / total, 1.0 / total
    others = ~tables.is_normal
    # Where tau is nothing beside a site's error, the integral differs from the likelihood in its
    # second order, and the moments below would cancel.
    small = others & (tau < _NEGLIGIBLE * np.sqrt(tables.variances))
    for number in np.flatnonzero(small).tolist():
        value, slope, bend = sites.exact[number].evaluate(eta[number : number + 1])
        values[number] = value[0] + 0.5 * wide * (bend[0] + slope[0] ** 2)
        slopes[number], bends[number] = slope[0], -bend[0]
    large = np.flatnonzero(others & ~small)
    if large.size:
        # Given tau a site's effect is normal about the predicted one: both derivatives follow from
        # the moments of likelihood times that (Robbins 1956).
        spreads = np.full((1, eta.size), wide)
        found = product(tables, eta[np.newaxis], spreads, None)
        log_mass, mean, variance = (part[0, large] for part in found[:3])
        # Tables are less their largest value, the exact ones less another constant.
        values[large] = log_mass + sites.tops[large]
        slopes[large] = (mean - eta[large]) / wide
        bends[large] = (1.0 - variance / wide) / wide
    return float(values.sum()), slopes, bends


def _is_positive(information: Floats) -> bool:
    return bool(np.isfinite(information).all()) and float(np.linalg.eigvalsh(information)[0]) > 0.0
