"""An outsider who holds two answers: subtracts one from the other, or fits one table to both.

Written apart from the gate, like `_disclosure_attacker`, whose every table of n people it uses.
"""

import math
from typing import Any

import numpy as np
from _disclosure_attacker import NOTHING, Floats, Read, half, said, tables_that_fit
from _disclosure_sites import Made

from qis.outcomes import (
    Counts,
    Effect,
    LikelihoodProfile,
    Moments,
    Outcome,
    QuadraticLikelihood,
)

MOST = 2_000
"""Tables of one answer that are combined with the other's; of more, a sample is taken."""


def read_several(made: Made, limit: int) -> Read:
    """Attack two answers together."""
    kind, which = made.target
    public = made.public
    if kind == "rest":
        return _rest(public["whole"], public["part"], which, limit)
    if kind == "middle":
        sums = [_tables(public[name])[:, 0] for name in ("one", "other", "all")]
        return _judged((sums[0] + sums[1] - sums[2]).reshape(-1, 1), which, limit)
    if kind == "rate":
        return _other_rate(public["difference"], public["arm"], public["sign"], limit)
    if kind == "rates":
        return _rates(public["ratio"], public["difference"], which, limit)
    return _same(public["effect"], *public["second"], which, limit)


def _judged(cells: Floats, which: int, limit: int) -> Read:
    """Say which value of a cell is most frequent among tables of shape (cells, m)."""
    if not cells.shape[1]:
        return NOTHING
    proved = bool(((cells > 0) & (cells < limit)).any(axis=0).all())
    return said(cells[which], limit, proved=proved)


def _rest(whole: Outcome, part: Outcome, which: int, limit: int) -> Read:
    tables = [_sample(_tables(answer)) for answer in (whole, part)]
    if tables[0].shape[0] != tables[1].shape[0]:
        return NOTHING
    rest = tables[0][:, :, np.newaxis] - tables[1][:, np.newaxis, :]
    rest = rest.reshape(len(rest), -1)
    return _judged(rest[:, (rest >= 0).all(axis=0)], which, limit)


def _sample(tables: Floats) -> Floats:
    if tables.shape[1] <= MOST:
        return tables
    chosen = np.random.default_rng(0).choice(tables.shape[1], size=MOST, replace=False)
    return tables[:, chosen]


def _tables(answer: Outcome) -> Floats:
    """All tables behind one answer, of shape (cells, m)."""
    if isinstance(answer, Effect) and answer.measure not in ("PR", "PLO", "MN"):
        return tables_that_fit([answer])
    if isinstance(answer, Effect):
        return _of_one(answer)
    cells: list[float] = []
    if isinstance(answer, Counts):
        cells = [answer.events, answer.total - answer.events]
        if answer.control_total is not None and answer.control_events is not None:
            cells += [answer.control_events, answer.control_total - answer.control_events]
    elif isinstance(answer, Moments):
        cells = [answer.mean * answer.total, (1 - answer.mean) * answer.total]
        if answer.control_total is not None and answer.control_mean is not None:
            share, people = answer.control_mean, answer.control_total
            cells += [share * people, (1 - share) * people]
    elif isinstance(answer, LikelihoodProfile):
        own, other = -answer.slope_below, -answer.slope_above
        low, high = answer.log_likelihood([-1e-3, 1e-3])
        size = (answer.n or 0) * (own - float(high - low) / 2e-3) / max(answer.events or 0, 1)
        cells = [own, size - own, other, (answer.n or 0) - size - other]
    elif isinstance(answer, QuadraticLikelihood):
        cells = _of_model(answer)
    return np.rint(np.array(cells)).reshape(-1, 1)


def _of_one(answer: Effect) -> Floats:
    n = answer.n or 0
    k = np.arange(1.0, n)
    p = k / n
    estimate, error = {
        "PR": (p, np.sqrt(p * (1 - p) / n)),
        "PLO": (np.log(p / (1 - p)), np.sqrt(1 / k + 1 / (n - k))),
        "MN": (p, np.sqrt(p * (1 - p) / (n - 1))),
    }[answer.measure]
    fits = np.abs(estimate - answer.estimate) <= half(answer.estimate)
    fits &= np.abs(error - answer.standard_error) <= half(answer.standard_error)
    return np.stack([k, n - k])[:, fits]


def _of_model(answer: QuadraticLikelihood) -> list[float]:
    """One yes/no feature at a zero anchor: people with it, and events in all and among them."""
    variance = 0.37 if answer.model == "linear" else 1.0
    weight = {"logistic": 0.25, "poisson": 1.0, "linear": 1 / variance}[answer.model]
    chance = {"logistic": 0.5, "poisson": 1.0, "linear": 0.0}[answer.model]
    having = float(answer.information[1, 1]) / weight
    events, among = (
        float(score) * variance + chance * people
        for score, people in zip(answer.score, (answer.n, having), strict=True)
    )
    return [among, having - among, events - among, answer.n - having - events + among]


def _same(effect: Effect, name: str, second: Any, which: int, limit: int) -> Read:
    a, b, c, d = tables = tables_that_fit([effect])
    if name == "measured_means":
        fits = (a + b == second.total) & (c + d == second.control_total)
    else:
        k, others = (float(cell[0]) for cell in _tables(second))
        fits = {
            "of_all": a + c == k,
            "counts_of_an_arm": (c == k) & (d == others),
            "PR_of_an_arm": (a == k) & (b == others),
        }.get(name, a + c == k)
    return _judged(tables[:, fits], which, limit)


def _rates(ratio: Effect, difference: Effect, which: int, limit: int) -> Read:
    """Each pair of events gives the ratio of the times, and the difference their sizes."""
    a, c = (grid.ravel() for grid in np.meshgrid(np.arange(1.0, 401.0), np.arange(1.0, 401.0)))
    fits = np.abs(np.sqrt(1 / a + 1 / c) - ratio.standard_error) <= half(ratio.standard_error)
    a, c = a[fits], c[fits]
    kept = np.zeros(len(a), dtype=bool)
    for side in np.linspace(-1.0, 1.0, 41):
        per_arm = math.exp(ratio.estimate + side * half(ratio.estimate))
        # rate of the control arm from the difference, then the times from the events
        with np.errstate(all="ignore"):
            base = difference.estimate / (per_arm - 1.0)
            error = np.sqrt((per_arm * base) ** 2 / a + base**2 / c)
        kept |= np.abs(error - difference.standard_error) <= 2e-3 * difference.standard_error
    return _judged(np.stack([a, c])[:, kept], which, limit)


def _other_rate(difference: Effect, arm: Counts, sign: float, limit: int) -> Read:
    """The other arm's rate follows from the difference, its events from what is left of SE²."""
    rate = arm.events / (arm.person_time or 1.0)
    left = difference.standard_error**2 - rate * rate / arm.events
    # The difference is the treated arm's rate less the control arm's.
    other = rate + sign * difference.estimate
    return said(np.rint(np.array([other * other / left])), limit)
