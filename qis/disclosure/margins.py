"""The table of yes/no columns that score and information hold, read as an outsider reads it.

Where all people weigh the same (a zero anchor, an anchor of the intercept alone, a linear model),
the information is a multiple of the sums of products of features, and the score gives the events
among the people of each column. So every group by two columns is known exactly. Where the weights
differ between the groups of a few yes/no columns and the anchor is known, their sizes are the
solution of linear equations, if there are as many as groups.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.outcomes import QuadraticLikelihood

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

RELATIVE: Final = 1e-4
"""Relative error that 16-bit numbers may leave in an entry of the information."""
LABEL: Final = "the event"
_CODINGS: Final = ((0.0, 1.0), (-1.0, 2.0), (1.0, 1.0), (-0.5, 1.0))
"""Codes of "no", and steps to "yes"."""
_WEIGHTS: Final = {"logistic": 0.25, "linear": 1.0, "poisson": 1.0}
"""Information that each person brings at a zero anchor, by model."""
_MOST_READINGS: Final = 64
"""Most tables that are kept where several fit."""
_MOST_SOLVED: Final = 6
"""Most yes/no columns whose groups are solved for when weights differ."""


@dataclass(frozen=True, slots=True)
class Margins:
    """Numbers of people by one and by two yes/no columns.

    Parameters
    ----------
    names
        What "yes" means in each column, k of them.
    people
        Number of people.
    pairs
        How many have both of two columns, int64 of shape (k, k); the diagonal holds those who
        have one.
    groups
        Where it was solved for: how many people have each pattern of all columns, int64 of shape
        (2**k,), the first column being the highest bit.

    """

    names: tuple[str, ...]
    people: int
    pairs: Whole
    groups: Whole | None = None

    def cells(self) -> Iterator[tuple[str, int]]:
        """Yield each group by one and by two columns in words, with its number of people."""
        for nth, name in enumerate(self.names):
            having = int(self.pairs[nth, nth])
            yield f"people with {name}", having
            yield f"people without {name}", self.people - having
        for one, other in itertools.combinations(range(len(self.names)), 2):
            yield from _by_pair(self, one, other)


def _by_pair(margins: Margins, one: int, other: int) -> Iterator[tuple[str, int]]:
    first, second, both = (
        int(margins.pairs[at]) for at in ((one, one), (other, other), (one, other))
    )
    name, label = margins.names[one], margins.names[other]
    words = (
        f"people with {name} and {label}",
        f"people with {name} and not {label}",
        f"people with {label} and not {name}",
        f"people with neither {name} nor {label}",
    )
    if label == LABEL:
        words = (
            f"events among people with {name}",
            f"people with {name} without event",
            f"events among people without {name}",
            f"people without {name} without event",
        )
    rest = margins.people - first - second + both
    yield from zip(words, (both, first - both, second - both, rest), strict=True)


def margins_of(outcome: QuadraticLikelihood) -> Iterator[Margins]:
    """Yield the tables that fit score and information if all people weigh the same."""
    information, n = outcome.information, outcome.n
    weights = dict.fromkeys([_WEIGHTS.get(outcome.model, 0.0)])
    known = outcome.known
    if known is not None and known.weight is not None:
        weights = dict.fromkeys([known.weight])
    if outcome.model != "cox":
        weights |= dict.fromkeys(float(entry) / n for entry in np.diag(information))
    seen: list[float] = []
    for weight in weights:
        if weight > 0.0 and not any(abs(weight / old - 1.0) < RELATIVE for old in seen):
            seen.append(weight)
            found = _at_weight(outcome, weight)
            if found is not None:
                yield found


def _at_weight(outcome: QuadraticLikelihood, weight: float) -> Margins | None:
    table, n = outcome.information / weight, outcome.n
    own = np.diag(table)
    everybody = [int(c) for c in np.flatnonzero(np.abs(own - n) <= RELATIVE * n)]
    readings = []
    for constant in everybody:
        columns = {
            column: coding
            for column in range(len(own))
            if column != constant
            and (coding := _coding(table[constant, column], own[column], n)) is not None
        }
        margins = _consistent(outcome, weight, table, constant, columns)
        if margins is not None:
            readings.append(margins)
    if readings:  # a column of -1 and 1 looks like one of ones; the events tell them apart
        return max(readings, key=lambda each: (LABEL in each.names, len(each.names)))
    if everybody or weight != _WEIGHTS.get(outcome.model):
        return None
    # Without a column of ones yes/no columns show themselves by whole numbers only.
    whole = [
        int(c) for c in np.flatnonzero((np.abs(own - np.rint(own)) <= RELATIVE * own) & (own > 0.5))
    ]
    return _consistent(outcome, weight, table, None, dict.fromkeys(whole, (0.0, 1.0)))


def _coding(total: float, squares: float, n: int) -> tuple[float, float] | None:
    """Codes of "no" and the step to "yes" of a column, from its sum and its sum of squares."""
    for zero, step in _CODINGS:
        having = (total - zero * n) / step
        expected = zero * zero * n + (2.0 * zero + step) * step * having
        slack = 2.0 * RELATIVE * math.sqrt(n * max(squares, 0.0)) + 1e-6
        near = abs(having - round(having)) <= slack / step and 0.5 <= having <= n - 0.5
        if near and abs(expected - squares) <= (1.0 + abs(2.0 * zero + step)) * slack:
            return zero, step
    return None


def _consistent(
    outcome: QuadraticLikelihood,
    weight: float,
    table: Floats,
    constant: int | None,
    codings: dict[int, tuple[float, float]],
) -> Margins | None:
    """Put yes/no columns and the event together, leaving out what gives no whole numbers."""
    n = outcome.n
    kept: list[int] = []
    pairs: dict[tuple[int, int], int] = {}
    for column, (zero, step) in codings.items():
        total = table[column, column] if constant is None else table[constant, column]
        entries = {(column, column): (float(total) - zero * n) / step}
        for other in kept:
            at, by = codings[other]
            both = float(table[column, other]) - zero * at * n
            both -= zero * by * pairs[other, other] + at * step * entries[column, column]
            entries[other, column] = both / (step * by)
        slack = 2.0 * RELATIVE * n / min(step, 1.0) ** 2 + 1e-6
        if all(_is_count(entry, slack, n) for entry in entries.values()):
            pairs |= {at: round(entry) for at, entry in entries.items()}
            kept.append(column)
    if not kept:
        return None
    names = [f"feature {column + 1}" for column in kept]
    size = len(kept)
    found = np.zeros((size + 1, size + 1), dtype=np.int64)
    for (one, other), count in pairs.items():
        row, column = kept.index(one), kept.index(other)
        found[row, column] = found[column, row] = count
    events = _events(outcome, weight, constant, [(c, *codings[c]) for c in kept], np.diag(found))
    if events is None:
        found = found[:size, :size]
    else:
        found[size, :size] = found[:size, size] = events
        found[size, size] = outcome.events or 0
        names.append(LABEL)
    return Margins(tuple(names), n, found)


def _is_count(entry: float, slack: float, n: int) -> bool:
    return abs(entry - round(entry)) <= min(slack, 0.3) and -0.5 <= entry <= n + 0.5


def _events(
    outcome: QuadraticLikelihood,
    weight: float,
    constant: int | None,
    columns: Sequence[tuple[int, float, float]],
    having: Whole,
) -> list[int] | None:
    """Events among the people of each column: the score adds what is expected of them."""
    if outcome.events is None or outcome.model not in ("logistic", "poisson"):
        return None
    score = outcome.score
    if outcome.model == "poisson":
        chances = [weight]
    elif weight > 0.25 * (1.0 + RELATIVE):
        return None
    else:
        root = math.sqrt(max(0.0, 1.0 - 4.0 * weight)) / 2.0
        chances = [0.5 - root, 0.5 + root]
    for chance in chances:
        expected = chance * outcome.n
        if constant is not None and abs(score[constant] + expected - outcome.events) > 0.3:
            continue
        events = []
        for (column, zero, step), people in zip(columns, having, strict=False):
            of_sum = float(score[column]) + chance * (zero * outcome.n + step * int(people))
            events.append((of_sum - zero * outcome.events) / step)
        whole = [round(each) for each in events]
        fits = all(
            abs(each - count) <= 0.3 and 0 <= count <= outcome.events
            for each, count in zip(events, whole, strict=True)
        )
        if fits and (outcome.model == "poisson" or _fits(whole, having)):
            return whole
    return None


def _fits(events: Sequence[int], having: Whole) -> bool:
    return all(count <= people for count, people in zip(events, having, strict=False))


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
                if all(_is_count(entry, slack, min(n, size)) for entry in entries.values()):
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
    if outcome.model != "logistic" or outcome.events is None:
        return Margins(names, outcome.n, table[:size, :size])
    for nth, (column, having) in enumerate(chosen.items()):
        among = float(outcome.score[column]) + outcome.events * having / outcome.n
        if not _is_count(among, 0.3, min(having, outcome.events)):
            return None
        table[size, nth] = table[nth, size] = round(among)
    return Margins((*names, LABEL), outcome.n, table)


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
        groups = np.array(list(itertools.product((0.0, 1.0), repeat=len(columns))))
        rows, values = [np.ones(len(groups))], [float(n)]
        for outcome, anchor in zip(outcomes, anchors, strict=True):
            eta = anchor[constant] + groups @ anchor[columns]
            if outcome.model == "logistic":
                weight = 0.25 / np.cosh(np.clip(eta / 2.0, -350.0, 350.0)) ** 2
            else:
                weight = np.exp(np.clip(eta, -700.0, 700.0))
            wide = np.column_stack([np.ones(len(groups)), groups])
            order = [constant, *columns]
            for one, other in itertools.combinations_with_replacement(range(len(order)), 2):
                rows.append(weight * wide[:, one] * wide[:, other])
                values.append(float(outcome.information[order[one], order[other]]))
        found = _sizes(np.array(rows), np.array(values))
        if found is not None:
            table = groups.T @ (found[:, np.newaxis] * groups)
            names = tuple(f"feature {column + 1}" for column in columns)
            return Margins(names, n, np.rint(table).astype(np.int64), found.astype(np.int64))
    return None


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
