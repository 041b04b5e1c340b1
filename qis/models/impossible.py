"""Expansions that no people can have: false packets that would move the pooled fit where they like.

Only bounds that follow from what is in the packet, the number of people, of events and the anchor,
whatever the features are. With W the weights of the people and r their residuals, the whitened
score has length² = r' W⁻¹ X (X' W X)⁻¹ X' r, at most the sum of r² / w (a projection).
"""

import math
from typing import Final

import numpy as np

from qis.models.expansion import Expansion
from qis.outcomes import Study
from qis.outcomes._model_study import INTERCEPT

_SLACK: Final = 1.01
"""Numbers of 16 bits are off by less than this."""


def why_impossible(expansion: Expansion, study: Study) -> str:
    """Why no people can have these numbers, in words; empty if some may."""
    outcome, names = expansion.outcome, study.coefficients
    events = outcome.events
    if study.family != "linear" and events is None:
        return "it does not say how many events there are"
    if study.family == "logistic" and (events or 0) > outcome.n:
        return f"it has {events} events among {outcome.n} people"
    told = outcome.log_likelihood
    if told is not None and told > 1e-9 * outcome.n and study.family != "linear":
        return f"its log-likelihood is {told:g}, and that of probabilities is never above 0"
    at = names.index(INTERCEPT) if INTERCEPT in names else None
    if study.family == "logistic":
        return _of_logistic(expansion, at)
    if study.family == "cox" and not expansion.anchor.any():
        # The dead of each time against the mean of those at risk, of whom each weighs 1/n or more.
        most = math.sqrt(max(events or 0, 0) * float(outcome.n))
        return _longer_than(most, expansion)
    return ""


def _of_logistic(expansion: Expansion, at: int | None) -> str:
    outcome, anchor = expansion.outcome, expansion.anchor
    n, events = outcome.n, outcome.events or 0
    if at is not None and float(expansion.information[at, at]) > 0.25 * n * _SLACK:
        return (
            f"its information on the intercept is {expansion.information[at, at]:g}, and that of "
            f"{n} people is at most {0.25 * n:g}"
        )
    others = [index for index in range(len(anchor)) if index != at]
    if anchor[others].any():
        return ""  # people differ in their weights, and without features there is no bound
    # Everybody has one fitted probability: that of the anchor, or with own intercepts the site's.
    share = 0.5 * (1.0 + math.tanh(0.5 * float(anchor[at]))) if at is not None else events / n
    if not 0.0 < share < 1.0:
        return "" if not expansion.score.any() else "its people are all alike, and its score is not"
    squares = events * (1.0 - share) / share + (n - events) * share / (1.0 - share)
    return _longer_than(math.sqrt(squares), expansion)


def _longer_than(most: float, expansion: Expansion) -> str:
    length = float(np.linalg.norm(expansion.outcome.z))
    if length <= most * _SLACK + 0.01:
        return ""
    return (
        f"its score is {length:.3g} of its own standard deviations long, and with "
        f"{expansion.outcome.n} people and {expansion.outcome.events} events it is at most "
        f"{most:.3g} at this anchor"
    )
