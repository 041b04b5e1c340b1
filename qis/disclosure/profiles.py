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

    It is right for survival times as far as both arms are followed equally long. The limiting
    slopes are the events. Of a curve of a 2×2 table nothing is estimated, as it shows the table.
    """
    n, events = outcome.n, outcome.events
    if outcome.protection or n is None or not events or outcome.is_informative is False:
        return []
    if outcome.measure == "IRR":  # the share of the person-time, which is no number of people
        return []
    attack = "from the profile's slope"
    if "table" in profile_counts(outcome):
        return []
    treated, control = (round(-limit) for limit in (outcome.slope_below, outcome.slope_above))
    size = round(_size_at_risk(outcome, n, treated, events))
    if not treated or not control:
        people = size if not treated else n - size  # nothing happened in this arm
        return [Finding(attack, "people in the arm without events, about", max(people, 0))]
    parts = ("treated", size, treated), ("control", n - size, control)
    return [
        Finding(attack, f"people {words} the {arm} arm, about", max(people, 1))
        for arm, total, happened in parts
        for words, people in (("in", total), ("without event in", total - happened))
    ]


def profile_counts(outcome: LikelihoodProfile) -> dict[str, list[tuple[int, ...]]]:
    """What a curve shows exactly: the table of one of a 2×2 table, else the events of both arms.

    Where half of all people have the event, a table and its mirror image give the same curve.

    Given all margins of a table, a curve ends at the smallest and the largest number of events that
    its arm can have, so its limiting slopes are the smaller cell of each diagonal. Which ones these
    are follows from the number of events and the slope within. A curve of survival times whose
    slopes are not all events says nothing here.
    """
    ends = -outcome.slope_below, -outcome.slope_above
    if outcome.protection or any(abs(end - round(end)) > SLOPE_TOLERANCE for end in ends):
        return {}
    first, second = map(round, ends)
    events, n = outcome.events, outcome.n
    if outcome.measure == "OR" and events is not None and n is not None:
        found = _tables(outcome, (first, second), events, n)
        if found:
            return {"table": found}
    return {} if events is not None and first + second != events else {"events": [(first, second)]}


def _tables(
    outcome: LikelihoodProfile, ends: tuple[int, int], events: int, n: int
) -> list[tuple[int, ...]]:
    """Find the tables whose smaller cell of each diagonal these are, and whose slope fits."""
    main, other = ends
    at, slope = _inner_slope(outcome)
    by_events = _size(n, main, events, slope, at)
    by_others = _size(n, other, n - events, -slope, -at)
    candidates = (
        (main, round(by_events) - main, other),  # both slopes are events
        (main, other, events - main),  # events and others of the treated arm
        (events - other, n - main - events, other),  # others and events of the control arm
        (round(by_others) - other, other, events - round(by_others) + other),  # both are others
    )
    found: list[tuple[int, ...]] = []
    for a, b, c in candidates:
        table = a, b, c, n - a - b - c
        if min(table) < 0 or a + c != events or (min(a, table[3]), min(b, c)) != ends:
            continue
        is_near = abs(_size(n, a, events, slope, at) - (a + b)) <= _SIZE_TOLERANCE
        if is_near and table not in found:
            found.append(table)
    return found


def _inner_slope(outcome: LikelihoodProfile) -> tuple[float, float]:
    """The log ratio nearest to 0 within a curve's points, and its slope there."""
    at = min(max(0.0, outcome.lower + _STEP), outcome.upper - _STEP)
    low, high = outcome.log_likelihood(np.array([at - _STEP, at + _STEP]))
    return at, float(high - low) / (2.0 * _STEP)


def _size(n: int, treated: int, events: int, slope: float, at: float) -> float:
    """Solve the slope for the size of the treated arm, by the table's margins."""
    expected = treated - slope
    if abs(at) <= _STEP or not 0 < events < n:
        return n * min(max(expected / max(events, 1), 0.0), 1.0)
    below, above = 0, n  # the mean grows with the size
    while above - below > 1:
        middle = (below + above) // 2
        if _mean(middle, n, events, at) <= expected:
            below = middle
        else:
            above = middle
    ends = [_mean(size, n, events, at) for size in (below, above)]
    return below + (expected - ends[0]) / max(ends[1] - ends[0], 1e-12)


def _size_at_risk(outcome: LikelihoodProfile, n: int, treated: int, events: int) -> float:
    """Solve the slope for the treated at risk, each of whom counts exp(θ) times."""
    at, slope = _inner_slope(outcome)
    if outcome.measure == "OR":
        return _size(n, treated, events, slope, at)
    share = min(max((treated - slope) / events, 0.0), 1.0)
    weighted = share * math.exp(-at)
    return n * weighted / (weighted + 1.0 - share)


def _mean(size: int, n: int, events: int, log_odds_ratio: float) -> float:
    """Expected events in an arm of this size, given all events (noncentral hypergeometric)."""
    low, high = max(0, events - (n - size)), min(size, events)
    k = np.arange(low, high, dtype=float)
    ratios = (size - k) * (events - k) / ((k + 1.0) * (n - size - events + k + 1.0))
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios) + log_odds_ratio)])
    weights = np.exp(logs - logs.max())
    return float((np.arange(low, high + 1) * weights).sum() / weights.sum())
