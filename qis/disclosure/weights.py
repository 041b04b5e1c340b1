"""Inversion of score and information of logistic models whose people do not all weigh a quarter.

Two cases have weights that follow from the packet alone. With an intercept of the site's own at a
zero anchor everybody has the fitted probability ȳ, events over people, and so the weight ȳ(1 − ȳ).
And where a yes/no feature and the intercept are all that the anchor knows of, each of the two
groups has one weight: its number of people then says which, and must give whole numbers of events
that add up. The anchor itself is not needed for that, so a gate that has not seen it finds what an
outsider finds.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.finding import Finding
from qis.outcomes import QuadraticLikelihood
from qis.outcomes._quadratic_coding import UNIT

Floats = NDArray[np.float64]

_RELATIVE: Final = 1e-4
"""Relative error that 16-bit numbers may leave in an entry of the information."""
_MOST_PEOPLE: Final = 200_000
"""Above this the numbers are too coarse to tell whole ones apart, so nothing is searched."""
_OWN: Final = "from score and information, if the site's own intercept is fitted at a zero anchor"
_COX: Final = "from the information at each event, if the feature is yes/no"
_GROUPS: Final = "from score and information, if the anchor is of the intercept and this feature"

Table = tuple[Finding, ...]


def tables_by_weight(outcome: QuadraticLikelihood) -> Iterator[list[Table]]:
    """Yield, for each feature and pair of features, the whole-numbered tables that fit.

    Without the anchor a list may hold more tables than an outsider finds, who knows it. So one with
    a small cell is enough to keep an outcome back.
    """
    events, n = outcome.events, outcome.n
    if outcome.model == "cox" and events:
        yield from _of_risk_sets(outcome, n, events)
    if outcome.model != "logistic" or events is None or not 0 < events < n <= _MOST_PEOPLE:
        return
    own = np.diag(outcome.information)
    if (np.abs(4.0 * own - n) > _RELATIVE * n).all():
        yield from _own_intercept(outcome, n, events)
        for constant in range(len(own)):
            yield from _two_groups(outcome, n, events, constant)
            yield from _bounds(outcome, constant)


def _of_risk_sets(outcome: QuadraticLikelihood, n: int, events: int) -> Iterator[list[Table]]:
    """A yes/no column of share s adds about s(1 − s) of information at each event."""
    known = outcome.known
    anchor = known.anchor if known is not None and known.anchor else (0.0,) * len(outcome.diagonal)
    for column, spread in enumerate(np.diag(outcome.information) / events):
        if not 0.0 < spread <= 0.25 * (1.0 + _RELATIVE):
            continue
        smaller = 0.5 - math.sqrt(max(0.25 - float(spread), 0.0))
        for share in (smaller, 1.0 - smaller) if anchor[column] else (smaller,):
            # At a coefficient each of the group counts exp(coefficient) times.
            own = share * math.exp(-max(-50.0, min(50.0, anchor[column])))
            people = n * own / (own + 1.0 - share)
            cell = f"people in a group by feature {column + 1}, about"
            few = round(min(people, n - people))
            yield [(Finding(_COX, cell, few),)]


def _of_feature(attack: str, column: int, counts: tuple[int, int, int, int]) -> Table:
    name = f"feature {column + 1}"
    having, events, rest, events_of_rest = counts
    return (
        Finding(attack, f"people with {name}", having),
        Finding(attack, f"people without {name}", rest),
        Finding(attack, f"events among people with {name}", events),
        Finding(attack, f"people with {name} without event", having - events),
        Finding(attack, f"events among people without {name}", events_of_rest),
        Finding(attack, f"people without {name} without event", rest - events_of_rest),
    )


def _score_error(outcome: QuadraticLikelihood, column: int) -> float:
    """How far 16-bit numbers may have moved an entry of the score."""
    size = len(outcome.diagonal)
    spread = math.sqrt(max(float(outcome.information[column, column]), 0.0))
    of_z = 2.0**outcome.score_exponent / UNIT * math.sqrt(size)
    return spread * (of_z + _RELATIVE * float(np.abs(outcome.z).max(initial=0.0))) + 1e-6


def _own_intercept(outcome: QuadraticLikelihood, n: int, events: int) -> Iterator[list[Table]]:
    """Solve N(n − N)/n = information / ȳ(1 − ȳ), and events among N = score + ȳN."""
    share = events / n
    table = outcome.information / (share * (1.0 - share))
    score, counts = outcome.score, np.arange(1, n)
    spread = counts * (n - counts) / n
    found: dict[int, list[int]] = {}
    for column in range(len(score)):
        fits: list[Table] = []
        variance = table[column, column]
        slack = _score_error(outcome, column)
        for having in map(int, counts[np.abs(spread - variance) <= _RELATIVE * variance]):
            among = score[column] + share * having
            first = math.ceil(among - slack)
            for inside in range(max(first, 0), min(math.floor(among + slack), having) + 1):
                if 0 <= events - inside <= n - having:
                    cells = having, inside, n - having, events - inside
                    fits.append(_of_feature(_OWN, column, cells))
                    found.setdefault(column, []).append(having)
        yield fits
    for one, of_one in found.items():
        for other, of_other in found.items():
            if one < other:
                own = table[one, other], math.sqrt(table[one, one] * table[other, other])
                yield _pairs((one, sorted(set(of_one))), (other, sorted(set(of_other))), own, n)


def _pairs(
    one: tuple[int, list[int]], other: tuple[int, list[int]], entry: tuple[float, float], n: int
) -> list[Table]:
    fits = []
    names = f"feature {one[0] + 1}", f"feature {other[0] + 1}"
    slack = _RELATIVE * entry[1] + 1e-6
    for first in one[1]:
        for second in other[1]:
            both = entry[0] + first * second / n
            whole = round(both)
            cells = whole, first - whole, second - whole, n - first - second + whole
            if abs(both - whole) <= slack and min(cells) >= 0:
                texts = (
                    f"people with {names[0]} and {names[1]}",
                    f"people with {names[0]} and not {names[1]}",
                    f"people with {names[1]} and not {names[0]}",
                    f"people with neither {names[0]} nor {names[1]}",
                )
                fits.append(tuple(Finding(_OWN, *each) for each in zip(texts, cells, strict=True)))
    return fits


def _two_groups(
    outcome: QuadraticLikelihood, n: int, events: int, constant: int
) -> Iterator[list[Table]]:
    """Try all sizes of the group: each gives both weights, so both probabilities, so the events.

    `constant` is the column that is taken for the one of ones.
    """
    table, score = outcome.information, outcome.score
    whole = float(table[constant, constant])
    size = np.arange(1, n, dtype=np.float64)
    for column in range(len(score)):
        if column == constant:
            continue
        weight = float(table[column, column])
        # A yes/no feature equals its square, so its entry is that of the first row too.
        near = 2.0 * _RELATIVE * math.sqrt(max(weight, 0.0) * whole)
        if weight <= 0.0 or abs(table[constant, column] - weight) > near:
            continue
        fits: list[Table] = []
        slack = _score_error(outcome, column) + _score_error(outcome, constant)
        rest = score[constant] - score[column]
        groups = (size, weight, score[column]), (n - size, whole - weight, rest)
        for side in (-1.0, 1.0):
            for other_side in (-1.0, 1.0):
                (inside, error), (outside, other_error) = (
                    _events(*group, sign, whole)
                    for group, sign in zip(groups, (side, other_side), strict=True)
                )
                with np.errstate(invalid="ignore"):
                    fit = (np.abs(inside - np.rint(inside)) <= error + slack) & (
                        np.abs(inside + outside - events) <= error + other_error + slack
                    )
                for at in np.flatnonzero(fit):
                    having, among = int(size[at]), round(float(inside[at]))
                    if 0 <= among <= having and 0 <= events - among <= n - having:
                        cells = having, among, n - having, events - among
                        fits.append(_of_feature(_GROUPS, column, cells))
        yield fits


def _bounds(outcome: QuadraticLikelihood, constant: int) -> Iterator[list[Table]]:
    """Bound the groups of yes/no features and the events in them, at any anchor.

    Whoever knows the anchor divides a group's information by its weight. Where the gate does not
    know it, no weight is above 1/4, so four times the information is the least number of people;
    and a probability is at least its weight, so the information, more or less the score, is the
    least number of those with and without the event. What may be under the limit is kept back.
    """
    table, score = outcome.information, outcome.score
    whole = float(table[constant, constant])
    own = np.diag(table)
    near = 2.0 * _RELATIVE * np.sqrt(np.maximum(own, 0.0) * whole)
    is_yes_no = (own > 0.0) & (np.abs(table[constant] - own) <= near)
    columns = [int(column) for column in np.flatnonzero(is_yes_no) if column != constant]
    attack = "from score and information, and the largest weight"
    for nth, one in enumerate(columns if len(columns) > 1 else []):
        for part, pull in (
            (float(own[one]), float(score[one])),
            (whole - float(own[one]), float(score[constant] - score[one])),
        ):
            least = math.ceil(part - abs(pull) - _RELATIVE * whole)
            cell = f"people with or without event in a group by feature {one + 1}, or more"
            yield [(Finding(attack, cell, max(least, 1)),)]
        for other in columns[nth + 1 :]:
            both = float(table[one, other])
            sums = both, own[one] - both, own[other] - both, whole - own[one] - own[other] + both
            sizes = [math.ceil(4.0 * part) for part in sums if part > 4.0 * _RELATIVE * whole]
            cell = f"people in a group by features {one + 1} and {other + 1}, or more"
            yield [(Finding(attack, cell, people),) for people in sizes]


def _events(
    people: Floats, information: float, score: float, sign: float, whole: float
) -> tuple[Floats, Floats]:
    """Events of a group of one weight, for each number of people, and the error of 16 bits."""
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = information / people
        slack = _RELATIVE * whole / people  # of a difference of entries as large as this
        left = 1.0 - 4.0 * weight
        root = np.sqrt(np.where(left >= -4.0 * slack, np.maximum(left, 0.0), np.nan))
        moved = np.minimum(2.0 * slack / np.maximum(root, 1e-12), np.sqrt(4.0 * slack))
        return score + people * (1.0 + sign * root) / 2.0, people * moved / 2.0
