"""Membership inference: who knows a person's record can test whether it is in an outcome.

The attack is that of Homer et al. (2008), the bound that of Sankararaman et al. (2009). An outcome
is a sum over people, so each person shifts it by that person's own terms. Whoever knows the terms
of a person, and how they vary in the population, compares two hypotheses with the likelihood ratio.
With d independent numbers about n people the squared shift, in units of the sum's variance, is
d / n on average, so members and others are told apart with an area under the ROC curve of
Φ(√(d / 2n)).
That holds for the average person; a person unlike the others is found more easily.
`benchmarks/disclosure_attacks.py` runs the attack itself against packets.
"""

import math
from statistics import NormalDist
from typing import Final

from qis._gate import checked
from qis.disclosure.matrices import (
    independent_numbers,
    spans_less_than_all,
    the_only_person,
)
from qis.errors import InputError
from qis.outcomes import Counts, Effect, Moments, Outcome, QuadraticLikelihood

_OF_EFFECT: Final = 2
"""Numbers in an effect: estimate and standard error."""
_OF_ARM: Final = 2
"""Numbers in an arm: mean and sum of squares."""


@checked
def membership_auc(numbers: int, people: int) -> float:
    """Area under the ROC curve of the membership test, from 0.5 (a guess) to 1 (certain).

    Parameters
    ----------
    numbers
        Independent numbers d that are sums over the people: p + p(p + 1)/2 for score and
        information of p coefficients.
    people
        Number n of people whom they are about.

    Raises
    ------
    InputError
        If one of them is not positive.

    Examples
    --------
    >>> from qis.disclosure import membership_auc
    >>> round(membership_auc(numbers=14, people=11), 2), round(membership_auc(2, 5000), 2)
    (0.79, 0.51)

    """
    for field, value in (("numbers", numbers), ("people", people)):
        if value < 1:
            raise InputError(f"{field} is {value}; it is 1 or more", field=field, actual=value)
    return NormalDist().cdf(math.sqrt(numbers / (2.0 * people)))


def membership_sentences(outcome: Outcome) -> list[str]:
    """Tell in words what somebody who knows people's records learns from an outcome."""
    sentences = []
    for arm, numbers, people in _sums_of(outcome):
        auc = membership_auc(numbers, people)
        sentences.append(
            f"{numbers} numbers about {people} people{arm}: whoever knows a person's record and "
            "the population can test whether that person is among them, with an area under the "
            f"ROC curve of about {auc:.2f} (0.5 is a guess, 1 is certain)"
        )
        if not isinstance(outcome, Effect):
            sentences.append(f"whoever knows all people{arm} but one knows that one too")
    if isinstance(outcome, QuadraticLikelihood):
        sentences += _of_matrix(outcome)
    return sentences


def _sums_of(outcome: Outcome) -> list[tuple[str, int, int]]:
    """For each arm or the whole: its name, number of independent sums, and number of people."""
    if isinstance(outcome, QuadraticLikelihood):
        return [("", independent_numbers(outcome), outcome.n)]
    if isinstance(outcome, Moments):
        arms = [("", outcome.total)]
        if outcome.control_total is not None:
            arms = [(" in the treated arm", outcome.total)]
            arms += [(" in the control arm", outcome.control_total)]
        return [(arm, _OF_ARM, people) for arm, people in arms]
    if isinstance(outcome, Counts):
        return [("", 1 if outcome.control_events is None else 3, outcome.n)]
    if isinstance(outcome, Effect) and outcome.n is not None:
        return [("", _OF_EFFECT, outcome.n)]
    return []


def _of_matrix(outcome: QuadraticLikelihood) -> list[str]:
    features = the_only_person(outcome)
    if features is not None:
        shown = ", ".join(f"{feature:.4g}" for feature in features)
        score = float(outcome.score[0])
        side = "without" if score < 0.0 else "with"
        event = f", {side} the event" if outcome.model == "logistic" and score else ""
        return [f"the one person's features, as multiples of the first: {shown}{event}"]
    if spans_less_than_all(outcome):
        return [
            f"{outcome.n} people for {len(outcome.diagonal)} coefficients: a record that does not "
            "fit is certainly not among them, so that the test makes no error"
        ]
    return []
