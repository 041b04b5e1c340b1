"""Which groups by all yes/no columns several answers of a model tell together.

Each answer at another anchor weighs the groups otherwise, and so gives new linear equations of
their sizes. A steered anchor asks for a group; the groups here are those by all columns at once,
which are more and smaller than those by two or three that a single answer is searched for.
"""

import itertools
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.whole_numbers import MOST_GROUPS, whole_numbers
from qis.outcomes import QuadraticLikelihood

Floats = NDArray[np.float64]

MOST_COLUMNS: Final = 10
"""Most yes/no columns whose groups are searched."""
ERROR: Final = 3e-5
"""Error of an entry of the information, relative to the largest."""
LEAST_DRIFT: Final = 1e-3
"""Spread of linear predictors that is no more than the rounding of numbers of 16 bits."""
_CERTAIN: Final = 2.5
"""People by which a size may be uncertain and is told all the same: it is a whole number.

Errors are less than `ERROR` allows: of 2,336 sizes solved for, theirs was 0.27 of the uncertainty
(root mean square; at most 0.96). So up to here the nearest whole number is more often right than
not.
"""
_SURE: Final = 0.75
"""People by which a size may be uncertain if its nearest whole number is right (99 of 100)."""
_HALF: Final = 0.5
_SAME: Final = 1e-3
"""A column is one of yes and no if its entry is that of the intercept's row, up to this."""


class ToldGroups(NamedTuple):
    """Groups by all yes/no columns.

    Parameters
    ----------
    columns
        Indices of the yes/no columns among the coefficients.
    patterns
        No or yes in each column, shape (2**k, k).
    sizes
        Their most likely numbers of people, shape (2**k,).
    spread
        People by which each number is uncertain, shape (2**k,).
    is_told
        True where the answers leave no other whole number.
    drift
        The most by which an anchor spreads linear predictors of one group, of all answers.

    """

    columns: tuple[int, ...]
    patterns: Floats
    sizes: Floats
    spread: Floats
    is_told: NDArray[np.bool_]
    drift: float

    @property
    def is_solved(self) -> bool:
        """True unless the anchors move what hides the sizes, or there are too many to search."""
        return self.drift <= LEAST_DRIFT and len(self.sizes) <= MOST_GROUPS

    def small(self, limit: int) -> dict[tuple[float, ...], int]:
        """Size of each group that is told and may have 1 to `limit` − 1 people, by its pattern.

        A group is among them as well if no more is told than that it has so few.
        """
        least, most = self.sizes - self.spread, self.sizes + self.spread
        may_be = self.is_told & (most >= _HALF) & (least < limit - _HALF)
        return self._chosen(may_be | ((least > _HALF) & (most < limit - _HALF)), limit)

    def surely_small(self, limit: int) -> dict[tuple[float, ...], int]:
        """Size of each group of 1 to `limit` − 1 people that is told exactly, by its pattern."""
        whole = np.rint(self.sizes)
        return self._chosen((self.spread < _SURE) & (whole > 0) & (whole < limit), limit)

    def _chosen(self, chosen: NDArray[np.bool_], limit: int) -> dict[tuple[float, ...], int]:
        whole = np.clip(np.rint(self.sizes), 1, limit - 1)
        return {
            tuple(pattern): int(people)
            for pattern, people in zip(self.patterns[chosen], whole[chosen], strict=True)
        }


def told_groups(answers: Sequence[QuadraticLikelihood]) -> ToldGroups | None:
    """Solve for the groups of answers about the same people; `None` where there is no system.

    The answers are of one logistic or Poisson model with a column of ones, and their anchors are
    known. What an anchor moves beside yes/no columns makes people of one group weigh differently,
    and so the equations less certain; if it moves little, they are as good as exact.
    """
    first = answers[0]
    if first.model not in ("logistic", "poisson"):
        return None
    anchors = [np.array(each.known.anchor) for each in answers if each.known is not None]
    if len(anchors) < len(answers):
        return None
    # Of a column of ones every yes/no column is a part, of one of those only what is within it.
    columns, constant = max(
        ((_yes_no(first, at), -at) for at in range(len(first.diagonal))),
        key=lambda found: (len(found[0]), found[1]),
    )
    if not columns or len(columns) > MOST_COLUMNS:
        return None
    return _solved(answers, anchors, (-constant, *columns))


def _yes_no(answer: QuadraticLikelihood, constant: int) -> tuple[int, ...]:
    information = answer.information
    own = information.diagonal()
    near = _SAME * np.sqrt(np.maximum(own * own[constant], 0.0))
    fits = (np.abs(information[constant] - own) <= near) & (own > 0.0)
    return tuple(int(at) for at in np.flatnonzero(fits) if at != constant)


def _solved(
    answers: Sequence[QuadraticLikelihood], anchors: Sequence[Floats], order: tuple[int, ...]
) -> ToldGroups:
    patterns = np.array(list(itertools.product((0.0, 1.0), repeat=len(order) - 1)))
    wide = np.column_stack((np.ones(len(patterns)), patterns))
    rows, values, errors = [np.ones(len(wide))], [float(answers[0].n)], [1e-6]
    drifts = []
    for answer, anchor in zip(answers, anchors, strict=True):
        information = answer.information
        moved, drift = _moved(information, anchor, order)
        eta = wide @ anchor[list(order)] + moved
        drifts.append(drift)
        mean = _mean(answer.model, eta)
        weight = mean * (1.0 - mean) if answer.model == "logistic" else mean
        error = (ERROR + drift) * float(np.abs(information[np.ix_(order, order)]).max())
        for one, other in itertools.combinations_with_replacement(range(len(order)), 2):
            rows.append(weight * wide[:, one] * wide[:, other])
            values.append(float(information[order[one], order[other]]))
            errors.append(error)
        if answer.log_likelihood is not None and answer.model == "logistic" and anchor.any():
            rows.append(mean * eta - np.logaddexp(0.0, eta))
            values.append(answer.log_likelihood - float(answer.score @ anchor))
            rounding = ERROR * (1.0 + float(np.abs(answer.score) @ np.abs(anchor)))
            errors.append(rounding + drift * answers[0].n)
    # In units of their errors; that no group has more than everybody keeps what is open finite.
    scaled = np.array(rows) / np.array(errors)[:, np.newaxis]
    told = np.array(values) / np.array(errors)
    found = whole_sizes(scaled, told, answers[0].n)
    return ToldGroups(order[1:], patterns, *found, max(drifts))


def whole_sizes(scaled: Floats, told: Floats, n: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Sizes that solve the equations, by how many people each is uncertain, and which are told.

    All whole numbers are searched where there are at most 32 groups.

    Sizes are whole, which leaves less open than the equations do: where these leave all sizes open
    in one direction, the few that move least along it are told by rounding, and tell the rest. So
    those that are sure count as known, and the others are solved for again until no more are sure
    (integer bootstrapping: Teunissen 1998, *J Geodesy* 72:606).

    Parameters
    ----------
    scaled
        Coefficients of the groups' sizes in each equation, in units of its error, shape (equations,
        groups).
    told
        What each equation says, in units of its error.
    n
        Number of people.

    """
    sizes, spread = np.zeros(scaled.shape[1]), np.zeros(scaled.shape[1])
    is_open = np.ones(scaled.shape[1], dtype=bool)
    while is_open.any():
        left = scaled[:, is_open]
        turned, singular, basis = np.linalg.svd(left, full_matrices=True)
        known = len(singular)
        precision = np.full(left.shape[1], float(n) ** -2)  # no size is known worse than to n
        precision[:known] += singular**2
        rest = told - scaled[:, ~is_open] @ np.rint(sizes[~is_open])
        # Not by the normal equations, which lose the digits of what is known badly.
        along = (turned[:, :known].T @ rest) * singular / precision[:known]
        sizes[is_open] = basis[:known].T @ along
        spread[is_open] = np.sqrt((basis.T**2 / precision).sum(axis=1))
        is_sure = is_open & (spread < _SURE)
        if not is_sure.any():
            break
        is_open &= ~is_sure
    is_told = spread < _CERTAIN
    if scaled.shape[1] <= MOST_GROUPS and not is_told.all():
        whole, unsure, is_only = whole_numbers(scaled, told, n)
        more = is_only & ~is_told
        sizes[more], spread[more] = whole[more], unsure[more]
        is_told |= is_only
    return sizes, spread, is_told


def _moved(information: Floats, anchor: Floats, order: tuple[int, ...]) -> tuple[float, float]:
    """Mean and spread of what an anchor adds to linear predictors beside yes/no columns.

    Both of people as they weigh, which outsiders read from the information as well.
    """
    own = float(information[order[0], order[0]])
    others = [int(at) for at in np.flatnonzero(anchor) if at not in order]
    means = information[order[0], others] / own
    spreads = np.sqrt(np.maximum(information[others, others] / own - means**2, 0.0))
    return float(anchor[others] @ means), float(np.abs(anchor[others]) @ spreads)


def _mean(model: str, eta: Floats) -> Floats:
    if model == "poisson":
        return np.asarray(np.exp(np.clip(eta, -700.0, 700.0)))
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * eta))
