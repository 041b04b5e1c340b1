"""Which groups by all yes/no columns several answers with an intercept of the site's own tell.

At each anchor the intercept is the one that fits the site's events, and the information is that of
the other coefficients given it. So the numbers are no linear equations of the groups' sizes, but
whoever tries sizes knows the intercepts that these give, and can improve the sizes step by step.
What such a search can find is seen from the equations' slopes at the true sizes, which the rows
tell: a size is told if no other one near it gives the same numbers. What an anchor moves beside
yes/no columns makes the equations as uncertain as it spreads people of one group.
"""

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.told_groups import ERROR, ToldGroups, whole_sizes
from qis.outcomes import QuadraticLikelihood
from qis.outcomes._data_summary import DataSummary

Floats = NDArray[np.float64]

_STEPS: Final = 100


def own_groups(answers: Sequence[QuadraticLikelihood], rows: DataSummary) -> ToldGroups | None:
    """Which groups answers about the same people tell; `None` if the equations are not known.

    Parameters
    ----------
    answers
        Logistic or Poisson answers with an intercept of the site's own, their anchors known.
    rows
        What the site knows of the people, with the sizes of their groups.

    """
    columns = rows.group_columns
    if answers[0].model not in ("logistic", "poisson"):
        return None
    anchors = [np.array(each.known.anchor) for each in answers if each.known is not None]
    if not columns or len(anchors) < len(answers):
        return None
    values = np.array([pattern for pattern, _ in rows.groups])
    ends = np.column_stack([values.min(axis=0), values.max(axis=0)])
    patterns = np.array(list(itertools.product(*ends)))
    known = dict(rows.groups)
    sizes = np.array([known.get(tuple(pattern), 0) for pattern in patterns.tolist()], dtype=float)
    slopes, errors = [np.ones((1, len(sizes)))], [np.array([1e-6])]
    drifts = []
    for answer, anchor in zip(answers, anchors, strict=True):
        found = _slopes(answer, patterns, sizes, anchor[list(columns)])
        _, weight, _ = _at(answer, patterns @ anchor[list(columns)], sizes)
        drift = _drift(answer, anchor, columns, float(weight @ sizes))
        block = answer.information[np.ix_(columns, columns)]
        drifts.append(drift)
        slopes.append(found)
        errors.append(np.full(len(found), (ERROR + drift) * float(np.abs(block).max())))
        if answer.model == "logistic":
            rounding = ERROR * (1.0 + float(np.abs(answer.score) @ np.abs(anchor)))
            errors[-1][-1] = rounding + drift * answer.n
    scaled = np.concatenate(slopes) / np.concatenate(errors)[:, np.newaxis]
    _, spread, is_told = whole_sizes(scaled, scaled @ sizes, answers[0].n)
    spread[is_told] = 0.0  # the sizes are those of the rows
    return ToldGroups(columns, patterns, sizes, spread, is_told, max(drifts))


def _drift(
    answer: QuadraticLikelihood, anchor: Floats, columns: Sequence[int], whole: float
) -> float:
    """Spread of what an anchor adds to linear predictors beside yes/no columns.

    Its mean does not show, since the intercept takes it up.
    """
    others = [int(at) for at in np.flatnonzero(anchor) if at not in columns]
    spreads = np.sqrt(np.maximum(answer.information[others, others], 0.0) / whole)
    return float(np.abs(anchor[others]) @ spreads)


def _slopes(answer: QuadraticLikelihood, patterns: Floats, sizes: Floats, anchor: Floats) -> Floats:
    """Derivatives of an answer's numbers by the size of each group, shape (numbers, groups)."""
    eta = patterns @ anchor
    mean, weight, change = _at(answer, eta, sizes)
    whole = float(weight @ sizes)
    sums = patterns.T @ (weight * sizes)
    # One person more in a group moves the intercept, and with it everybody's weight.
    shift = -mean / whole
    moved = change * sizes
    of_whole = weight + shift * moved.sum()
    of_sums = weight * patterns.T + np.outer(patterns.T @ moved, shift)
    of_squares = np.einsum("g,gi,gj->ijg", weight, patterns, patterns) + np.einsum(
        "ij,g->ijg", np.einsum("g,gi,gj->ij", moved, patterns, patterns), shift
    )
    crossed = np.einsum("ig,j->ijg", of_sums, sums)
    slopes = of_squares - (crossed + crossed.transpose(1, 0, 2)) / whole
    slopes += np.outer(sums, sums)[:, :, np.newaxis] * of_whole / whole**2
    rows: Floats = slopes[np.triu_indices(len(anchor))]
    if answer.model != "logistic":
        return rows
    likelihood = mean * eta + np.log1p(-mean) + shift * float(anchor @ sums)
    return np.vstack([rows, likelihood])


def _at(answer: QuadraticLikelihood, eta: Floats, sizes: Floats) -> tuple[Floats, Floats, Floats]:
    """Expected events of a person of each group, the weight, and how that moves with the intercept.

    The intercept is the one at which as many events are expected as there were.
    """
    events = float(answer.events or 0)
    if answer.model == "poisson":
        mean = np.exp(np.clip(eta - eta.max(), -700.0, 0.0))
        mean *= events / float(mean @ sizes)
        return mean, mean, mean
    low, high = -60.0 - float(eta.max()), 60.0 - float(eta.min())
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        expected = float((0.5 + 0.5 * np.tanh((eta + middle) / 2.0)) @ sizes)
        low, high = (middle, high) if expected < events else (low, middle)
    mean = 0.5 + 0.5 * np.tanh((eta + (low + high) / 2.0) / 2.0)
    weight = mean * (1.0 - mean)
    return mean, weight, weight * (1.0 - 2.0 * mean)
