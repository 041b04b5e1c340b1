"""What score and information say of single people: how many numbers they are, and of whom."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.outcomes import QuadraticLikelihood

Floats = NDArray[np.float64]

_TOLERANCE: Final = 1e-4
"""Relative error that 16-bit numbers may leave in a whole number."""
_WEIGHT: Final = {"logistic": 4.0, "linear": 1.0, "poisson": 1.0}
"""Information at a zero anchor times this is a count of people, by model."""
_RANK: Final = 1e-3
"""Share of a feature's information that others must leave for it to count as independent."""


def independent_numbers(outcome: QuadraticLikelihood) -> int:
    """Number of entries of score and information that do not follow from others.

    A yes/no feature equals its own square, so its diagonal entry repeats the one in the first row.
    """
    size = len(outcome.diagonal)
    numbers = size + size * (size + 1) // 2
    table = _WEIGHT.get(outcome.model, 1.0) * outcome.information
    given = int(_counts_everybody(table, outcome.n)) + len(_yes_no(table, outcome.n))
    return numbers - given if numbers > given else numbers


def _counts_everybody(table: Floats, n: int) -> bool:
    """True if the first feature is 1 for all, and all people have the same weight."""
    return abs(float(table[0, 0]) - n) <= _TOLERANCE * n


def _yes_no(table: Floats, n: int) -> list[int]:
    """Indices of the yes/no features: their diagonal entry equals that in the first row."""
    if not _counts_everybody(table, n):
        return []
    having = np.diag(table)
    slack = 2.0 * _TOLERANCE * np.sqrt(n * np.maximum(having, 0.0))
    fits = (np.abs(table[0] - having) <= slack) & (having >= 0.5) & (having <= n - 0.5)
    return [int(column) for column in np.flatnonzero(fits) if column > 0]


def the_only_person(outcome: QuadraticLikelihood) -> Floats | None:
    """Recover the features of the one person behind an outcome with n = 1, relative to the first.

    The information of one person is a weight times the products of that person's features, so each
    row is proportional to the features. With an intercept the first feature is 1, and the result is
    the features themselves.

    Returns
    -------
    float64 of shape (p,); `None` if there are more people, or the first feature is zero.

    """
    information = outcome.information
    if outcome.n != 1 or information[0, 0] <= 0.0:
        return None
    features: Floats = information[0] / information[0, 0]
    return features


def spans_less_than_all(outcome: QuadraticLikelihood) -> bool:
    """True if n people span fewer dimensions than there are features.

    Then the features of all members lie in the span of the information, and almost nobody else's
    do, so that membership can be tested without error.
    """
    own = np.sqrt(np.diag(outcome.information))
    left = np.array(outcome.diagonal)
    return outcome.n < len(own) and bool((left[own > 0.0] <= _RANK * own[own > 0.0]).any())
