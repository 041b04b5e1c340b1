"""The table of yes/no columns that score and information hold, read as an outsider reads it.

Where all people weigh the same (a zero anchor, an anchor of the intercept alone, a linear model),
the information is a multiple of the sums of products of features, and the score gives the events
among the people of each column. So every group by two columns is known exactly. Other anchors are
in `solved_groups`, a site's own intercept in `own_intercept`.
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
_NEAR: Final = 0.1
"""Sums of responses that are this near to whole numbers count people."""
_CODINGS: Final = ((0.0, 1.0), (-1.0, 2.0), (1.0, 1.0), (-0.5, 1.0))
"""Codes of "no", and steps to "yes"."""
_WEIGHTS: Final = {"logistic": 0.25, "linear": 1.0, "poisson": 1.0}
"""Information that each person brings at a zero anchor, by model."""


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
        if all(is_count(entry, slack, n) for entry in entries.values()):
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
        total, *among = events
        found[size, :size] = found[:size, size] = among
        found[size, size] = total
        names.append(LABEL)
    return Margins(tuple(names), n, found)


def is_count(entry: float, slack: float, n: int) -> bool:
    """True if an entry is near a whole number of at most n people."""
    return abs(entry - round(entry)) <= min(slack, 0.3) and -0.5 <= entry <= n + 0.5


def _events(
    outcome: QuadraticLikelihood,
    weight: float,
    constant: int | None,
    columns: Sequence[tuple[int, float, float]],
    having: Whole,
) -> list[int] | None:
    """Events of all people, then among those of each column: the score less what is expected."""
    if outcome.model == "linear":
        return _responses(outcome, weight, constant, columns, having)
    if outcome.events is None or outcome.model not in ("logistic", "poisson"):
        return None
    if outcome.model == "poisson":
        chances = [weight]
    elif weight > 0.25 * (1.0 + RELATIVE):
        return None
    else:
        root = math.sqrt(max(0.0, 1.0 - 4.0 * weight)) / 2.0
        chances = [0.5 - root, 0.5 + root]
    score = outcome.score
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
            return [outcome.events, *whole]
    return None


def _responses(
    outcome: QuadraticLikelihood,
    weight: float,
    constant: int | None,
    columns: Sequence[tuple[int, float, float]],
    having: Whole,
) -> list[int] | None:
    """The same of a linear model whose responses are a yes/no variable, if the anchor is known."""
    known = outcome.known
    if known is None or not known.anchor or constant is None:
        return None
    sums = (outcome.score + outcome.information @ np.array(known.anchor)) / weight
    total = float(sums[constant])
    events = [total, *((float(sums[c]) - zero * total) / step for c, zero, step in columns)]
    whole = [round(each) for each in events]
    people = [outcome.n, *map(int, having)]
    is_whole = all(abs(each - k) <= _NEAR for each, k in zip(events, whole, strict=True))
    is_possible = all(
        0 <= k <= n and whole[0] - k <= people[0] - n
        for k, n in zip(whole, people[: len(whole)], strict=True)
    )
    return whole if is_whole and is_possible else None


def _fits(events: Sequence[int], having: Whole) -> bool:
    return all(count <= people for count, people in zip(events, having, strict=False))
