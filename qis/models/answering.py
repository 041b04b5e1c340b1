"""Where a site answers next: at its own pooled point, and never far from where it answered last."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.errors import InputError
from qis.models.expansion import Expansion
from qis.models.fitted import FARTHEST, LARGEST_STEP, FittedModel, gain_of
from qis.models.rows import StudyRows
from qis.outcomes._model_study import INTERCEPT

Floats = NDArray[np.float64]

TRUST: Final = 2.0
"""Largest change of somebody's linear predictor between two answers of a site.

An anchor that others could move at will would let them ask about any group of its people.
"""
_KEPT: Final = 3
_MUCH_FARTHER: Final = 2.0
_NOTHING_NEW: Final = 0.05
"""Standard errors of a move that is not worth an answer."""
_HALVINGS: Final = 30
_MOST_STEPS: Final = 50


def start_of(rows: StudyRows) -> Floats:
    """Where a site begins: everybody alike, at the site's own rate where the intercept is common.

    Where sites have intercepts of their own, and in Cox's model, that is zero. A linear model is
    quadratic, so zero does as well; its intercept begins at the mean for the sake of rounding.
    """
    names = rows.study.coefficients
    at = np.zeros(len(names))
    if INTERCEPT not in names:
        return at
    family, total = rows.study.family, float(rows.y.sum())
    if family == "logistic":  # half a person more of either kind, so that it is finite
        rate = (total + 0.5) / (rows.n + 1.0)
        start = math.log(rate / (1.0 - rate))
    elif family == "poisson":
        exposure = rows.rows.exposure
        time = rows.n if exposure is None else float(np.asarray(exposure, dtype=float).sum())
        start = math.log((total + 0.5) / time)
    else:
        start = total / rows.n
    at[names.index(INTERCEPT)] = start
    return at


def is_due(model: FittedModel, own: Sequence[Expansion], left: int) -> bool:
    """True if these expansions are among those that keep the model from being converged.

    Not while their site is alone in it, where others would only learn its own fit; nor where there
    is no finite estimate, towards which no answer leads. The last answers that are `left` are kept
    for when no other anchor is much farther: after that one has moved, so has the pooled point.
    """
    is_hopeless = bool(model.separation) and not model.is_penalised and not model.is_suspected
    if len(model.sites) < 2 or model.point is None or is_hopeless or model.is_converged:
        return False
    gain = math.fsum(gain_of(model.point, each) for each in own)
    others = [gain_of(model.point, each) for each in model.expansions if each not in own]
    if left <= _KEPT and max(others, default=0.0) > _MUCH_FARTHER * gain:
        return False
    # If all together are too far, one of k is by a k-th of that.
    return gain > 0.5 * FARTHEST**2 or gain >= LARGEST_STEP / len(model.expansions)


def next_anchor(
    model: FittedModel, rows: StudyRows, last: Floats, own: Sequence[Expansion]
) -> Floats | None:
    """The site's own pooled point, or as far towards it as is safe; `None` if it is there already.

    Where the log-likelihood of these rows, whole, and of all others to second order is largest: the
    site knows its own rows, so an old expansion of them need not lead it astray.

    Parameters
    ----------
    model
        Of the site's own evidence.
    rows
        The site's rows.
    last
        The anchor of its last answer, or where it begins, shape (p,).
    own
        The expansions of these rows in the model, which the rows themselves replace.

    Returns
    -------
    float64 of shape (p,), at most `TRUST` from `last` in anybody's linear predictor.

    """
    if model.point is None or model.point_covariance is None:
        return None
    total: Floats = np.asarray(np.linalg.inv(model.point_covariance), dtype=np.float64)
    natural: Floats = total @ model.point
    for each in own:
        total, natural = total - each.information, natural - each.natural
    found = _highest(rows, last, total, natural)
    if found is None:
        return None
    at, information = found
    move: Floats = at - last
    errors = 1.0 / np.sqrt(np.linalg.inv(information).diagonal())
    if float(np.abs(move * errors).max()) < _NOTHING_NEW:
        return None
    largest = rows.largest_change(move)
    return last + move * min(1.0, TRUST / max(largest, 1e-300))


def _highest(
    rows: StudyRows, start: Floats, total: Floats, natural: Floats
) -> tuple[Floats, Floats] | None:
    """Newton's method with step halving: where it is largest, and the information there."""

    def height(at: Floats, told: float) -> float:
        return told + float(natural @ at) - 0.5 * float(at @ total @ at)

    at, terms = start, rows.terms(start)
    high = height(at, terms.log_likelihood)
    for _ in range(_MOST_STEPS):
        information = terms.information + total
        try:
            step: Floats = np.asarray(
                np.linalg.solve(information, terms.score + natural - total @ at), dtype=np.float64
            )
        except np.linalg.LinAlgError:
            return None
        share = min(1.0, TRUST / max(rows.largest_change(step), 1e-300))
        for _ in range(_HALVINGS):
            try:
                tried = rows.terms(at + share * step)
            except InputError:  # not finite there
                share *= 0.5
                continue
            reached = height(at + share * step, tried.log_likelihood)
            if reached >= high - 1e-9 * abs(high):
                break
            share *= 0.5
        else:
            return at, information
        gain = float(step @ information @ step)
        at, terms, high = at + share * step, tried, reached
        if gain < 1e-10:
            break
    return at, terms.information + total
