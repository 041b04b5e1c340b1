"""Estimates and standard errors of 2×2 tables, by every formula that programs use.

One estimate has several standard errors: a difference of means with the arms' own variances
(Welch) or with a pooled one (a t test, a linear model), each variance with n or n - 1. Whoever
inverts a packet tries all of them, so each is searched by itself. The first is the library's own.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def estimates(measure: str, cells: Floats) -> tuple[Floats, tuple[Floats, ...]]:
    """Estimate of tables of shape (m, 4), and its standard error by each formula, all (m,)."""
    with np.errstate(all="ignore"):
        return _FORMULAS[measure](*cells.T)


def number_of_formulas(measure: str) -> int:
    """How many standard errors of a measure are in use."""
    return len(estimates(measure, np.ones((1, 4)))[1])


def _odds_ratio(a: Floats, b: Floats, c: Floats, d: Floats) -> tuple[Floats, tuple[Floats, ...]]:
    return np.log(a * d / (b * c)), (np.sqrt(1 / a + 1 / b + 1 / c + 1 / d),)


def _ratio(
    a: Floats, b: Floats, c: Floats, d: Floats, *, of_means: bool
) -> tuple[Floats, tuple[Floats, ...]]:
    first, second = a + b, c + d
    ratio = np.log(a / first) - np.log(c / second)
    of_counts = np.sqrt(1 / a - 1 / first + 1 / c - 1 / second)
    if not of_means:
        return ratio, (of_counts,)
    # A mean's variance is divided by n - 1, or by n as that of a proportion is.
    return ratio, (np.sqrt(b / (a * (first - 1)) + d / (c * (second - 1))), of_counts)


def _difference(
    a: Floats, b: Floats, c: Floats, d: Floats, *, of_means: bool
) -> tuple[Floats, tuple[Floats, ...]]:
    first, second = a + b, c + d
    squares = a * b / first, c * d / second
    by_n, by_less = (
        np.sqrt(squares[0] / first / (first - less) + squares[1] / second / (second - less))
        for less in (0, 1)
    )
    both = 1 / first + 1 / second
    pooled = np.sqrt(sum(squares) / (first + second - 2) * both)
    share = (a + c) / (first + second)
    under_null = np.sqrt(share * (1 - share) * both)
    errors = (by_less, by_n) if of_means else (by_n, by_less)
    return a / first - c / second, (*errors, pooled, under_null)


def _standardised(a: Floats, b: Floats, c: Floats, d: Floats) -> tuple[Floats, tuple[Floats, ...]]:
    first, second = a + b, c + d
    freedom = first + second - 2
    spread = np.sqrt((a * b / first + c * d / second) / freedom)
    g = hedges(float(freedom[0]) if len(freedom) else 2.0) * (a / first - c / second) / spread
    return g, (np.sqrt(1 / first + 1 / second + g**2 / (2 * (first + second))),)


def _correlation(
    a: Floats, b: Floats, c: Floats, d: Floats, *, is_z: bool
) -> tuple[Floats, tuple[Floats, ...]]:
    first, second = a + b, c + d
    phi = (a * d - b * c) / np.sqrt(first * second * (a + c) * (b + d))
    n = first + second
    if is_z:
        return np.arctanh(phi), (1 / np.sqrt(n - 3),)
    return phi, ((1 - phi**2) / np.sqrt(n - 1), np.sqrt((1 - phi**2) / (n - 2)))


_FORMULAS: Final[dict[str, Callable[..., tuple[Floats, tuple[Floats, ...]]]]] = {
    "OR": _odds_ratio,
    "RR": partial(_ratio, of_means=False),
    "ROM": partial(_ratio, of_means=True),
    "RD": partial(_difference, of_means=False),
    "MD": partial(_difference, of_means=True),
    "SMD": _standardised,
    "COR": partial(_correlation, is_z=False),
    "ZCOR": partial(_correlation, is_z=True),
}


def hedges(freedom: float) -> float:
    """Hedges' exact correction of a standardised mean difference."""
    return math.exp(
        math.lgamma(freedom / 2) - 0.5 * math.log(freedom / 2) - math.lgamma((freedom - 1) / 2)
    )
