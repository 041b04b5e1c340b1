"""The tables of yes/no columns behind an answer with an intercept of the site's own.

At a zero anchor everybody has the fitted probability, events over people, and so the same weight.
"""

from typing import Final

import numpy as np

from qis.disclosure.margins import LABEL, RELATIVE, Margins, is_count
from qis.outcomes import QuadraticLikelihood

_MOST_READINGS: Final = 64
"""Most tables that are kept where several fit."""


def with_own_intercept(outcome: QuadraticLikelihood) -> list[Margins]:
    """The tables that fit an answer at a zero anchor with an intercept of the site's own.

    Everybody has the fitted probability, events over people, so the information is a multiple of
    the covariances N(n - N)/n, and the score is the events of a column less their expected number.
    Each N has a mirror image, so several tables may fit; at most 64 are given.
    """
    n, events, known = outcome.n, outcome.events, outcome.known
    if outcome.model == "linear":
        weight = known.weight if known is not None and known.weight is not None else 1.0
    elif events is None or not 0 < events < n or outcome.model == "cox":
        return []
    else:
        share = events / n
        weight = share * (1.0 - share) if outcome.model == "logistic" else share
    table = outcome.information / weight
    sizes = np.arange(1.0, n)
    partial: list[tuple[dict[int, int], dict[tuple[int, int], int]]] = [({}, {})]
    for column in range(len(outcome.diagonal)):
        variance = float(table[column, column])
        near = np.abs(sizes * (n - sizes) / n - variance) <= RELATIVE * variance + 1e-6
        having = [int(size) for size in sizes[near]]
        if not having or len(having) > _MOST_READINGS:
            continue
        longer = []
        for chosen, pairs in partial:
            for size in having:
                entries = {
                    (other, column): float(table[other, column]) + people * size / n
                    for other, people in chosen.items()
                }
                slack = 2.0 * RELATIVE * n + 1e-6
                if all(is_count(entry, slack, min(n, size)) for entry in entries.values()):
                    whole = {at: round(entry) for at, entry in entries.items()}
                    longer.append(({**chosen, column: size}, {**pairs, **whole}))
        partial = longer[:_MOST_READINGS] or partial
    found = (_put_together(outcome, chosen, pairs) for chosen, pairs in partial if chosen)
    return [margins for margins in found if margins is not None]


def _put_together(
    outcome: QuadraticLikelihood, chosen: dict[int, int], pairs: dict[tuple[int, int], int]
) -> Margins | None:
    size = len(chosen)
    table = np.diag([*chosen.values(), outcome.events or 0]).astype(np.int64)
    order = list(chosen)
    for (one, other), count in pairs.items():
        row, column = order.index(one), order.index(other)
        table[row, column] = table[column, row] = count
    names = tuple(f"feature {column + 1}" for column in order)
    if outcome.model not in ("logistic", "poisson") or outcome.events is None:
        return Margins(names, outcome.n, table[:size, :size])
    for nth, (column, having) in enumerate(chosen.items()):
        among = float(outcome.score[column]) + outcome.events * having / outcome.n
        # In a Poisson model somebody may have several events.
        most = outcome.events if outcome.model == "poisson" else min(having, outcome.events)
        if not is_count(among, 0.3, most):
            return None
        table[size, nth] = table[nth, size] = round(among)
    return Margins((*names, LABEL), outcome.n, table)
