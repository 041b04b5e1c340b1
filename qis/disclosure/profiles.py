"""What a log-likelihood curve shows: events by its limiting slopes, people by its slope within.

At a log ratio θ the slope is the observed number of events in the treated arm less the expected
one. For a 2×2 table that is the mean of the noncentral hypergeometric distribution, for survival
times about all events times the arm's share of the people at risk, each of the treated counted
exp(θ) times. Either tells the size of the arm.
"""

import math
from typing import Final

import numpy as np

from qis.disclosure.attacks import SLOPE_TOLERANCE
from qis.disclosure.finding import Finding
from qis.outcomes import LikelihoodProfile

_STEP: Final = 1e-3
"""Half the distance between the points from which a slope is taken."""
_SIZE_TOLERANCE: Final = 0.1
"""An arm's size that is solved to within this of a whole number is that of a 2×2 table."""


def arms_of(outcome: LikelihoodProfile) -> list[Finding]:
    """Estimate the people of each arm, and those without event, from a curve's slope.

    It is exact for a 2×2 table, and for survival times as far as both arms are followed equally
    long. The limiting slopes are the events.
    """
    n, events = outcome.n, outcome.events
    if outcome.protection or n is None or not events or outcome.is_informative is False:
        return []
    if outcome.measure == "IRR":  # the share of the person-time, which is no number of people
        return []
    treated, control = (round(-limit) for limit in (outcome.slope_below, outcome.slope_above))
    attack = "from the profile's slope"
    size = round(_size(outcome, n, treated, events))
    if not treated or not control:
        people = size if not treated else n - size  # nothing happened in this arm
        return [Finding(attack, "people in the arm without events, about", max(people, 0))]
    parts = ("treated", size, treated), ("control", n - size, control)
    return [
        Finding(attack, f"people {words} the {arm} arm, about", max(people, 1))
        for arm, total, happened in parts
        for words, people in (("in", total), ("without event in", total - happened))
    ]


def profile_counts(outcome: LikelihoodProfile) -> dict[str, tuple[float, ...]]:
    """What a curve shows exactly: the table of one of a 2×2 table, else the events of both arms.

    Where an arm has fewer people than there are events, a limiting slope is another number, and
    nothing is taken from the curve: the slopes do not add up to the events then.
    """
    ends = -outcome.slope_below, -outcome.slope_above
    if outcome.protection or any(abs(end - round(end)) > SLOPE_TOLERANCE for end in ends):
        return {}
    treated, control = map(round, ends)
    events, n = outcome.events, outcome.n
    if events is not None and treated + control != events:
        return {}
    if outcome.measure != "OR" or n is None or not treated or not control or events is None:
        return {"events": (treated, control)}
    size = _size(outcome, n, treated, events)
    table = treated, round(size) - treated, control, n - round(size) - control
    is_whole = abs(size - round(size)) <= _SIZE_TOLERANCE and min(table) >= 0
    return {"table": table} if is_whole else {"events": (treated, control)}


def _size(outcome: LikelihoodProfile, n: int, treated: int, events: int) -> float:
    """Solve the slope for the size of the treated arm; a curve says nothing beyond its points."""
    at = min(max(0.0, outcome.lower + _STEP), outcome.upper - _STEP)
    low, high = outcome.log_likelihood(np.array([at - _STEP, at + _STEP]))
    expected = treated - float(high - low) / (2.0 * _STEP)
    if outcome.measure != "OR" or abs(at) <= _STEP:
        share = min(max(expected / events, 0.0), 1.0)
        weighted = share * math.exp(-at)
        return n * weighted / (weighted + 1.0 - share)
    below, above = 0, n  # the mean grows with the size
    while above - below > 1:
        middle = (below + above) // 2
        if _mean(middle, n, events, at) <= expected:
            below = middle
        else:
            above = middle
    ends = [_mean(size, n, events, at) for size in (below, above)]
    return below + (expected - ends[0]) / max(ends[1] - ends[0], 1e-12)


def _mean(size: int, n: int, events: int, log_odds_ratio: float) -> float:
    """Expected events in an arm of this size, given all events (noncentral hypergeometric)."""
    low, high = max(0, events - (n - size)), min(size, events)
    k = np.arange(low, high, dtype=float)
    ratios = (size - k) * (events - k) / ((k + 1.0) * (n - size - events + k + 1.0))
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios) + log_odds_ratio)])
    weights = np.exp(logs - logs.max())
    return float((np.arange(low, high + 1) * weights).sum() / weights.sum())
