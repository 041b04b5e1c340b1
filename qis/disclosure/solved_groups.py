"""The sizes of groups by yes/no columns where the anchor gives the groups different weights.

Whoever knows the anchor knows each group's weight, and so each entry of the information is a linear
equation of the groups' sizes, and the log-likelihood is one more. If there are as many as groups,
the sizes are their solution; several answers about the same people are more equations. With the
sizes known, the score gives the events.
"""

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.margins import LABEL, RELATIVE, Margins
from qis.outcomes import QuadraticLikelihood

Floats = NDArray[np.float64]

_MOST_SOLVED: Final = 6
"""Most yes/no columns whose groups are solved for."""


def solved(outcomes: Sequence[QuadraticLikelihood]) -> Margins | None:
    """Solve for the groups of yes/no columns from answers about the same people, if they suffice.

    Each answer gives one linear equation of the groups' sizes for each entry of the information.

    Parameters
    ----------
    outcomes
        Logistic or Poisson answers with the same columns, a column of ones among them, whose
        anchors are known.

    """
    anchors = [np.array(outcome.known.anchor) for outcome in outcomes if outcome.known is not None]
    if any(outcome.model not in ("logistic", "poisson") for outcome in outcomes):
        return None
    first = outcomes[0]
    information, n = first.information, first.n
    size = len(first.diagonal)
    for constant in range(size):
        near = 2.0 * RELATIVE * np.sqrt(np.diag(information) * information[constant, constant])
        fits = np.abs(information[constant] - np.diag(information)) <= near
        columns = [int(c) for c in np.flatnonzero(fits & (np.diag(information) > 0.0))]
        columns = [column for column in columns if column != constant]
        moving = {int(c) for anchor in anchors for c in np.flatnonzero(anchor)} - {constant}
        if not columns or len(columns) > _MOST_SOLVED or not moving <= set(columns):
            continue
        order = [constant, *columns]
        wide = np.array(
            [(1.0, *group) for group in itertools.product((0.0, 1.0), repeat=len(columns))]
        )
        rows, values = [np.ones(len(wide))], [float(n)]
        for outcome, anchor in zip(outcomes, anchors, strict=True):
            _, weight = _expected(outcome, wide @ anchor[order])
            told = _told_by_likelihood(outcome, wide, anchor[order], order)
            if told is not None:
                rows.append(told[0])
                values.append(told[1])
            for one, other in itertools.combinations_with_replacement(range(len(order)), 2):
                rows.append(weight * wide[:, one] * wide[:, other])
                values.append(float(outcome.information[order[one], order[other]]))
        found = _sizes(np.array(rows), np.array(values))
        if found is not None:
            expected, _ = _expected(first, wide @ anchors[0][order])
            sums = first.score[order] + wide.T @ (found * expected)
            names = tuple(f"feature {column + 1}" for column in columns)
            return _margins(names, first, found, wide, np.rint(sums).astype(int).tolist())
    return None


def _told_by_likelihood(
    outcome: QuadraticLikelihood, wide: Floats, anchor: Floats, order: list[int]
) -> tuple[Floats, float] | None:
    """The log-likelihood as a linear equation of the groups' sizes; `None` where it says nothing.

    The events of the columns are those that are expected and the score, so what is left of the
    log-likelihood is a sum over people of what only their group decides.
    """
    if outcome.log_likelihood is None or outcome.model != "logistic" or not anchor.any():
        return None
    eta = wide @ anchor
    expected, _ = _expected(outcome, eta)
    rest = outcome.log_likelihood - float(outcome.score[order] @ anchor)
    return expected * eta - np.logaddexp(0.0, eta), rest


def _expected(outcome: QuadraticLikelihood, eta: Floats) -> tuple[Floats, Floats]:
    """Events that are expected of each person of a group, and the person's weight."""
    if outcome.model == "poisson":
        expected = np.exp(np.clip(eta, -700.0, 700.0))
        return expected, expected
    half = np.clip(eta / 2.0, -350.0, 350.0)
    return 0.5 + 0.5 * np.tanh(half), 0.25 / np.cosh(half) ** 2


def _margins(
    names: tuple[str, ...],
    outcome: QuadraticLikelihood,
    sizes: Floats,
    wide: Floats,
    events: list[int],
) -> Margins:
    """Put the groups of columns together, and the events where the score gives whole ones."""
    table = np.rint(wide.T @ (sizes[:, np.newaxis] * wide)).astype(np.int64)
    having = np.diag(table)[1:]
    groups = sizes.astype(np.int64)
    total, *among = events
    is_told = total == outcome.events and min(among) >= 0
    if outcome.model == "logistic":
        is_told = is_told and all(k <= n for k, n in zip(among, having, strict=True))
    if not is_told:
        return Margins(names, outcome.n, table[1:, 1:], groups)
    # The column of ones becomes that of the event, at the end.
    pairs = np.roll(table, -1, axis=(0, 1))
    pairs[-1, :-1] = pairs[:-1, -1] = among
    pairs[-1, -1] = total
    return Margins((*names, LABEL), outcome.n, pairs, groups)


def _sizes(rows: Floats, values: Floats) -> Floats | None:
    """Whole numbers that solve the equations within the error of 16 bits, if only one can."""
    scale = np.maximum(np.abs(values), 1e-9)
    sizes, _, rank, singular = np.linalg.lstsq(rows / scale[:, None], values / scale, rcond=None)
    if rank < rows.shape[1] or singular[-1] < RELATIVE:
        return None
    whole = np.maximum(np.rint(sizes), 0.0)
    error = np.abs(rows @ whole - values)
    slack = 4.0 * RELATIVE * np.abs(values).max()
    return whole if (error <= slack).all() else None
