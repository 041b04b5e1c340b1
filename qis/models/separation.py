"""Whether the data of all sites are separated, so that a coefficient has no finite estimate.

Newton's method then goes on for ever: estimate and standard error grow together, and each step
looks smaller in standard errors than the one before. What can be told from the sums alone:

- If the log-likelihood is above -log 2, every single person's outcome has a probability over 1/2:
  the anchors put everybody on the right side, and the data are completely separated.
- A yes/no column of which the information (given the intercept) is under 1/4 has a standard error
  over 2. At a finite estimate the crude one is sqrt(1/a + 1/b + 1/c + 1/d), which is 2 at most.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from qis.models.expansion import Expansion, Floats
from qis.models.prior import scales_of
from qis.outcomes import Study
from qis.outcomes._model_study import INTERCEPT

_LEAST: Final = 0.25
"""Information on one yes/no column, or on one standard deviation of another, below which none."""
_LEAST_EXPECTED: Final = 0.5
"""Expected events of those with a yes/no feature in a Poisson model; a finite fit has 1 or more."""
_LEFT: Final = 0.08
"""Mean log-likelihood of a person below which outcomes are told apart almost perfectly."""
_ALL_OF_IT: Final = 0.7
_ALIKE: Final = 1e-3
"""Relative error of a yes/no column's entry, which equals that in the intercept's row."""


def separated(
    expansions: Sequence[Expansion], information: Floats, study: Study
) -> tuple[str, ...]:
    """Names of the coefficients without finite estimate; ("all of them",) if all is separated."""
    if study.family == "linear":
        return ()
    told = [expansion.outcome.log_likelihood for expansion in expansions]
    if study.family != "poisson" and None not in told:
        events = sum(expansion.outcome.events or 0 for expansion in expansions)
        if events and math.fsum(value or 0.0 for value in told) > -math.log(2.0):
            return study.coefficients
    return tuple(_without_information(information, study))


def is_almost_separated(
    expansions: Sequence[Expansion], point: Floats | None, study: Study
) -> bool:
    """True if outcomes are told apart almost perfectly, and the next step promises all the rest.

    Towards separation the log-likelihood falls off like C exp(-t), of which the squared Newton
    decrement is C too: all that is left. At a finite fit it is nothing.
    """
    told = [expansion.outcome.log_likelihood for expansion in expansions]
    if study.family != "logistic" or point is None or None in told:
        return False
    left = -math.fsum(value or 0.0 for value in told)
    people = sum(expansion.outcome.n for expansion in expansions)
    moves = [(point - each.anchor, each.information) for each in expansions]
    decrement = math.fsum(float(move @ information @ move) for move, information in moves)
    return left < _LEFT * people and decrement > _ALL_OF_IT * left


def untested(expansions: Sequence[Expansion], information: Floats, study: Study) -> tuple[str, ...]:
    """Names of the coefficients whose separation the sums do not tell."""
    if study.family == "linear":
        return ()
    if study.family != "poisson" and any(e.outcome.log_likelihood is None for e in expansions):
        return study.coefficients
    if study.feature_scales:
        return ()
    columns = set(_yes_no(information, study))
    return tuple(
        name
        for index, name in enumerate(study.coefficients)
        if name != INTERCEPT and index not in columns
    )


def _without_information(information: Floats, study: Study) -> Iterator[str]:
    names = study.coefficients
    columns = _yes_no(information, study)
    at = names.index(INTERCEPT) if INTERCEPT in names else None
    for column in columns:
        own = float(information[column, column])
        if study.family == "poisson":
            if own < _LEAST_EXPECTED:
                yield names[column]
            continue
        whole = float(information[at, at])
        if own - float(information[at, column]) ** 2 / whole < _LEAST:
            yield names[column]
    if study.feature_scales:
        inverse = np.linalg.pinv(information, hermitian=True)
        scales = scales_of(study)
        for column, name in enumerate(names):
            spread = float(inverse[column, column]) * float(scales[column]) ** 2
            if name != INTERCEPT and column not in columns and spread > 1.0 / _LEAST:
                yield name


def _yes_no(information: Floats, study: Study) -> list[int]:
    """Indices of the yes/no columns: a square of 0 or 1 is the number itself."""
    if INTERCEPT not in study.coefficients:
        return []
    at = study.coefficients.index(INTERCEPT)
    own = information.diagonal()
    near = _ALIKE * np.sqrt(np.maximum(own * own[at], 0.0))
    fits = (np.abs(information[at] - own) <= near) & (own > 0.0)
    return [int(column) for column in np.flatnonzero(fits) if column != at]
