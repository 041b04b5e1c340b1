"""A ridge whose strength the data choose, by the marginal likelihood of the summed expansions."""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._columns import matrix, vector
from qis._gate import checked
from qis._given import whole_number
from qis.errors import InputError
from qis.picture.html import with_table

Floats = NDArray[np.float64]

_WEAKEST: Final = 1e-8
"""Of the largest eigenvalue of the information: a ridge that changes nothing."""
_STRONGEST: Final = 1e4
"""Of the largest eigenvalue: a ridge that leaves nothing of the coefficients."""
_GRID: Final = 241
_FEWEST_INFORMED: Final = 1e-12
"""Of the largest eigenvalue: below this nothing is said in that direction."""


@with_table
class Ridge(NamedTuple):
    """Penalised coefficients, and the penalty that the data chose."""

    precision: float
    """Precision of the normal prior about zero that all coefficients share."""
    coefficients: Floats
    """Where the penalised log-likelihood is largest, shape (p,)."""
    covariance: Floats
    """Of the posterior, shape (p, p)."""


@checked
def ridge_of(information: ArrayLike, natural: ArrayLike, *, intercept: int | None = None) -> Ridge:
    """Penalised coefficients by natural parameters of features on one scale (standardised).

    The coefficients have a common normal prior about zero, whose precision is where the marginal
    likelihood of all sites' data (to second order: MacKay 1992) is largest. It needs no data set
    aside, and takes fewer people than coefficients.

    Parameters
    ----------
    information
        Sum of all sites' information matrices H, shape (p, p).
    natural
        Sum of all sites' natural parameters h = s + H a, shape (p,).
    intercept
        Index of the coefficient that is not shrunk, if one is not.

    Raises
    ------
    InputError
        If shapes do not fit, there is no such coefficient, or there is no information at all.

    Examples
    --------
    >>> from qis.models import ridge_of
    >>> fit = ridge_of([[40.0, 0.0], [0.0, 40.0]], [20.0, 0.1])
    >>> bool(0.0 < fit.coefficients[0] < 0.5), fit.covariance.shape
    (True, (2, 2))

    """
    total, pull = matrix(information, "information"), vector(natural, "natural")
    size = pull.size
    if total.shape != (size, size):
        raise InputError(
            f"information has shape {total.shape} and natural {pull.shape}", field="information"
        )
    total = 0.5 * (total + total.T)
    if intercept is not None:
        return _beside(whole_number(intercept, "intercept", 0, size - 1), total, pull)
    return _shrunken(total, pull)


def _beside(at: int, total: Floats, pull: Floats) -> Ridge:
    """The others are shrunk after a flat prior on the coefficient at `at` is integrated out."""
    own = float(total[at, at])
    if not own > 0.0:
        raise InputError("there is no information on the intercept", field="information")
    rest = np.delete(np.arange(len(pull)), at)
    along = total[rest, at] / own
    others = _shrunken(
        total[np.ix_(rest, rest)] - own * np.outer(along, along), pull[rest] - along * pull[at]
    )
    # What the others are, the intercept follows from: its row of the inverse is theirs times this.
    back = np.zeros((len(pull), len(rest)))
    back[rest], back[at] = np.eye(len(rest)), -along
    coefficients, covariance = back @ others.coefficients, back @ others.covariance @ back.T
    coefficients[at] += pull[at] / own
    covariance[at, at] += 1.0 / own
    return Ridge(others.precision, coefficients, covariance)


def _shrunken(total: Floats, pull: Floats) -> Ridge:
    values, vectors = np.linalg.eigh(total)
    if not values.size or not values[-1] > 0.0:
        raise InputError("there is no information on any coefficient", field="information")
    values = np.where(values > _FEWEST_INFORMED * values[-1], values, 0.0)
    along = np.where(values > 0.0, vectors.T @ pull, 0.0)
    precision = float(values[-1]) * float(np.exp(_best(values / values[-1], along**2 / values[-1])))
    spread = vectors / (values + precision)
    return Ridge(precision, spread @ along, spread @ vectors.T)


def _best(values: Floats, squares: Floats) -> float:
    """The logarithm of the precision at which the marginal likelihood is largest.

    On a grid first, since it may have several maxima.
    """
    low, high, best = math.log(_WEAKEST), math.log(_STRONGEST), 0.0
    for _ in range(3):
        grid = np.linspace(low, high, _GRID)
        heights = _log_marginal(grid, values, squares)
        best, step = float(grid[int(heights.argmax())]), (high - low) / (_GRID - 1)
        low, high = best - step, best + step
    return best


def _log_marginal(logs: Floats, values: Floats, squares: Floats) -> Floats:
    """Twice the log marginal likelihood up to a constant, one for each logarithm of a precision."""
    precision = np.exp(logs)[:, np.newaxis]
    after = values + precision
    terms: Floats = squares / after - np.log(after) + logs[:, np.newaxis]
    total: Floats = terms.sum(axis=1)
    return total
