"""Log-likelihood, score and information of regression models at given coefficients."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._columns import matrix, vector
from qis.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Terms(NamedTuple):
    """What a site's rows say of a model at one point."""

    score: Floats
    """First derivative of the log-likelihood, shape (p,)."""
    information: Floats
    """Minus the second derivative, shape (p, p)."""
    log_likelihood: float
    intercept: float = 0.0
    """The site's own intercept, if it was fitted."""


Model = Callable[[Floats, Floats, Floats], Terms]
"""Computes the terms from features (n, p), responses (n,) and coefficients (p,)."""

_FARTHEST: Final = 500.0
"""Intercepts are searched from where all linear predictors are under minus this to over this."""
_ROUNDING: Final = 1e-12
"""What is smaller than this, relative to its terms, is a rounding error."""


def logistic(features: Floats, labels: Floats, at: Floats) -> Terms:
    """Terms of a logistic regression; `labels` are 0 or 1, shape (n,)."""
    eta = features @ at
    small = np.exp(-np.abs(eta))
    fitted = np.where(eta > 0.0, 1.0, small) / (1.0 + small)
    value = -np.logaddexp(0.0, np.where(labels > 0.0, -eta, eta)).sum()
    return _weighted(features, labels - fitted, small / (1.0 + small) ** 2, value)


def poisson(features: Floats, events: Floats, exposure: Floats, at: Floats) -> Terms:
    """Terms of a Poisson regression of event counts, with log rates per unit of `exposure`.

    The log-likelihood is without what depends on the events alone (`poisson_constant`).
    """
    eta = features @ at
    fitted = exposure * np.exp(eta)
    return _weighted(features, events - fitted, fitted, float(events @ eta) - fitted.sum())


def poisson_constant(events: Floats, exposure: Floats) -> float:
    """The part of a Poisson log-likelihood that does not depend on the coefficients."""
    factorials = sum(math.lgamma(count + 1.0) for count in events.tolist())
    return float(events @ np.log(exposure)) - factorials


def linear(features: Floats, responses: Floats, variance: float, at: Floats) -> Terms:
    """Terms of a linear regression of known residual variance; exact wherever they are taken."""
    residuals = (responses - features @ at) / variance
    constant = len(responses) * math.log(2.0 * math.pi * variance)
    value = -0.5 * (variance * float(residuals @ residuals) + constant)
    return _weighted(features, residuals, np.full(len(responses), 1.0 / variance), value)


def cox(
    features: Floats,
    times: Floats,
    events: Bools,
    at: Floats,
    *,
    strata: list[Bools],
    ties: Literal["efron", "breslow"],
) -> Terms:
    """Terms of Cox's partial likelihood, summed over strata given as masks of shape (n,)."""
    size = features.shape[1]
    score, information, value = np.zeros(size), np.zeros((size, size)), 0.0
    for chosen in strata:
        parts = _cox_terms(
            features[chosen], times[chosen], events[chosen], at, efron=ties == "efron"
        )
        score += parts.score
        information += parts.information
        value += parts.log_likelihood
    return Terms(score, information, value)


def _cox_terms(x: Floats, times: Floats, events: Bools, at: Floats, *, efron: bool) -> Terms:
    """Terms of one stratum. Efron (1977) takes a growing share of the tied out of the risk set."""
    eta = x @ at
    eta = eta - eta.max() if eta.size else eta  # a common factor of the risks cancels
    risk = np.exp(eta)
    value = float(eta[events].sum())
    score = np.zeros(x.shape[1])
    information = np.zeros((x.shape[1], x.shape[1]))
    for time in np.unique(times[events]):
        at_risk, dying = times >= time, events & (times == time)
        sums = _moments(x[at_risk], risk[at_risk])
        tied = _moments(x[dying], risk[dying])
        deaths = int(dying.sum())
        score += x[dying].sum(axis=0)
        for nth in range(deaths):
            share = nth / deaths if efron else 0.0
            total, first, second = (a - share * b for a, b in zip(sums, tied, strict=True))
            mean = first / total
            score -= mean
            information += second / total - np.outer(mean, mean)
            value -= math.log(total)
    return Terms(score, information, value)


def _moments(x: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    weighted = weights[:, np.newaxis] * x
    return weights.sum(), weighted.sum(axis=0), weighted.T @ x


def _weighted(features: Floats, residuals: Floats, weights: Floats, value: float) -> Terms:
    information: Floats = features.T @ (weights[:, np.newaxis] * features)
    return Terms(features.T @ residuals, information, float(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Checked data of one site, and the coefficients at which derivatives are taken.

    Parameters
    ----------
    x
        Features, shape (n, p).
    y
        Responses: labels, event counts, values or times, shape (n,).
    at
        Coefficients, shape (p,).

    """

    x: Floats
    y: Floats
    at: Floats

    @classmethod
    def of(cls, features: ArrayLike, y: ArrayLike, field: str, at: tuple[float, ...]) -> Self:
        """Check shapes and numbers.

        Raises
        ------
        InputError
            If something is not finite, there is nobody, or lengths or widths differ.

        """
        x = _numbers(features, "features", 2)
        if x.shape[1] != len(at):
            raise InputError(
                f"features have {x.shape[1]} columns, the anchor has {len(at)} coefficients",
                field="features",
                actual=x.shape,
                limit=len(at),
            )
        design = cls(x=x, y=np.zeros(len(x)), at=np.array(at))
        return cls(x=x, y=design.column(y, field), at=design.at)

    def centred(self) -> Self:
        """Centre features and responses at their means, which fits the site's own intercept.

        Exact for linear models only.
        """
        x, y = self.x - self.x.mean(axis=0), self.y - self.y.mean()
        # A feature that is alike for all people here differs from its mean by rounding only.
        x[:, np.abs(x).max(axis=0) <= _ROUNDING * np.abs(self.x).max(axis=0)] = 0.0
        return type(self)(x=x, y=y, at=self.at)

    @property
    def n(self) -> int:
        """Number of people."""
        return len(self.x)

    def column(self, values: ArrayLike, field: str) -> Floats:
        """Check an array of one number a person, and return it as float64 of shape (n,)."""
        column = _numbers(values, field, 1)
        if len(column) != self.n:
            raise InputError(
                f"{field} has {len(column)} entries for {self.n} people",
                field=field,
                actual=len(column),
                limit=self.n,
            )
        return column

    def terms(self, model: Model, *, own_intercept: bool = False) -> Terms:
        """Score and information at `at`, with the site's own intercept profiled out if asked for.

        Raises
        ------
        InputError
            If they are not finite: the anchor is too far from what the data say.

        """
        with np.errstate(over="ignore", invalid="ignore"):
            if own_intercept:
                wide = np.column_stack((np.ones(self.n), self.x))
                rest = self.x @ self.at
                bounds = -float(rest.max()) - _FARTHEST, -float(rest.min()) + _FARTHEST
                found = without_intercept(lambda b: model(wide, self.y, b), self.at, bounds)
            else:
                found = model(self.x, self.y, self.at)
        if not all(np.isfinite(part).all() for part in found):
            raise InputError(
                "score or information is not finite at this anchor; take one nearer to the data",
                field="anchor",
            )
        return found


def _numbers(values: ArrayLike, field: str, dimensions: int) -> Floats:
    array = (vector if dimensions == 1 else matrix)(values, field, booleans=True)
    if not array.size:
        raise InputError(
            f"{field} has shape {array.shape}; it must not be empty",
            field=field,
            actual=array.shape,
        )
    return array


def without_intercept(
    terms: Callable[[Floats], Terms], at: Floats, bounds: tuple[float, float]
) -> Terms:
    """Terms of all coefficients but the first, which is the site's own intercept.

    The intercept is set to where its score is zero, and its information is taken out (the Schur
    complement), so that differences between sites do not enter the coefficients. A site where no
    intercept fits (all labels alike) has nothing to say: both are zero.

    Parameters
    ----------
    terms
        Gives score and information of all coefficients, of which the intercept is the first.
    at
        Coefficients without the intercept, shape (p,).
    bounds
        Interval in which the intercept is searched, by bisection.

    """
    size = at.size

    def score_at(intercept: float) -> float:
        return float(terms(np.concatenate(([intercept], at)))[0][0])

    low, high = bounds
    if not score_at(low) > 0.0 > score_at(high):
        return Terms(np.zeros(size), np.zeros((size, size)), 0.0)
    for _ in range(100):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if score_at(middle) > 0.0 else (low, middle)
    intercept = 0.5 * (low + high)
    score, information, value, _ = terms(np.concatenate(([intercept], at)))
    own = information[0, 0]
    if own <= 0.0:
        return Terms(np.zeros(size), np.zeros((size, size)), value, intercept)
    cross = information[1:, 0]
    rest = information[1:, 1:] - np.outer(cross, cross) / own
    # A feature that is alike for all people here differs from the intercept by rounding only.
    silent = rest.diagonal() <= _ROUNDING * information[1:, 1:].diagonal()
    rest[silent], rest[:, silent] = 0.0, 0.0
    first = score[1:] - cross * (score[0] / own)
    first[silent] = 0.0
    return Terms(first, rest, value, intercept)


def intercept_of(rest: Floats, labels: Floats) -> float:
    """The intercept at which a logistic model expects as many events as there are, by bisection.

    `rest` are the linear predictors without it, shape (n,); labels all alike give 0.
    """
    events = float(labels.sum())
    if not 0.0 < events < len(labels):
        return 0.0
    low, high = -float(rest.max()) - _FARTHEST, -float(rest.min()) + _FARTHEST
    for _ in range(100):
        middle = 0.5 * (low + high)
        expected = 0.5 * (1.0 + np.tanh(0.5 * (rest + middle))).sum()
        low, high = (low, middle) if expected > events else (middle, high)
    return 0.5 * (low + high)
