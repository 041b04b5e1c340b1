"""Attacks on score and information: counts of people by feature, and features of one person.

At a zero anchor a logistic model gives all people the same weight, so that the information is a
quarter of the table of how many people have each pair of yes/no features, and the score tells how
many of them had the event. At other anchors weights differ between people and none of these counts
is whole; what solving for several weights at once would give is not searched here.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.finding import Finding
from qis.outcomes import QuadraticLikelihood

Floats = NDArray[np.float64]

_TOLERANCE: Final = 1e-4
"""Relative error that 16-bit numbers may leave in a whole number."""
_WEIGHT: Final = {"logistic": 4.0, "linear": 1.0, "poisson": 1.0}
"""Information at a zero anchor times this is a count of people, by model."""
_AT_ZERO: Final = "from the information, if the anchor is zero and the feature yes/no"
_PAIRS: Final = "from score and information, if the anchor is zero"
_RANK: Final = 1e-3
"""Share of a feature's information that others must leave for it to count as independent."""


def counts_of_features(outcome: QuadraticLikelihood) -> Iterator[Finding]:
    """Yield counts of people by one yes/no feature, by two, and by one and the event."""
    weight = _WEIGHT.get(outcome.model)
    if weight is None:
        return
    table = weight * outcome.information
    n, having = outcome.n, np.diag(table)
    for column, count in enumerate(having):
        if 0.5 <= count <= n and abs(count - round(count)) <= _TOLERANCE * count:
            yield Finding(_AT_ZERO, f"people with feature {column + 1}", round(count))
    features = _yes_no(table, n)
    for column in features:
        yield Finding(_PAIRS, f"people without feature {column + 1}", n - round(having[column]))
        if outcome.model == "logistic" and outcome.events is not None:
            yield from _by_event(outcome, column, round(having[column]))
    for nth, one in enumerate(features):
        for other in features[nth + 1 :]:
            yield from _by_pair(table, n, one, other)


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


def _by_pair(table: Floats, n: int, one: int, other: int) -> Iterator[Finding]:
    first, second = round(table[one, one]), round(table[other, other])
    both = max(0, round(table[one, other]))
    names = f"feature {one + 1}", f"feature {other + 1}"
    yield Finding(_PAIRS, f"people with {names[0]} and {names[1]}", both)
    yield Finding(_PAIRS, f"people with {names[0]} and not {names[1]}", first - both)
    yield Finding(_PAIRS, f"people with {names[1]} and not {names[0]}", second - both)
    yield Finding(_PAIRS, f"people with neither {names[0]} nor {names[1]}",
                  n - first - second + both)  # fmt: skip


def _by_event(outcome: QuadraticLikelihood, column: int, having: int) -> Iterator[Finding]:
    """Yield counts by feature and event: at zero the score is events minus half of the people."""
    among = float(outcome.score[column]) + having / 2.0
    if not -0.25 <= among <= having + 0.25 or abs(among - round(among)) > 0.25:
        return
    events, name = round(among), f"feature {column + 1}"
    others = (outcome.events or 0) - events
    yield Finding(_PAIRS, f"events among people with {name}", events)
    yield Finding(_PAIRS, f"people with {name} without event", having - events)
    yield Finding(_PAIRS, f"events among people without {name}", others)
    yield Finding(
        _PAIRS, f"people without {name} without event", outcome.n - having - max(others, 0)
    )


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
